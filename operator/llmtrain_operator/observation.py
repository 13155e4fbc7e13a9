"""What one turn of the reconciler has seen, and what it decided: plain values, no IO."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Any

from llmtrain.api.job import JobSpec
from llmtrain.api.status import JobStatus, Progress
from llmtrain_operator.billing import Node
from llmtrain_operator.border import Part
from llmtrain_operator.budget_state import BudgetState
from llmtrain_operator.manifests import Blueprint
from llmtrain_operator.names import Attempt
from llmtrain_operator.network import NO_POLICY, NetworkSettings
from llmtrain_operator.podstate import PodState
from llmtrain_operator.podtemplate import PodSource, Templates
from llmtrain_operator.pricing import Plan


@dataclass(frozen=True)
class Job:
    """The job object as it was read. `spec` is None where it does not parse; `invalid` then says why."""

    raw: Mapping[str, Any]
    spec: JobSpec | None
    invalid: str
    status: JobStatus
    flaws: str = ""
    """What is not used of its stored status, and why; empty where all of it is."""
    unreadable: bool = False
    """What is not used is something that decisions rest on: another version, or a hand, wrote it."""
    unread: tuple[Part, ...] = ()
    """Parts of that status which cannot be read, and are written back as they were."""

    @property
    def name(self) -> str:
        """Name."""
        return str(self.raw["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """Namespace."""
        return str(self.raw["metadata"]["namespace"])

    @property
    def uid(self) -> str:
        """Uid."""
        return str(self.raw["metadata"]["uid"])

    @property
    def created(self) -> str:
        """When it was made, as the API has it."""
        return str(self.raw["metadata"].get("creationTimestamp") or "")

    @property
    def generation(self) -> int:
        """Generation of the spec."""
        return int(self.raw["metadata"].get("generation", 0))

    @property
    def deleted(self) -> bool:
        """Somebody asked for its deletion."""
        return bool(self.raw["metadata"].get("deletionTimestamp"))

    @property
    def finalizers(self) -> list[str]:
        """Its finalizers."""
        return list(self.raw["metadata"].get("finalizers", []))


@dataclass(frozen=True)
class Refusal:
    """An act that the apiserver refuses, and has refused each time since `since`."""

    act: str
    """Class name of the action."""
    code: int
    """Of HTTP; 0: no answer."""
    reason: str
    message: str
    """The apiserver's words."""
    since: datetime
    times: int


BUDGETS_UNREAD, PLANS_UNREAD, TEMPLATES_UNREAD = "BudgetsUnread", "PlansUnread", "TemplatesUnread"
"""Keys of `Observation.unread`, and reasons of what is told of it."""
CREATES = ("CreateObjects", "CreateHead", "CreateWorker", "CreateEvaluator")


@dataclass(frozen=True)
class Observation:
    """Everything a decision rests on."""

    job: Job
    pods: Sequence[PodState]
    nodes: Mapping[str, Node]
    plans: Mapping[str, Plan]
    now: datetime
    pods_read: datetime | None = None
    """Until when the pods are known to have been as they are here; None: until now."""
    live: bool = True
    """Job and pods were read by this turn, and not kept from an earlier one."""
    objects_left: bool = False
    """No pod is left of a cluster that is being taken down, but what its pods mounted is."""
    image: str = ""
    nonce: str = ""
    """Random digits, new in every turn."""
    network: NetworkSettings = NO_POLICY
    progress: Progress | None = None
    budgets: Sequence[BudgetState] = ()
    """TrainingBudgets of the namespace that select the job or have its reservation; none where they cannot be read."""
    unread: Mapping[str, str] = field(default_factory=dict)
    """What could not be read, and why. Nothing new may rest on it; what runs goes on under its pods' deadlines."""
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of the job's namespace, where a plan asks for them."""
    refusals: Sequence[Refusal] = ()
    """What the apiserver refuses at present, one entry an act; errors that pass by themselves once they repeat."""

    templates: Templates | None = None
    """The pods of the attempt under way, as its ConfigMap has them; LOST where it has none; None: nobody has looked."""

    @property
    def certain(self) -> datetime:
        """What pods owe is certain until then."""
        return self.now if self.live or self.pods_read is None else min(self.now, self.pods_read)

    @property
    def refusal(self) -> str:
        """What the apiserver said when it refused an object that was to be created; empty where it refused none."""
        return next((one.message for one in self.refusals if one.act in CREATES), "")


@dataclass(frozen=True)
class CreateObjects:
    """Create what the attempt's pods mount and find each other by."""

    blueprint: Blueprint


@dataclass(frozen=True)
class CreateHead:
    """Create the head pod."""

    source: PodSource


@dataclass(frozen=True)
class CreateWorker:
    """Create a worker pod."""

    source: PodSource
    index: int
    incarnation: int


@dataclass(frozen=True)
class CreateEvaluator:
    """Create an evaluator pod."""

    source: PodSource
    index: int
    incarnation: int


@dataclass(frozen=True)
class DeletePod:
    """Delete a pod; `grace_seconds` None: the pod's own."""

    pod: PodState
    grace_seconds: int | None = None

    @staticmethod
    def once(pod: PodState, grace_seconds: int | None = None) -> "list[DeletePod]":
        """To delete a pod that nobody has asked to delete yet, or with a longer grace than its own, which is shortened then."""
        if not pod.deleted:
            return [DeletePod(pod, grace_seconds)]
        return [DeletePod(pod, pod.own_grace if grace_seconds is None else grace_seconds)] if pod.lingers else []


@dataclass(frozen=True)
class ShortenPod:
    """Let the kubelet end a pod sooner than was said when it was created."""

    pod: PodState
    seconds: int


@dataclass(frozen=True)
class ReleasePod:
    """Take the settlement finalizer off a settled pod."""

    pod: PodState


@dataclass(frozen=True)
class DeleteObjects:
    """Delete what CreateObjects made."""

    attempt: Attempt


@dataclass(frozen=True)
class HoldJob:
    """Put our finalizer on the job."""


@dataclass(frozen=True)
class ReleaseJob:
    """Book the job's total in the namespace ledger, then take our finalizer off the job."""

    patient: bool = True
    """Not without what it has reserved of budgets given back; otherwise as far as the apiserver allows that."""


@dataclass(frozen=True)
class DeleteJob:
    """Delete the job itself, whose time after its end is up."""


@dataclass(frozen=True)
class Reserve:
    """Write a TrainingBudget's status with the job's reservation in it; refused where it was changed meanwhile."""

    budget: str
    body: dict[str, Any]


Action = (
    CreateObjects
    | CreateHead
    | CreateWorker
    | CreateEvaluator
    | DeletePod
    | ShortenPod
    | ReleasePod
    | DeleteObjects
    | HoldJob
    | ReleaseJob
    | DeleteJob
    | Reserve
)


@dataclass(frozen=True)
class Event:
    """An event to post once the status that it tells of is written."""

    reason: str
    message: str
    warning: bool = False


class Tale(IntEnum):
    """What somebody tells of a pod, each more than the one before it."""

    CHANGED = 1
    ENDED = 2
    """Its kubelet is done with it."""
    GONE = 3
    """Its object is there no more."""


@dataclass
class Decision:
    """What to write and what to do, in this order: status, actions, events."""

    status: JobStatus
    actions: list[Action] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    awaited: dict[str, Tale] = field(default_factory=dict)
    """By uid, what must be told of which pods, of all of them, before there is anything to do; empty: of any."""
    wants_templates: bool = False
    """It cannot be decided without the templates that the attempt began with."""
    stale: bool = False
    """Nothing is decided: what would follow needs pods that are read now."""
