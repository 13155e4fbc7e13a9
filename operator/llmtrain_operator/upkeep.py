"""The statuses of plans and budgets, kept current beside the jobs: prices age and periods end without any event."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from pydantic import ValidationError

from llmtrain.api.plan import PlanSpec
from llmtrain.api.planstatus import PlanStatus
from llmtrain.api.status import JobStatus
from llmtrain_operator.border import Kind, Rejections, read, why_not
from llmtrain_operator.budget_release import BUDGETS
from llmtrain_operator.budget_state import BudgetState, body_of, read_budget, with_conditions
from llmtrain_operator.client import ApiError, Cluster, Object
from llmtrain_operator.closing import Closing
from llmtrain_operator.guard import Guard, Loop
from llmtrain_operator.namespace_ledger import Ledgers
from llmtrain_operator.planstate import invalid_status, plan_status
from llmtrain_operator.recent import PLANS
from llmtrain_operator.reconcile import JOBS
from llmtrain_operator.reservation_sweep import ReservationSweep
from llmtrain_operator.snapshots import Snapshots

log = logging.getLogger("llmtrain.operator")
EVERY_SECONDS = 15.0


@dataclass
class Upkeep:
    """One loop for all of them; what it saw is in `snapshots`, for the metrics."""

    cluster: Cluster
    clock: Callable[[], datetime]
    namespaces: Sequence[str]
    snapshots: Snapshots
    ledgers: Ledgers
    rejections: Rejections = field(default_factory=Rejections)
    guard: Guard = field(default_factory=lambda: Guard(Loop.UPKEEP))
    _listed: bool = False
    _budgeted: set[str] = field(default_factory=set)
    """Namespaces with budgets, as they were last listed."""
    _sweep: ReservationSweep = field(init=False)
    _closing: Closing = field(init=False)

    def __post_init__(self) -> None:
        """What it does with the budgets that it has read."""
        self._sweep = ReservationSweep(self.cluster, self.ledgers.home, self.clock, self.guard)
        self._closing = Closing(self.cluster, self.ledgers.home, self.clock, self.guard, self.rejections)

    async def run(self) -> None:
        """Until it is cancelled. An apiserver that does not answer is asked again."""
        while True:
            try:
                await self.look()
            except ApiError as error:
                log.warning("plans and budgets: %s", error)
            await asyncio.sleep(EVERY_SECONDS)

    async def look(self) -> None:
        """One look at all plans and budgets. One that cannot be read or written holds up no other, and neither does a list.

        ApiError where the ledger cannot be read.
        """
        with self.guard.each("the list of ComputePlans"):
            await self._read_plans()
        with self.guard.each("the list of TrainingBudgets"):
            await self._read_budgets()
        with self.guard.each("the list of jobs"):
            await self._read_stored_jobs()
        with_jobs = {namespace for namespace, _ in self.snapshots.jobs}
        if not self._listed:
            return
        await self._read_books(self._budgeted | with_jobs)
        if await self._closing.look(with_jobs, self.namespaces):
            self.ledgers.books.look_at_all()

    async def _read_plans(self) -> None:
        """ApiError where they cannot be listed: what was told of them stays."""
        plans = {}
        for raw in (await self.cluster.find(PLANS, "", "")).items:
            with self.guard.each(f"ComputePlan {raw['metadata']['name']}"):
                if seen := await self._plan(raw):
                    plans[raw["metadata"]["name"]] = seen
        self.snapshots.plans = plans

    async def _read_budgets(self) -> None:
        """ApiError where they cannot be listed: what was told of them stays, and no reservation of theirs is ended."""
        budgets = [
            raw for space in self.namespaces or [""] for raw in (await self.cluster.find(BUDGETS, space, "")).items
        ]
        found = []
        for raw in budgets:
            with self.guard.each(f"TrainingBudget {raw['metadata']['namespace']}/{raw['metadata']['name']}"):
                found += [budget] if (budget := await self._budget(raw)) else []
        self.snapshots.budgets = found
        self._budgeted = {raw["metadata"]["namespace"] for raw in budgets}
        if self._listed:  # a process that has just started has seen no job yet
            await self._sweep.look(found, self.snapshots.alive())

    async def _read_stored_jobs(self) -> None:
        """Once: what the API has of all jobs, so that no total is told without those that had no turn yet."""
        if self._listed:
            await self._forget_gone_jobs()
            return
        for namespace in self.namespaces or [""]:
            for raw in (await self.cluster.find(JOBS, namespace, "")).items:
                meta = raw["metadata"]
                with self.guard.each(f"job {meta['namespace']}/{meta['name']}"):
                    status = read(JobStatus, raw.get("status") or {}).value or JobStatus()
                    created = str(meta.get("creationTimestamp") or "")
                    self.snapshots.put_stored((meta["namespace"], meta["name"]), status, meta["uid"], created)
        self._listed = True

    async def _forget_gone_jobs(self) -> None:
        """Jobs that went between that list and the first one of the watch have no loop that would tell."""
        unseen = self.snapshots.unseen()
        if not unseen:
            return
        spaces = self.namespaces or [""]
        there = {
            raw["metadata"]["uid"] for space in spaces for raw in await self.cluster.list_metadata(JOBS, space, "")
        }
        for key, uid in unseen.items():
            if uid not in there:
                self.snapshots.drop_unseen(key, uid)

    async def _read_books(self, namespaces: Iterable[str]) -> None:
        """What is booked of namespaces; nothing is told of one until what it had itself is carried over.

        It is told while it has jobs or budgets, or had jobs that ended this month or last.
        """
        wanted, ready = {*namespaces, *self.snapshots.lacking()}, []
        for namespace in sorted(set(namespaces)):
            with self.guard.each(f"what was booked in namespace {namespace} itself"):
                await self.ledgers.carried_over(namespace)
                ready.append(namespace)
        asked = self.clock()
        books = await self.ledgers.books.look(wanted)
        # One that was told goes on to be, though it is gone or cannot be asked now.
        self.snapshots.take_books(asked, books, {*ready, *(wanted & self.snapshots.books.keys())})

    async def _plan(self, raw: Object) -> tuple[PlanSpec, PlanStatus] | None:
        try:
            spec = PlanSpec.model_validate(raw.get("spec"))
        except ValidationError as error:
            why = why_not(error, "spec.")
            self.rejections.note(Kind.PLAN, f"ComputePlan {raw['metadata']['name']} ({raw['metadata']['uid']})", why)
            await self._write(PLANS, raw, invalid_status(raw, why, self.clock()).to_dict())
            return None
        status = plan_status(raw, spec, self.clock())
        await self._write(PLANS, raw, status.to_dict())
        return spec, status

    async def _budget(self, raw: Object) -> BudgetState | None:
        try:
            budget = read_budget(raw, self.clock())
        except ValidationError as error:
            meta = raw["metadata"]
            where = f"TrainingBudget {meta['namespace']}/{meta['name']} ({meta['uid']})"
            self.rejections.note(Kind.BUDGET, where, why_not(error))
            return None
        status = with_conditions(budget, self.clock())
        await self._write(BUDGETS, raw, body_of(budget, status)["status"])
        return replace(budget, status=status)

    async def _write(self, resource: str, raw: Object, status: Object) -> None:
        """Where somebody was faster, the next look comes soon enough."""
        if status == raw.get("status"):
            return
        meta = raw["metadata"]
        try:
            await self.cluster.replace(
                resource, meta.get("namespace", ""), meta["name"], {**raw, "status": status}, "status"
            )
        except ApiError as error:
            if error.code not in (404, 409):
                raise
