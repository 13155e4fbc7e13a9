"""The end of a job's reservation: what it spent stays booked in the TrainingBudgets, what it had reserved is free.

The entry's absence is the mark that this is done, so a crash at any point repeats nothing.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime

from pydantic import ValidationError

from llmtrain.api import API_VERSION
from llmtrain.api.trainingbudget import Reservation
from llmtrain_operator.billing import format_time
from llmtrain_operator.budget_state import body_of, read_budget, without_entry
from llmtrain_operator.client import ApiError, Cluster
from llmtrain_operator.exposure import settled_micro_usd
from llmtrain_operator.observation import Job
from llmtrain_operator.spentbefore import all_dated, settled_by_month

BUDGETS = f"apis/{API_VERSION}/trainingbudgets"
TRIES = 10
NEVER = (403, 404, 422)
"""The right, the kind or the object is gone, or cannot be written as it is stored: asking again changes nothing."""
log = logging.getLogger("llmtrain.operator")


async def release_reservations(cluster: Cluster, job: Job, now: datetime) -> None:
    """Take a job whose pods are all settled out of every budget of its namespace.

    A budget that cannot be read or written for good keeps its reservation, and no other does; the log says so. ApiError
    where none can be listed, or where asking again may help.
    """
    found = await cluster.find(BUDGETS, job.namespace, "")
    final = settled_micro_usd(job.status.ledger), format_time(now)
    months = settled_by_month(job.status, "") if all_dated(job.status) else {}
    for raw in found.items:
        name = raw["metadata"]["name"]
        try:
            await end_reservation(cluster, job.namespace, name, job.uid, lambda _: final, now, months)
        except (ApiError, ValidationError) as error:
            if isinstance(error, ApiError) and error.code not in NEVER:
                raise
            log.warning(
                "job %s/%s: its reservation in TrainingBudget `%s` stays: %s", job.namespace, job.name, name, error
            )


async def end_reservation(
    cluster: Cluster,
    namespace: str,
    name: str,
    uid: str,
    bill: Callable[[Reservation], tuple[int, str]],
    now: datetime,
    months: Mapping[str, int],
) -> int | None:
    """End one job's reservation in one budget; the final bill, microdollars, None where there is no such reservation.

    `bill` says it, and when the last of it was spent, of the reservation as it is then; `months` what it is by month: the write is refused where somebody was
    faster, and all is read and tried again. ApiError where it is refused otherwise, or too often; ValidationError where the budget cannot be read.
    """
    for _ in range(TRIES):
        raw = await cluster.get(BUDGETS, namespace, name)
        budget = read_budget(raw, now) if raw else None
        entry = budget.entry(uid) if budget else None
        if budget is None or entry is None:
            return None
        final, ended = bill(entry)
        try:
            body = body_of(budget, without_entry(budget, uid, final, ended, months))
            await cluster.replace(BUDGETS, namespace, name, body, "status")
        except ApiError as error:
            if error.code != 409:
                raise
        else:
            return final
    raise ApiError(409, "Conflict", f"TrainingBudget `{name}` kept changing")
