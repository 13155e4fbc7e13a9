"""Random lives of pods: what the API shows of one pod from its creation to its end, and its bill by a rule of its own.

No rule here uses the operator's code: that of the billed interval is written down a second time.
"""

import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from llmtrain_operator.podstate import PodState
from llmtrain_operator.pricing import Price

EPOCH = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
KINDS = ("succeeded", "failed", "never scheduled", "deleted while pulling", "deleted while running", "rejected",
         "evicted", "node gone", "crashed node came back")  # fmt: skip
REPORT_DELAY = 5
"""Seconds that a kubelet may take to report."""


def stamp(seconds: float) -> str:
    return (EPOCH + timedelta(seconds=int(seconds))).strftime("%Y-%m-%dT%H:%M:%SZ")


def at(seconds: float) -> datetime:
    return EPOCH + timedelta(seconds=int(seconds))


@dataclass
class Life:
    """`views`: (second from which the API shows it, pod); `nodes`: (second, does the node exist)."""

    uid: str
    kind: str
    views: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    node_gone_at: int | None = None

    def seen_at(self, second: int) -> dict[str, Any] | None:
        shown = [view for time, view in self.views if time <= second]
        return shown[-1] if shown else None

    @property
    def last(self) -> dict[str, Any]:
        return self.views[-1][1]


def price(rng: random.Random) -> dict[str, Any]:
    return {
        "plan": rng.choice(["a", "b"]),
        "planResourceVersion": "1",
        "tenure": "Rented",
        "microUsdPerHour": rng.randint(0, 40_000_000),
        "incrementSeconds": rng.choice([1, 1, 60, 3600]),
        "minimumSeconds": rng.choice([0, 60, 600]),
    }


def life(rng: random.Random, number: int, kind: str) -> Life:
    """A life that starts within ten minutes and lasts up to an hour."""
    lived = Life(f"uid-{number}", kind)
    created = rng.randint(0, 600)
    scheduled, pulled = created + rng.randint(0, 60), rng.randint(1, 300)
    started = scheduled + pulled
    ended = started + rng.randint(1, 2400)
    meta = {
        "name": f"pod-{number}",
        "uid": lived.uid,
        "labels": {"llmtrain.dev/stage": rng.choice(["Curation", "Training"]), "llmtrain.dev/attempt": "1",
                   "llmtrain.dev/role": rng.choice(["head", "worker"])},
        "annotations": {"llmtrain.dev/price": json.dumps(price(rng))},
    }  # fmt: skip
    requests = {"cpu": "1"} | ({"nvidia.com/gpu": str(rng.randint(1, 8))} if rng.random() < 0.5 else {})
    spec: dict[str, Any] = {"containers": [{"resources": {"requests": requests}}]}

    def show(second: int, status: dict[str, Any], **extra: Any) -> None:
        on_node = {"nodeName": f"node-{number}"} if second >= scheduled and kind != "never scheduled" else {}
        lived.views.append((second, {"metadata": {**meta, **extra}, "spec": {**spec, **on_node}, "status": status}))

    placed = {"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp(scheduled)}

    def ready(value: str, since: int) -> dict[str, Any]:
        return {"type": "Ready", "status": value, "lastTransitionTime": stamp(since)}

    show(created, {"phase": "Pending"})
    gone: dict[str, Any] = {"deletionTimestamp": stamp(started - 1), "deletionGracePeriodSeconds": 0}
    if kind == "never scheduled":
        show(started, {"phase": "Pending"}, **gone)
        return lived
    pulling = {"phase": "Pending", "conditions": [placed, ready("False", scheduled)], "startTime": stamp(scheduled)}
    show(scheduled, pulling)
    if kind == "deleted while pulling":
        asked = scheduled + rng.randint(0, pulled)
        show(asked, pulling, deletionTimestamp=stamp(asked + 60), deletionGracePeriodSeconds=60)
        failed, done = asked + rng.randint(0, REPORT_DELAY), asked + REPORT_DELAY + rng.randint(0, 2)
        unknown = {"terminated": {"exitCode": 137, "finishedAt": None, "startedAt": None}}
        dead = {**pulling, "phase": "Failed", "containerStatuses": [{"state": unknown}]}
        show(failed, dead, deletionTimestamp=stamp(asked + 60), deletionGracePeriodSeconds=60)
        show(done, dead, deletionTimestamp=stamp(done), deletionGracePeriodSeconds=0)
        return lived
    if kind == "rejected":
        show(started, {**pulling, "phase": "Failed", "reason": "DeadlineExceeded"})
        return lived
    run = {"startedAt": stamp(started)}
    running = {"phase": "Running", "conditions": [placed, ready("True", started)],
               "containerStatuses": [{"state": {"running": run}}]}  # fmt: skip
    show(started + rng.randint(0, REPORT_DELAY), running)
    over = {"exitCode": 0, "startedAt": stamp(started), "finishedAt": stamp(ended)}
    conditions = [placed, ready("False", ended)]
    finished = {"phase": "Succeeded", "conditions": conditions, "containerStatuses": [{"state": {"terminated": over}}]}
    report = ended + rng.randint(0, REPORT_DELAY)
    if kind == "succeeded":
        show(report, finished)
    elif kind == "failed":
        show(report, {**finished, "phase": "Failed"})
    elif kind == "evicted":
        disrupted = {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": stamp(report)}
        show(report, {**finished, "phase": "Failed", "reason": "Evicted", "conditions": [*conditions, disrupted]})
    elif kind == "deleted while running":
        asked = max(started + REPORT_DELAY, ended - rng.randint(0, 60))
        show(asked, running, deletionTimestamp=stamp(asked + 60), deletionGracePeriodSeconds=60)
        end = {**over, "finishedAt": stamp(max(asked, ended))}
        status = {**finished, "phase": "Failed", "containerStatuses": [{"state": {"terminated": end}}]}
        done = max(asked, ended) + REPORT_DELAY
        show(done, status, deletionTimestamp=stamp(done), deletionGracePeriodSeconds=0)
    else:
        # The kubelet's last word is at `ended`; the node controller notices up to 55 s later.
        cut = ended + rng.randint(40, 55)
        silent = {**running, "conditions": [placed, ready("False", cut)]}
        show(cut, silent)
        if kind == "crashed node came back":
            show(cut + rng.randint(1, 200), {**finished, "phase": "Failed"})
        else:
            evicted = cut + 300
            disrupted = {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": stamp(evicted)}
            status = {**silent, "conditions": [*silent["conditions"], disrupted]}
            show(evicted, status, deletionTimestamp=stamp(evicted + 60), deletionGracePeriodSeconds=60)
            lived.node_gone_at = evicted + rng.randint(0, 100)
    return lived


def seconds_by_the_rule(pod: dict[str, Any]) -> int:
    """The brief's rule for a pod that has ended, read top to bottom."""
    status, meta = pod["status"], pod["metadata"]
    scheduled = [c for c in status.get("conditions", []) if c["type"] == "PodScheduled" and c["status"] == "True"]
    if not scheduled:
        return 0
    begin = _time(scheduled[0]["lastTransitionTime"])
    states = [c["state"] for c in status.get("containerStatuses", [])]
    disruption = [c for c in status.get("conditions", []) if c["type"] == "DisruptionTarget"]
    if any("running" in state for state in states):
        end = _time(disruption[0]["lastTransitionTime"] if disruption else meta["deletionTimestamp"])
    elif any(state.get("terminated", {}).get("finishedAt") for state in states):
        end = max(_time(state["terminated"]["finishedAt"]) for state in states)
    elif "deletionTimestamp" in meta:
        end = _time(meta["deletionTimestamp"]) - timedelta(seconds=meta["deletionGracePeriodSeconds"])
    else:
        end = max(_time(c["lastTransitionTime"]) for c in status["conditions"])
    return max(0, int((end - begin).total_seconds()))


def micro_usd_by_the_rule(pod: dict[str, Any]) -> int:
    """Its amount, with fractions."""
    frozen = json.loads(pod["metadata"]["annotations"]["llmtrain.dev/price"])
    return round(Fraction(billed_by_the_rule(pod) * frozen["microUsdPerHour"], 3600))


def billed_by_the_rule(pod: dict[str, Any]) -> int:
    """Its billed seconds."""
    frozen = json.loads(pod["metadata"]["annotations"]["llmtrain.dev/price"])
    seconds, step = seconds_by_the_rule(pod), frozen["incrementSeconds"]
    return max(frozen["minimumSeconds"], (seconds + step - 1) // step * step) if seconds else 0


def taken_in(pod: dict[str, Any]) -> PodState:
    """The pod with the price that its job's status has of it, which here is that of its annotation."""
    frozen = json.loads(pod["metadata"]["annotations"]["llmtrain.dev/price"])
    requests = pod["spec"]["containers"][0].get("resources", {}).get("requests", {})
    gpus = int(requests.get("nvidia.com/gpu", "0"))
    return PodState(pod, price=Price(**frozen), accelerators=gpus)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
