"""The shape of a pod, and of a node: every part that the operator reads, with its bounds.

The apiserver checks most of it; not which times make sense, and not what another version or another server says. What
does not fit is left out before anybody reads it, so that no pod ends a turn.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from llmtrain_operator.border import Bounded, Kind, Rejection, checker, read
from llmtrain_operator.client import Object

Time = Annotated[
    str,
    Field(
        max_length=40,
        pattern=r"^(19[7-9]\d|2[01]\d\d)-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$",
    ),
]
Word = Annotated[str, Field(max_length=253)]
Text = Annotated[str, Field(max_length=65536)]
Int32 = Annotated[int, Field(ge=-(2**31), lt=2**31)]
Seconds = Annotated[int, Field(ge=0, lt=2**31)]
Grace = Annotated[int, Field(ge=0, lt=2**63)]
"""The apiserver takes any, and only its presence says that the kubelet has the pod yet to end."""
Key = Annotated[str, Field(max_length=317)]
"""A qualified name, as keys of labels, finalizers and resources are: a domain of up to 253 characters, a slash, a name of up to 63."""
Amounts = Annotated[dict[Key, str | int], Field(max_length=64)]


class Waiting(Bounded):
    """Why a container does not run."""

    reason: Word = ""
    message: Text = ""


class Running(Bounded):
    """Since when it runs."""

    startedAt: Time = ""


class Terminated(Bounded):
    """How it ended."""

    exitCode: Int32 = 0
    signal: Int32 = 0
    reason: Word = ""
    message: Text = ""
    startedAt: Time = ""
    finishedAt: Time = ""


class State(Bounded):
    """One of the three; the others are not there."""

    waiting: Waiting = Waiting()
    running: Running = Running()
    terminated: Terminated = Terminated()


class ContainerStatus(Bounded):
    """What the kubelet says of a container."""

    name: Word
    ready: bool = False
    restartCount: Int32 = 0
    state: State = State()
    lastState: State = State()


class Condition(Bounded):
    """A condition of a pod or a node."""

    type: Key
    status: Word
    reason: Word = ""
    message: Text = ""
    lastTransitionTime: Time = ""


class Resources(Bounded):
    """What a container asks for."""

    requests: Amounts = Field({})
    limits: Amounts = Field({})


class Container(Bounded):
    """A container as it was asked for."""

    name: Word = ""
    image: Annotated[str, Field(max_length=1024)] = ""
    restartPolicy: Word = ""
    resources: Resources = Resources()


class Owner(Bounded):
    """An owner of the pod."""

    uid: Word
    kind: Word = ""
    name: Word = ""
    controller: bool = False


class Manager(Bounded):
    """Who wrote the object last, and when."""

    subresource: Word = ""
    time: Time = ""


class Metadata(Bounded):
    """Who it is."""

    name: Word
    uid: Word
    namespace: Word = ""
    labels: Annotated[dict[Key, Word], Field(max_length=1024)] = Field({})
    annotations: Annotated[dict[Key, str], Field(max_length=1024)] = Field({})
    finalizers: Annotated[list[Key], Field(max_length=256)] = Field([])
    ownerReferences: Annotated[list[Owner], Field(max_length=256)] = Field([])
    managedFields: Annotated[list[Manager], Field(max_length=1024)] = Field([])
    creationTimestamp: Time = ""
    deletionTimestamp: Annotated[str, Field(max_length=40)] = ""
    """It says that the pod is being deleted, also where its grace leads to no year that anybody bills."""
    deletionGracePeriodSeconds: Grace = 0


class Spec(Bounded):
    """What it was asked to be."""

    nodeName: Word = ""
    activeDeadlineSeconds: Seconds = 0
    terminationGracePeriodSeconds: Grace = 0
    containers: Annotated[list[Container], Field(max_length=256)] = Field([])
    initContainers: Annotated[list[Container], Field(max_length=256)] = Field([])
    schedulingGates: Annotated[list[dict[str, Any]], Field(max_length=256)] = Field([])


class Status(Bounded):
    """What became of it."""

    phase: Word = ""
    reason: Word = ""
    message: Text = ""
    podIP: Annotated[str, Field(max_length=45, pattern=r"^[0-9A-Fa-f:.]*$")] = ""
    startTime: Time = ""
    conditions: Annotated[list[Condition], Field(max_length=256)] = Field([])
    containerStatuses: Annotated[list[ContainerStatus], Field(max_length=256)] = Field([])
    initContainerStatuses: Annotated[list[ContainerStatus], Field(max_length=256)] = Field([])


class PodShape(Bounded):
    """A pod."""

    metadata: Metadata
    spec: Spec
    status: Status = Status()


class NodeStatus(Bounded):
    """What a node says of itself."""

    conditions: Annotated[list[Condition], Field(max_length=256)] = Field([])


class NodeShape(Bounded):
    """A node."""

    status: NodeStatus = NodeStatus()


IS_SOUND = checker(PodShape).validator
SOUND: dict[str, str] = {}
"""resourceVersions, by uid, of pods that were found to be in shape: hundreds are listed again and again while one changes."""
REMEMBERED = 20_000


def shaped(raw: Object) -> tuple[Mapping[str, Any] | None, tuple[Rejection, ...]]:
    """The pod less the parts that do not fit, and what those are; None for what is no pod at all."""
    uid, version = _version_of(raw)
    if version and SOUND.get(uid) == version:
        return raw, ()
    found = read(PodShape, raw) if not IS_SOUND.isinstance_python(raw) else None
    if found is not None and found.flaws:
        rest = {"status": {}, **found.rest} if found.value is not None else None
        return rest, (Rejection(Kind.POD, found.flaws),)
    if version:
        SOUND.pop(uid, None)
        SOUND[uid] = version
        if len(SOUND) > REMEMBERED:
            del SOUND[next(iter(SOUND))]
    return raw, ()


def _version_of(raw: Object) -> tuple[str, str]:
    """Uid and resourceVersion; empty where either is not there."""
    meta = raw.get("metadata")
    uid, version = (meta.get("uid"), meta.get("resourceVersion")) if isinstance(meta, dict) else ("", "")
    return (uid, version) if isinstance(uid, str) and isinstance(version, str) and uid else ("", "")
