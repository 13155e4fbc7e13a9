"""Containers of a pod, by name: the stage's own, and those that somebody's webhook put beside it.

The kubelet sorts `containerStatuses` by name and nobody says how many there are, so no place in a list means anything.
The stage is the container `stage`. Others (a mesh's proxy, a secrets agent, a log shipper) are ordinary containers, init
containers, or native sidecars, which are init containers with `restartPolicy: Always`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from llmtrain.api.stageconfig import STAGE_CONTAINER

Pod = Mapping[str, Any]
State = Mapping[str, Any]
FATAL_WAITS = {"InvalidImageName", "CreateContainerConfigError"}
START_WAITS = FATAL_WAITS | {"ErrImagePull", "ImagePullBackOff", "CreateContainerError", "RunContainerError"}
INJECTED_WAITS = START_WAITS | {"CrashLoopBackOff"}
"""Native sidecars are started again and again; the stage is not."""


class Wait(NamedTuple):
    """A container that cannot start."""

    container: str
    reason: str
    message: str


def container_statuses(pod: Pod) -> list[Mapping[str, Any]]:
    """Statuses of all containers, init containers first."""
    status = pod.get("status", {})
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def stage_status(pod: Pod) -> Mapping[str, Any]:
    """Status of the stage's container; empty where the kubelet has told none."""
    found = pod.get("status", {}).get("containerStatuses") or []
    return next((status for status in found if status.get("name") == STAGE_CONTAINER), {})


def stage_spec(pod: Pod) -> Mapping[str, Any]:
    """The stage's container as it was asked for."""
    return spec_of(pod, STAGE_CONTAINER)


def spec_of(pod: Pod, name: str) -> Mapping[str, Any]:
    """The container of this name as it was asked for; empty where there is none."""
    spec = pod["spec"]
    found = [*spec.get("containers", []), *(spec.get("initContainers") or [])]
    return next((container for container in found if container.get("name") == name), {})


def terminated(status: Mapping[str, Any]) -> State:
    """How a container ended; empty where it has not."""
    ended: State = (status.get("state") or {}).get("terminated") or {}
    return ended


def last_run(status: Mapping[str, Any]) -> State:
    """How the run of a container before its present one ended; empty where there was none."""
    ended: State = (status.get("lastState") or {}).get("terminated") or {}
    return ended


def is_running(status: Mapping[str, Any]) -> bool:
    """Whether a container runs."""
    return bool((status.get("state") or {}).get("running"))


def told(status: Mapping[str, Any]) -> Iterator[State]:
    """What is known of a container's runs, this one first: `running` or `terminated`."""
    for key in ("state", "lastState"):
        parts = status.get(key) or {}
        for part in ("running", "terminated"):
            if parts.get(part):
                yield parts[part]


def failed_init(pod: Pod) -> tuple[str, State] | None:
    """Name and end of the init container that kept the pod from starting; its pod never tries it again."""
    for status in pod.get("status", {}).get("initContainerStatuses") or []:
        ended = terminated(status)
        name = str(status.get("name", ""))
        if ended.get("exitCode") and spec_of(pod, name).get("restartPolicy") != "Always":
            return name, ended
    return None


def held_back(pod: Pod) -> Wait | None:
    """Which container cannot start, and why. An injected one that runs before the stage holds it back as well."""
    own = _wait(stage_status(pod), START_WAITS)
    others = (s for s in container_statuses(pod) if s.get("name") != STAGE_CONTAINER)
    return own or next((wait for status in others if (wait := _wait(status, INJECTED_WAITS))), None)


def initializing(pod: Pod) -> str:
    """Name of a running init container that has to end, or of a native sidecar whose probe has to pass, before the stage may start."""
    for status in pod.get("status", {}).get("initContainerStatuses") or []:
        name = str(status.get("name", ""))
        holds = spec_of(pod, name).get("restartPolicy") != "Always" or status.get("started") is False
        if is_running(status) and holds:
            return name
    return ""


def _wait(status: Mapping[str, Any], reasons: set[str]) -> Wait | None:
    wait = (status.get("state") or {}).get("waiting") or {}
    if wait.get("reason") not in reasons:
        return None
    return Wait(str(status.get("name", "")), str(wait["reason"]), str(wait.get("message", "")))
