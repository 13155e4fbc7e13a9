"""What a pod object says of itself, in the words of the reconciler."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from llmtrain.api.failure import EXIT_CODES, FailureClass
from llmtrain.api.stageconfig import STAGE_CONTAINER, Result
from llmtrain_operator.billing import Interval, Node, interval, is_rejected
from llmtrain_operator.border import Kind, LastWords, Read, Rejection, read_text
from llmtrain_operator.clocks import clock_off, correction, in_order, parse_time
from llmtrain_operator.containers import (
    FATAL_WAITS,
    State,
    Wait,
    failed_init,
    held_back,
    initializing,
    is_running,
    last_run,
    spec_of,
    stage_spec,
    stage_status,
    terminated,
)
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
INFRASTRUCTURE_REASONS = {"Evicted", "NodeLost", "Preempting", "Shutdown", "NodeShutdown", "Terminated"}
ENDED_FROM_OUTSIDE = (75, 137, 143)
"""Exit codes of a container that was told to end, or killed."""
LONGEST_GRACE = 3600
"""Seconds. It is made with a minute; somebody's webhook may have given it years."""
OWN_STORAGE_LIMIT = re.compile(
    r"exceeded its local ephemeral storage limit|ephemeral local storage usage exceeds the total limit of containers"
    r"|Usage of EmptyDir volume .* exceeds the limit"
)
"""What kubelets say of a pod that they evict for its own doing; a node that runs low is told in other words."""


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
    left_out: tuple[Rejection, ...] = ()
    """Parts of it that do not fit, and were left out of `raw`."""
    mislabelled: bool = False
    """Somebody has edited the labels by which it is found; those in `raw` are the right ones."""
    _spans: list[tuple[Node | None, datetime, Interval]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

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

    @cached_property
    def phase(self) -> str:
        """Phase."""
        return str(self.raw.get("status", {}).get("phase", "Pending"))

    @cached_property
    def over(self) -> bool:
        """Its stage has ended for good, though another container may still run and be paid for."""
        return self.finished or bool(self.terminated)

    @cached_property
    def finished(self) -> bool:
        """All its containers have ended for good."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def explained(self) -> bool:
        """It is over and why is known. Why a kubelet ended it is told only once all its containers have ended."""
        own = self.over and self.exit_code not in ENDED_FROM_OUTSIDE
        return own or self.finished or self.terminated.get("reason") == "OOMKilled"

    @property
    def rejected(self) -> bool:
        """Its kubelet would not have it."""
        return is_rejected(self.raw)

    @property
    def own_storage_limit(self) -> bool:
        """It was evicted for using more of the node's disk than it may, which is not the node's fault."""
        return self.status_reason == "Evicted" and bool(OWN_STORAGE_LIMIT.search(self.status_message))

    @property
    def deleted(self) -> bool:
        """Somebody asked for its deletion."""
        return bool(self.raw["metadata"].get("deletionTimestamp"))

    @property
    def own_grace(self) -> int:
        """Its terminationGracePeriodSeconds, as far as anybody should wait for it; 0: none is told."""
        return min(int(self.raw["spec"].get("terminationGracePeriodSeconds") or 0), LONGEST_GRACE)

    @property
    def lingers(self) -> bool:
        """Whoever asked for its deletion gave it longer than its own grace: years, if he wants to."""
        grace = int(self.raw["metadata"].get("deletionGracePeriodSeconds") or 0)
        return self.deleted and 0 < self.own_grace < grace

    @property
    def held(self) -> bool:
        """Our finalizer is on it."""
        return FINALIZER_POD in self.raw["metadata"].get("finalizers", [])

    @property
    def ip(self) -> str:
        """Address, once it has one."""
        return str(self.raw.get("status", {}).get("podIP", ""))

    @cached_property
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
        """Its stage ended well; a pod that its deadline overtook meanwhile, or whose sidecar did not, is Failed all the same."""
        return self.over and self.exit_code == 0

    @property
    def status_reason(self) -> str:
        """Why the kubelet or a controller ended it, in one word."""
        return str(self.raw.get("status", {}).get("reason", ""))

    @property
    def status_message(self) -> str:
        """The same for people."""
        return str(self.raw.get("status", {}).get("message", ""))

    @property
    def disruption(self) -> str:
        """Reason of condition DisruptionTarget, if somebody disrupted it."""
        return self._condition("DisruptionTarget", "True").get("reason", "")

    @property
    def cut_off(self) -> bool:
        """Its stage's container is ready and it is not: the sign of a node that does not answer, or of another container."""
        return bool(stage_status(self.raw).get("ready")) and bool(self._condition("Ready", "False"))

    def _condition(self, kind: str, status: str) -> Mapping[str, str]:
        found = (c for c in self.raw.get("status", {}).get("conditions", []) if c["type"] == kind)
        return next((c for c in found if c["status"] == status), {})

    @property
    def exit_code(self) -> int | None:
        """Exit code of its stage, once that has ended."""
        code = self.terminated.get("exitCode")
        return None if code is None else int(code)

    @property
    def created(self) -> datetime | None:
        """Creation time."""
        return parse_time(self.raw["metadata"].get("creationTimestamp"))

    @cached_property
    def started(self) -> bool:
        """Its stage runs or has run."""
        return is_running(stage_status(self.raw)) or bool(self.terminated)

    @cached_property
    def _in_order(self) -> bool:
        return in_order(self.raw)

    def clock_off(self, now: datetime) -> timedelta | None:
        """By how much its node's clock is off, see clocks.py; None: it is not known to be."""
        return None if self._in_order else clock_off(self.raw, now)

    def correction(self, now: datetime) -> timedelta | None:
        """What brings its node's times to where they most likely were, see clocks.py; None: they may stand."""
        return None if self._in_order else correction(self.raw, now)

    def span(self, nodes: Mapping[str, Node], now: datetime) -> Interval:
        """Its billed interval at `now`, worked out once: a dozen parts of a decision ask it of each pod of what may be hundreds."""
        node = nodes.get(self.node)
        for known, time, span in self._spans:
            if known is node and time == now:
                return span
        span = interval(self.raw, nodes, now)
        self._spans.append((node, now, span))
        return span

    @property
    def waiting(self) -> tuple[str, str] | None:
        """Why it does not start: reason and message, from the scheduler or the kubelet."""
        if self.rejected:
            return self.status_reason, f"node {self.node} rejected it: {self.status_message}"
        for condition in self.raw.get("status", {}).get("conditions", []):
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                return condition.get("reason", "Unschedulable"), condition.get("message", "")
        held = self._held_back
        if held is None:
            return None
        own = held.container == STAGE_CONTAINER
        return held.reason, held.message if own else f"injected container `{held.container}`: {held.message}"

    @property
    def hopeless(self) -> bool:
        """What was asked for can never start. What others put into the pod may yet be mended by them."""
        held = self._held_back
        return held is not None and held.container == STAGE_CONTAINER and held.reason in FATAL_WAITS

    @property
    def awaited_image(self) -> str:
        """Image of the container that cannot start; of the stage's where none is known."""
        held = self._held_back
        return str(spec_of(self.raw, held.container if held else STAGE_CONTAINER).get("image", ""))

    @property
    def initializing(self) -> str:
        """Name of the init container that its stage waits for; empty: none."""
        return initializing(self.raw)

    @property
    def memory_limit(self) -> str:
        """Of its stage, for messages."""
        return str(stage_spec(self.raw).get("resources", {}).get("limits", {}).get("memory", "none"))

    @property
    def _held_back(self) -> Wait | None:
        return held_back(self.raw)

    @cached_property
    def terminated(self) -> State:
        """How its stage ended, empty while it runs. It runs once: one that is started again, by whoever changed the pod, is over."""
        status = stage_status(self.raw)
        return terminated(status) or last_run(status)

    @cached_property
    def last_words(self) -> Read[LastWords]:
        """The termination message of its main container. Words that are no JSON object are a log's last lines, and no flaw."""
        text = str(self.terminated.get("message") or "").strip()
        return read_text(LastWords, text) if text.startswith("{") else Read(None)

    @property
    def flaws(self) -> list[Rejection]:
        """What it says that is not used."""
        said = self.last_words.flaws if self.is_head and self.terminated else ""
        return [*self.left_out, *([Rejection(Kind.LAST_WORDS, said)] if said else [])]

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
        if self.own_storage_limit:
            return FailureClass.OUT_OF_EPHEMERAL_STORAGE
        if ended.get("reason") == "OOMKilled":
            return FailureClass.OUT_OF_MEMORY
        if self.disruption or self.status_reason in INFRASTRUCTURE_REASONS:
            return FailureClass.INFRASTRUCTURE
        if not ended and failed_init(self.raw):
            return FailureClass.NOT_STARTED
        code = ended.get("exitCode")
        if code is None or code in (137, 143):
            return FailureClass.INFRASTRUCTURE
        return CLASS_OF_CODE.get(int(code), FailureClass.INTERNAL)

    @property
    def end_reason(self) -> str:
        """Why it ended, in one word; empty where its exit code alone says so."""
        if self.own_storage_limit:
            return "EphemeralStorageExceeded"
        if not self.terminated and failed_init(self.raw):
            return "InitContainerFailed"
        return self.status_reason

    def end_message(self) -> str:
        """Why an ended pod failed, for people: what it wrote, or what its kubelet says."""
        ended, init = self.terminated, failed_init(self.raw)
        if self.own_storage_limit:
            why = f"used more ephemeral storage than its own limit allows: {self.status_message.strip()}"
            return f"{why} Raise that limit: it is a volume's, or set by a LimitRange of the namespace or by a webhook"
        if ended.get("reason") == "OOMKilled":
            return f"ran out of memory (limit {self.memory_limit})"
        if self.rejected:
            return f"was rejected by node {self.node}: {self.status_reason} {self.status_message}"
        if not ended and init:
            end = f"exit code {init[1].get('exitCode')} ({init[1].get('reason', 'no reason')})"
            return f"did not start: its init container `{init[0]}` ended with {end} {str(init[1].get('message') or '')[-300:]}"
        text = self.status_message or str(ended.get("message") or "")[-300:]
        return f"ended with exit code {ended.get('exitCode')} ({ended.get('reason', 'no reason')}) {text}"
