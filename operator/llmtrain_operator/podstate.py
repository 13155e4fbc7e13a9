"""What a pod object says of itself, in the words of the reconciler."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from llmtrain.api.failure import EXIT_CODES, FailureClass
from llmtrain.api.stageconfig import Result
from llmtrain_operator.billing import container_statuses, parse_time
from llmtrain_operator.border import Kind, LastWords, Read, Rejection, read_text
from llmtrain_operator.names import (
    EVALUATOR,
    FINALIZER_POD,
    HEAD,
    LABEL_ATTEMPT,
    LABEL_INCARNATION,
    LABEL_INDEX,
    LABEL_ROLE,
    LABEL_STAGE,
)
from llmtrain_operator.power import NO_POWER, Power
from llmtrain_operator.pricing import FREE, Price

CLASS_OF_CODE = {int(code): name for name, code in EXIT_CODES.items()}
FATAL_WAITS = {"InvalidImageName", "CreateContainerConfigError"}
INFRASTRUCTURE_REASONS = {"Evicted", "NodeLost", "Preempting", "Shutdown", "NodeShutdown", "Terminated"}
START_WAITS = FATAL_WAITS | {"ErrImagePull", "ImagePullBackOff", "CreateContainerError", "RunContainerError"}


@dataclass(frozen=True)
class PodState:
    """A pod of the job, read once; who it is, which every part of a decision asks, is kept.

    What it costs is the operator's own knowledge (see ownership.py): its annotations are a tenant's to edit.
    """

    raw: Mapping[str, Any]
    price: Price = FREE
    power: Power = NO_POWER
    accelerators: int = 0
    """Of its plan's resource; others that it holds are no accelerators."""
    doubt: str = ""
    """How its annotation contradicts the price; empty where it does not."""

    @property
    def name(self) -> str:
        """Name."""
        return str(self.raw["metadata"]["name"])

    @cached_property
    def uid(self) -> str:
        """Uid."""
        return str(self.raw["metadata"]["uid"])

    def label(self, key: str) -> str:
        """A label's value, or nothing."""
        return str(self.raw["metadata"].get("labels", {}).get(key, ""))

    @cached_property
    def stage(self) -> str:
        """The stage it works for."""
        return self.label(LABEL_STAGE)

    @cached_property
    def attempt(self) -> int:
        """The attempt it belongs to."""
        return int(self.label(LABEL_ATTEMPT) or 0)

    @cached_property
    def is_head(self) -> bool:
        """Head or worker."""
        return self.label(LABEL_ROLE) == HEAD

    @cached_property
    def is_evaluator(self) -> bool:
        """It scores checkpoints; nobody needs it to train."""
        return self.label(LABEL_ROLE) == EVALUATOR

    @cached_property
    def role(self) -> str:
        """head, worker or evaluator."""
        return self.label(LABEL_ROLE)

    @cached_property
    def index(self) -> int:
        """Worker slot."""
        return int(self.label(LABEL_INDEX) or 0)

    @cached_property
    def incarnation(self) -> int:
        """Which pod of its slot."""
        return int(self.label(LABEL_INCARNATION) or 1)

    @property
    def phase(self) -> str:
        """Phase."""
        return str(self.raw.get("status", {}).get("phase", "Pending"))

    @property
    def over(self) -> bool:
        """Its containers have ended for good."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def deleted(self) -> bool:
        """Somebody asked for its deletion."""
        return bool(self.raw["metadata"].get("deletionTimestamp"))

    @property
    def held(self) -> bool:
        """Our finalizer is on it."""
        return FINALIZER_POD in self.raw["metadata"].get("finalizers", [])

    @property
    def ip(self) -> str:
        """Address, once it has one."""
        return str(self.raw.get("status", {}).get("podIP", ""))

    @property
    def node(self) -> str:
        """The node that it is bound to."""
        return str(self.raw["spec"].get("nodeName", ""))

    @property
    def lifetime(self) -> int:
        """Its activeDeadlineSeconds; 0: none."""
        return int(self.raw["spec"].get("activeDeadlineSeconds") or 0)

    @property
    def accepted(self) -> datetime | None:
        """When its kubelet took it, from where its deadline counts."""
        return parse_time(self.raw.get("status", {}).get("startTime"))

    @property
    def outlived(self) -> bool:
        """Its kubelet ended it at its deadline."""
        return self.phase == "Failed" and self.status_reason == "DeadlineExceeded"

    @property
    def succeeded(self) -> bool:
        """Its container ended well; a pod that its deadline overtook meanwhile is Failed all the same."""
        return self.over and self.exit_code == 0

    @property
    def status_reason(self) -> str:
        """Why the kubelet or a controller ended it, in one word."""
        return str(self.raw.get("status", {}).get("reason", ""))

    @property
    def disruption(self) -> str:
        """Reason of condition DisruptionTarget, if somebody disrupted it."""
        return self._condition("DisruptionTarget", "True").get("reason", "")

    @property
    def cut_off(self) -> bool:
        """Its containers are ready and it is not: the sign of a node that does not answer."""
        ready = [bool(status.get("ready")) for status in self.raw.get("status", {}).get("containerStatuses", [])]
        return bool(ready) and all(ready) and bool(self._condition("Ready", "False"))

    def _condition(self, kind: str, status: str) -> Mapping[str, str]:
        found = (c for c in self.raw.get("status", {}).get("conditions", []) if c["type"] == kind)
        return next((c for c in found if c["status"] == status), {})

    @property
    def exit_code(self) -> int | None:
        """Exit code of its main container, once it has ended."""
        code = self.terminated.get("exitCode")
        return None if code is None else int(code)

    @property
    def created(self) -> datetime | None:
        """Creation time."""
        return parse_time(self.raw["metadata"].get("creationTimestamp"))

    @property
    def started(self) -> bool:
        """A container of it runs or has run."""
        states = [s.get("state", {}) for s in container_statuses(self.raw)]
        return any("running" in state or "terminated" in state for state in states)

    @property
    def waiting(self) -> tuple[str, str] | None:
        """Why it does not start: reason and message, from the scheduler or the kubelet."""
        for condition in self.raw.get("status", {}).get("conditions", []):
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                return condition.get("reason", "Unschedulable"), condition.get("message", "")
        for status in container_statuses(self.raw):
            wait = status.get("state", {}).get("waiting", {})
            if wait.get("reason") in START_WAITS:
                return str(wait["reason"]), str(wait.get("message", ""))
        return None

    @property
    def terminated(self) -> Mapping[str, Any]:
        """`terminated` of its main container, empty while it runs."""
        for status in self.raw.get("status", {}).get("containerStatuses", []):
            ended: Mapping[str, Any] = status.get("state", {}).get("terminated") or {}
            return ended
        return {}

    @cached_property
    def last_words(self) -> Read[LastWords]:
        """The termination message of its main container. Words that are no JSON object are a log's last lines, and no flaw."""
        text = str(self.terminated.get("message") or "").strip()
        return read_text(LastWords, text) if text.startswith("{") else Read(None)

    @property
    def flaws(self) -> list[Rejection]:
        """What it says that is not used."""
        said = self.last_words.flaws if self.is_head and self.terminated else ""
        return [Rejection(Kind.LAST_WORDS, said)] if said else []

    @property
    def known_as(self) -> str:
        """What it is called where it is one of many."""
        return f"pod {self.raw['metadata'].get('namespace', '')}/{self.name} ({self.uid})"

    def result(self) -> Result | None:
        """What the head wrote as its last words, if it got to."""
        return self.last_words.value

    def failure_class(self) -> FailureClass:
        """Why an ended pod failed, by its exit code and reason."""
        ended = self.terminated
        if ended.get("reason") == "OOMKilled":
            return FailureClass.OUT_OF_MEMORY
        if self.disruption or self.status_reason in INFRASTRUCTURE_REASONS:
            return FailureClass.INFRASTRUCTURE
        code = ended.get("exitCode")
        if code is None or code in (137, 143):
            return FailureClass.INFRASTRUCTURE
        return CLASS_OF_CODE.get(int(code), FailureClass.INTERNAL)
