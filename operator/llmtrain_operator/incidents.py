"""Why a pod's time was not work, in one word: what its start was needed for, what it ended of.

The words are those of the status: reasons of attempts that are over, of the stop under way, of workers' ends. They speak of
an attempt's whole cluster where the pod itself has nothing to say.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from llmtrain.api.status import AttemptRecord, Outcome, StageStatus, WorkerState
from llmtrain_operator.billing import Node
from llmtrain_operator.names import EVALUATOR
from llmtrain_operator.nodes import lost_node
from llmtrain_operator.podstate import PodState

START, REPLACED, RETRIED, WENT_BACK = "Start", "WorkerReplaced", "Retried", "WentBack"
VANISHED, REJECTED, CLOCK_OFF = "Vanished", "Rejected", "NodeClockOff"
CHECKPOINT, MINIMUM, COMPLETED, NODE_LOST = "Checkpoint", "BillingMinimum", "Completed", "NodeLost"


def own_end(pod: PodState, nodes: Mapping[str, Node], now: datetime) -> str:
    """Why a pod that is over ended, as far as it says so itself."""
    if pod.succeeded:
        return COMPLETED
    if lost_node(pod, nodes, now) and not pod.rejected:
        return NODE_LOST
    told = pod.result() if pod.is_head else None
    own = told.reason or (told.failure_class and told.failure_class.value) if told else ""
    return own or pod.end_reason or pod.disruption or pod.failure_class().value


@dataclass(frozen=True)
class Incidents:
    """What is known of the attempts of a job. `stage`: the one under way, with its slots; `history`: attempts that are over."""

    stage: StageStatus | None
    history: Sequence[AttemptRecord]
    nodes: Mapping[str, Node]
    now: datetime

    def cause(self, pod: PodState, kind: str) -> str:
        """Of one kind of the pod's waste."""
        match kind:
            case "redone":
                return self._before(pod) if pod.attempt > 1 else self._went_back
            case "checkpointing":
                return CHECKPOINT
            case "stopping":
                return self._ended(pod)
            case "minimum":
                return MINIMUM
        return self._began(pod)

    def _began(self, pod: PodState) -> str:
        """What its start was needed for."""
        outcome = self._outcome(pod)
        if outcome is not None and outcome.idle:
            return outcome.reason  # Nothing could begin: the rest of its cluster found no place.
        if pod.incarnation > 1:
            slot = self._slots_of(pod).get(pod.index)
            return slot.replaced_for or REPLACED if slot and slot.incarnation == pod.incarnation else REPLACED
        return self._before(pod) if pod.attempt > 1 else START

    @cached_property
    def _went_back(self) -> str:
        """Why a first attempt did again what had been done."""
        return next((slot.replaced_for for slot in self._workers.values() if slot.replaced_for), WENT_BACK)

    def _ended(self, pod: PodState) -> str:
        """Why its work was over."""
        outcome = self._outcome(pod)
        if outcome is not None:
            return outcome.reason
        slot = self._slots_of(pod).get(pod.index)
        if slot and slot.replaced_for and slot.incarnation == pod.incarnation + 1:
            return slot.replaced_for
        record = None if self._is_current(pod) else self._record(pod.stage, pod.attempt)
        return record.reason if record else own_end(pod, self.nodes, self.now)

    def _before(self, pod: PodState) -> str:
        """Why the attempt before ended."""
        record = self._record(pod.stage, pod.attempt - 1)
        return record.reason if record and record.reason else RETRIED

    def _record(self, stage: str, attempt: int) -> AttemptRecord | None:
        found = (one for one in reversed(self.history) if (one.stage.value, one.attempt) == (stage, attempt))
        return next(found, None)

    def _is_current(self, pod: PodState) -> bool:
        return self.stage is not None and (self.stage.name.value, self.stage.attempt) == (pod.stage, pod.attempt)

    def _outcome(self, pod: PodState) -> Outcome | None:
        return self.stage.outcome if self.stage is not None and self._is_current(pod) else None

    def _slots_of(self, pod: PodState) -> Mapping[int, WorkerState]:
        """The slots of its role, of the attempt under way."""
        if pod.is_head or not self._is_current(pod):
            return {}
        return self._evaluators if pod.role == EVALUATOR else self._workers

    @cached_property
    def _workers(self) -> Mapping[int, WorkerState]:
        return {slot.index: slot for slot in (*self.stage.workers, *self.stage.parked)} if self.stage else {}

    @cached_property
    def _evaluators(self) -> Mapping[int, WorkerState]:
        return {slot.index: slot for slot in self.stage.evaluators} if self.stage else {}
