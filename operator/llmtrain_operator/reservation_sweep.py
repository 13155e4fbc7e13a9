"""Ends reservations that the job's own end has left behind; what is decided is in leftovers.py.

Nothing is asked for where no budget has a reservation, or where all of them are of jobs that have a loop.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from llmtrain.api.trainingbudget import Reservation
from llmtrain.cost.money import format_usd
from llmtrain.text import plain
from llmtrain_operator.budget_release import end_reservation
from llmtrain_operator.budget_state import BudgetState
from llmtrain_operator.client import Cluster
from llmtrain_operator.guard import Guard
from llmtrain_operator.ledger_bills import Bill, bills_of
from llmtrain_operator.leftovers import Listed, Look, after_list, final_bill, is_due
from llmtrain_operator.names import LABEL_JOB
from llmtrain_operator.orphans import JOBS, PODS, job_uid

log = logging.getLogger("llmtrain.operator")


@dataclass
class ReservationSweep:
    """Looks at the reservations of all budgets. `home` is the operator's namespace."""

    cluster: Cluster
    home: str
    clock: Callable[[], datetime]
    guard: Guard
    _looks: Mapping[str, Mapping[str, Look]] = field(default_factory=dict)
    """By namespace and uid."""

    async def look(self, budgets: Iterable[BudgetState], alive: Collection[str]) -> None:
        """Look once. `alive`: uids of jobs that are known to be there. The budgets were read before this: whoever reserves is there before."""
        spaces: dict[str, list[BudgetState]] = defaultdict(list)
        for budget in budgets:
            spaces[budget.namespace].append(budget)
        looks: dict[str, Mapping[str, Look]] = {}
        for namespace, mine in spaces.items():
            suspects = {item.uid for budget in mine for item in budget.status.reservations} - set(alive)
            before = self._looks.get(namespace, {})
            looks[namespace] = {uid: look for uid, look in before.items() if uid in suspects}
            if is_due(suspects, looks[namespace], self.clock()):
                with self.guard.each(f"reservations in namespace {namespace}"):
                    looks[namespace], gone = await self._ask(namespace, suspects, looks[namespace])
                    await self._end(namespace, gone, mine)
        self._looks = looks

    async def _ask(
        self, namespace: str, suspects: Collection[str], looks: Mapping[str, Look]
    ) -> tuple[dict[str, Look], set[str]]:
        asked = self.clock()
        jobs = await self.cluster.list_metadata(JOBS, namespace, "")
        listed = Listed({job["metadata"]["uid"] for job in jobs}, asked, self.clock())
        return after_list(suspects, looks, listed)

    async def _end(self, namespace: str, gone: set[str], budgets: Iterable[BudgetState]) -> None:
        if not gone:
            return
        # Pods before the ledger: one that is let go is in there. One that is not is still being paid for.
        pods = await self.cluster.list_metadata(PODS, namespace, LABEL_JOB)
        over = gone - {job_uid(pod) for pod in pods}
        if not over:
            return
        bills = await bills_of(self.cluster, self.home, namespace, over)
        for budget in budgets:
            for item in budget.status.reservations:
                if item.uid in over:
                    with self.guard.each(f"reservation of job {item.uid} in TrainingBudget {namespace}/{budget.name}"):
                        await self._end_one(budget, item, bills.get(item.uid))

    async def _end_one(self, budget: BudgetState, item: Reservation, booked: Bill | None) -> None:
        def bill(entry: Reservation) -> tuple[int, str]:
            return final_bill(entry, booked)

        months = booked.months if booked else {}
        final = await end_reservation(self.cluster, budget.namespace, budget.name, item.uid, bill, self.clock(), months)
        if final is not None:
            log.warning(
                "job %s/%s (%s) is gone: its reservation in TrainingBudget `%s` has ended, its bill is %s USD",
                budget.namespace, plain(item.job), plain(item.uid), budget.name, format_usd(final),
            )  # fmt: skip
