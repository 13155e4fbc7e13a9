"""The working copy of one decision: what was seen, the status as it will be written, what is to be done."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from llmtrain.api.job import JobSpec
from llmtrain.api.status import JobStatus, Stage, StageState, StageStatus
from llmtrain.text import plain
from llmtrain_operator.billing import format_time
from llmtrain_operator.blueprints import attempt_of
from llmtrain_operator.manifests import Blueprint
from llmtrain_operator.observation import Action, DeletePod, Event, Observation
from llmtrain_operator.podstate import PodState

TEARING_DOWN = ("TearingDown", "waiting until every pod of the last cluster is gone")
"""Why nothing is created: reason and message."""


@dataclass(frozen=True)
class Inputs:
    """What an estimate depends on, hashable. `plans`: name and JSON."""

    job: str
    spec: str
    plans: tuple[tuple[str, str], ...]


@dataclass
class Turn:
    """Mutable within one decision, and nowhere else."""

    seen: Observation
    spec: JobSpec
    status: JobStatus
    actions: list[Action] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    blocked: tuple[str, str] | None = None
    """Why nothing was started: reason and message."""
    skewed: str = ""
    """Whose clock was found to be off in this turn, for people."""
    pending: tuple[str, str] | None = None
    """What the attempt under way does not follow of the manifest and its plans: reason and message."""
    wants_templates: bool = False
    """See Decision."""
    blueprints: dict[Stage, Blueprint | None] = field(default_factory=dict)
    """Of attempts as they would begin now, once they were asked for."""
    _pods: dict[tuple[str, int], list[PodState]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _crews: dict[tuple[str, int], list[PodState]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def inputs(self) -> "Inputs":
        """Spec and plans as JSON, by which estimates are remembered."""
        plans = tuple(sorted((name, plan.text) for name, plan in self.seen.plans.items()))
        return Inputs(self.seen.job.name, self.spec.model_dump_json(), plans)

    @property
    def now(self) -> datetime:
        """The turn's time."""
        return self.seen.now

    @property
    def stamp(self) -> str:
        """The turn's time as the API writes it."""
        return format_time(self.now)

    @property
    def stage(self) -> StageStatus | None:
        """The current stage: the first that is not done."""
        return next((s for s in self.status.stages if s.state is not StageState.SUCCEEDED), None)

    def pods_of(self, stage: StageStatus) -> Sequence[PodState]:
        """Pods of the stage's current attempt, picked out once: thirty parts of a decision ask."""
        asked = (stage.name.value, stage.attempt)
        if asked not in self._pods:
            self._pods[asked] = [pod for pod in self.seen.pods if (pod.stage, pod.attempt) == asked]
        return self._pods[asked]

    def crew_of(self, stage: StageStatus) -> Sequence[PodState]:
        """Head and workers of the stage's current attempt: those that it cannot do without."""
        asked = (stage.name.value, stage.attempt)
        if asked not in self._crews:
            self._crews[asked] = [pod for pod in self.pods_of(stage) if not pod.is_evaluator]
        return self._crews[asked]

    def evaluators_of(self, stage: StageStatus) -> list[PodState]:
        """Evaluator pods of the stage's current attempt."""
        return [pod for pod in self.pods_of(stage) if pod.is_evaluator]

    def lacks_crew(self, stage: StageStatus) -> bool:
        """Whether head or a worker is yet to be created."""
        there = {(pod.index, pod.incarnation) for pod in self.crew_of(stage) if not pod.is_head}
        return self.head_of(stage) is None or any((w.index, w.incarnation) not in there for w in stage.workers)

    def head_of(self, stage: StageStatus) -> PodState | None:
        """Head pod of the stage's current attempt."""
        return next((pod for pod in self.pods_of(stage) if pod.is_head), None)

    def stale_pods(self, stage: StageStatus) -> list[PodState]:
        """Pods of any other attempt."""
        current = {pod.uid for pod in self.pods_of(stage)}
        return [pod for pod in self.seen.pods if pod.uid not in current]

    def ended(self, pod: PodState) -> bool:
        """The pod's bill is final."""
        return pod.span(self.seen.nodes, self.now).final

    def delete(self, pod: PodState, grace_seconds: int | None = None) -> None:
        """Delete a pod, unless somebody has asked for that already."""
        self.actions += DeletePod.once(pod, grace_seconds)

    def tell(self, reason: str, message: str, warning: bool = False) -> None:
        """Post an event after the status write."""
        self.events.append(Event(reason, plain(message, 1000), warning))

    def cluster_name(self, stage: StageStatus) -> str:
        """Name of the stage's current cluster."""
        return attempt_of(self.seen.job, stage).cluster
