"""The end of a job's reservation: what it spent stays booked in the TrainingBudgets, what it had reserved is free.

The entry's absence is the mark that this is done, so a crash at any point repeats nothing.
"""

from collections.abc import Callable
from datetime import datetime

from llmtrain.api import API_VERSION
from llmtrain_operator.budget_state import body_of, read_budget, without_entry
from llmtrain_operator.client import ApiError, Cluster

BUDGETS = f"apis/{API_VERSION}/trainingbudgets"
TRIES = 10


async def release_reservations(cluster: Cluster, namespace: str, uid: str, clock: Callable[[], datetime]) -> None:
    """Take the job out of every budget of its namespace."""
    found = await cluster.find(BUDGETS, namespace, "")
    for raw in found.items:
        await _release(cluster, namespace, raw["metadata"]["name"], uid, clock)


async def _release(cluster: Cluster, namespace: str, name: str, uid: str, clock: Callable[[], datetime]) -> None:
    for _ in range(TRIES):
        raw = await cluster.get(BUDGETS, namespace, name)
        budget = read_budget(raw, clock()) if raw else None
        if budget is None or budget.entry(uid) is None:
            return
        try:
            await cluster.replace(BUDGETS, namespace, name, body_of(budget, without_entry(budget, uid)), "status")
        except ApiError as error:
            if error.code != 409:
                raise
        else:
            return
    raise ApiError(409, "Conflict", f"TrainingBudget `{name}` kept changing")
