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
KINDS = ("succeeded", "failed", "never scheduled", "deleted while pulling", "deleted while running", "overdue while pulling",
         "rejected", "evicted", "node gone", "crashed node came back", "init failed",
         "node removed")  # fmt: skip
SHAPES = ("alone", "alone", "plain init", "native sidecar", "sidecar that outlives", "sidecar that ended early")
"""What a webhook put beside the stage."""
CLOCKS = (0, 0, 0, 4, -4, 180, -180, 7200, -7200)
"""Seconds by which a node's clock is off."""
REPORT_DELAY = 5
"""Seconds that a kubelet may take to report."""


def stamp(seconds: float) -> str:
    return (EPOCH + timedelta(seconds=int(seconds))).strftime("%Y-%m-%dT%H:%M:%SZ")


def at(seconds: float) -> datetime:
    return EPOCH + timedelta(seconds=int(seconds))


@dataclass
class Life:
    """`views`: (second from which the API shows it, pod)."""

    uid: str
    kind: str
    views: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    node_gone_at: int | None = None
    cut: tuple[int, int] | None = None
    """From when to when its node does not answer."""

    def node_at(self, second: int) -> tuple[bool, int] | None:
        """Whether the node is Ready, and since when; None: it is not there."""
        if self.node_gone_at is not None and second >= self.node_gone_at:
            return None
        lost, back = self.cut or (10**9, 10**9)
        return (False, lost) if lost <= second < back else (True, back if second >= back else 0)

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


def stage(state: dict[str, Any]) -> dict[str, Any]:
    return {"name": "stage", "ready": "running" in state, "state": state}


def life(rng: random.Random, number: int, kind: str, shape: str = "", off: int | None = None) -> Life:
    """A life that starts within ten minutes and lasts up to an hour; what runs beside the stage, and the node's clock, by chance."""
    lived = lone_life(rng, number, kind)
    shape, off = shape or rng.choice(SHAPES), rng.choice(CLOCKS) if off is None else off
    if kind not in ("never scheduled", "rejected", "init failed", "node removed") and shape != "alone":
        inject(lived, rng, shape)
    report(lived, off)
    return lived


def inject(lived: Life, rng: random.Random, shape: str) -> None:
    """A container of somebody else's in every version: before the stage, beside it, or longer than it."""
    scheduled = next(time for time, pod in lived.views if "nodeName" in pod["spec"])
    runs = [time for time, pod in lived.views if running_stage(pod)]
    begun = scheduled + rng.randint(0, max(0, (runs[0] if runs else lived.views[-1][0]) - scheduled - REPORT_DELAY - 1))
    name, init = "a-proxy", shape in ("plain init", "native sidecar")
    ends = _end_of_other(lived, rng, shape, begun)
    views, lived.views = lived.views, []
    for number, (time, pod) in enumerate(views):
        spec = {**pod["spec"]}
        spec["initContainers" if init else "containers"] = [
            *spec.get("initContainers" if init else "containers", []),
            {"name": name} | ({"restartPolicy": "Always"} if shape == "native sidecar" else {}),
        ]
        pod = {**pod, "spec": spec}
        moments = [(time, pod)] if "nodeName" in spec else []
        later = views[number + 1][0] if number + 1 < len(views) else 10**9
        # It starts, and ends, between what is told of the stage.
        moments += [(t + 1, pod) for t in (begun, ends) if moments and time < t + 1 < later and not over(pod)]
        if moments and over(pod) and time <= ends < 10**9:
            held = {**pod, "status": {k: v for k, v in pod["status"].items() if k != "reason"} | {"phase": "Running"}}
            held["status"]["conditions"] = [c for c in pod["status"]["conditions"] if c["type"] != "DisruptionTarget"]
            asked = next((v for t, v in views[:number] if "deletionTimestamp" in v["metadata"]), pod)
            moments = [(time, {**held, "metadata": asked["metadata"]}), (ends + 1, pod)]
        lived.views += moments or [(time, pod)]
    lived.views = [(t, _with(pod, name, init, begun, ends, t)) for t, pod in sorted(lived.views, key=lambda v: v[0])]


def _end_of_other(lived: Life, rng: random.Random, shape: str, begun: int) -> int:
    """When it ends: an init container before the stage starts, a sidecar before or after the stage, with a lost node never."""
    stops = [t for t, pod in lived.views if over(pod)]
    runs = [t for t, pod in lived.views if running_stage(pod)]
    if shape == "plain init":
        return begun if runs or not stops else min(begun, stops[0] - 1)
    if not stops:
        return 10**9
    if shape == "sidecar that ended early" and runs:
        return rng.randint(max(begun, runs[0]), max(begun, runs[0], stops[0] - 70))
    return stops[0] - 1 if lived.cut or not runs else stops[0] + rng.randint(0, 40)


def _with(pod: dict[str, Any], name: str, init: bool, begun: int, ends: int, now: int) -> dict[str, Any]:
    """The version as it shows the other container."""
    if "nodeName" not in pod["spec"]:
        return pod
    run = {"startedAt": stamp(begun)}
    state: dict[str, Any] = {"waiting": {"reason": "ContainerCreating"}}
    if now > begun:
        state = {"running": run} if now <= ends else {"terminated": {**run, "exitCode": 0, "finishedAt": stamp(ends)}}
    key = "initContainerStatuses" if init else "containerStatuses"
    status = {**pod["status"], key: [{"name": name, "state": state}, *pod["status"].get(key, [])]}
    if "terminated" in state and not init and running_stage(pod):
        unready = {"type": "Ready", "status": "False", "lastTransitionTime": stamp(ends)}
        status["conditions"] = [unready if each["type"] == "Ready" else each for each in status["conditions"]]
    meta = {**pod["metadata"]}
    if meta.get("deletionGracePeriodSeconds") == 0 and over(pod):
        meta["deletionTimestamp"] = stamp(now)
    return {**pod, "metadata": meta, "status": status}


def over(pod: dict[str, Any]) -> bool:
    return pod["status"]["phase"] in ("Succeeded", "Failed")


def running_stage(pod: dict[str, Any]) -> bool:
    return any("running" in c["state"] for c in pod["status"].get("containerStatuses", []) if c["name"] == "stage")


def report(lived: Life, off: int) -> None:
    """Every version says when its status was last told, by the apiserver; what the node tells is told by the node's clock."""
    views, lived.views, told, before = lived.views, [], 0, None
    for time, pod in views:
        told, before = (time, pod["status"]) if pod["status"] != before else (told, before)
        entries = [{"manager": "scheduler", "time": stamp(time)}, {"subresource": "status", "time": stamp(told)}]
        status = json.loads(json.dumps(pod["status"]))
        if "startTime" in status:
            status["startTime"] = moved(status["startTime"], off)
        for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
            for state in container["state"].values():
                state.update({key: moved(state[key], off) for key in ("startedAt", "finishedAt") if state.get(key)})
        if lived.cut is None:
            for each in status.get("conditions", []):
                if each["type"] == "Ready":
                    each["lastTransitionTime"] = moved(each["lastTransitionTime"], off)
        lived.views.append((time, {**pod, "metadata": {**pod["metadata"], "managedFields": entries}, "status": status}))


def moved(text: str, seconds: int) -> str:
    return (_time(text) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def lone_life(rng: random.Random, number: int, kind: str) -> Life:
    """The life of a pod with nothing but the stage in it, on a node whose clock is right."""
    lived = Life(f"uid-{number}", kind)
    created = rng.randint(0, 600)
    scheduled, pulled = created + rng.randint(0, 60), rng.randint(1, 300)
    started = scheduled + pulled
    ended = started + rng.randint(1, 2400)
    meta = {
        "name": f"pod-{number}",
        "uid": lived.uid,
        "finalizers": ["llmtrain.dev/settle"],
        "labels": {"llmtrain.dev/stage": rng.choice(["Curation", "Training"]), "llmtrain.dev/attempt": "1",
                   "llmtrain.dev/role": rng.choice(["head", "worker"])},
        "annotations": {"llmtrain.dev/price": json.dumps(price(rng))},
    }  # fmt: skip
    requests = {"cpu": "1"} | ({"nvidia.com/gpu": str(rng.randint(1, 8))} if rng.random() < 0.5 else {})
    spec: dict[str, Any] = {"containers": [{"name": "stage", "resources": {"requests": requests}}]}

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
    taken = {"startTime": stamp(scheduled)}
    pulling = {"phase": "Pending", "conditions": [placed, ready("False", scheduled)], **taken}
    show(scheduled, {"phase": "Pending", "conditions": [placed]} if kind == "rejected" else pulling)
    if kind == "deleted while pulling":
        asked = scheduled + rng.randint(0, pulled)
        show(asked, pulling, deletionTimestamp=stamp(asked + 60), deletionGracePeriodSeconds=60)
        failed, done = asked + rng.randint(0, REPORT_DELAY), asked + REPORT_DELAY + rng.randint(0, 2)
        unknown = {"terminated": {"exitCode": 137, "finishedAt": None, "startedAt": None}}
        dead = {**pulling, "phase": "Failed", "containerStatuses": [stage(unknown)]}
        show(failed, dead, deletionTimestamp=stamp(asked + 60), deletionGracePeriodSeconds=60)
        show(done, dead, deletionTimestamp=stamp(done), deletionGracePeriodSeconds=0)
        return lived
    if kind == "overdue while pulling":
        show(started, {**pulling, "phase": "Failed", "reason": "DeadlineExceeded"})
        return lived
    if kind == "rejected":
        # Some kubelets leave the scheduler's condition, others nothing; and somebody may evict what is left.
        kept = rng.choice([[placed], []])
        show(started, {"phase": "Failed", "reason": "OutOfcpu", "startTime": stamp(started), "conditions": kept})
        if rng.random() < 0.5:
            disrupted = {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": stamp(ended)}
            failed_pod = {**lived.last["status"], "conditions": [*kept, disrupted]}
            show(ended, failed_pod, deletionTimestamp=stamp(ended), deletionGracePeriodSeconds=0)
        return lived
    if kind == "init failed":
        began = {"startedAt": stamp(scheduled)}
        unstarted = [stage({"waiting": {"reason": "PodInitializing"}})]
        spec["initContainers"] = [{"name": "setup"}]
        show(scheduled + 1, {**pulling, "initContainerStatuses": [{"name": "setup", "state": {"running": began}}],
                             "containerStatuses": unstarted})  # fmt: skip
        failure = {"terminated": {**began, "exitCode": 1, "finishedAt": stamp(started)}}
        init = [{"name": "setup", "state": failure}]
        show(started + rng.randint(0, REPORT_DELAY), {**pulling, "phase": "Failed", "initContainerStatuses": init,
                                                      "containerStatuses": unstarted})  # fmt: skip
        if rng.random() < 0.5:
            # Deleted long after, perhaps before anybody has looked.
            show(ended + 10, lived.last["status"], deletionTimestamp=stamp(ended), deletionGracePeriodSeconds=0)
        return lived
    run = {"startedAt": stamp(started)}
    running = {"phase": "Running", **taken, "conditions": [placed, ready("True", started)],
               "containerStatuses": [stage({"running": run})]}  # fmt: skip
    show(started + rng.randint(0, REPORT_DELAY), running)
    if kind == "node removed":
        # Evicted or deleted; its stage may yet end, a proxy does not, and then there is no node any more.
        asked = max(started + REPORT_DELAY, ended - rng.randint(0, 60))
        proxy = {"name": "a-proxy", "state": {"running": run}}
        evicted = [{"type": "DisruptionTarget", "status": "True", "lastTransitionTime": stamp(asked)}]
        said = {**running, "conditions": [placed, ready("True", started), *(evicted if rng.random() < 0.5 else [])]}
        meant = {"deletionTimestamp": stamp(asked + 60), "deletionGracePeriodSeconds": 60}
        spec["containers"].append({"name": "a-proxy"})
        show(asked, {**said, "containerStatuses": [proxy, stage({"running": run})]}, **meant)
        if rng.random() < 0.5:
            saved = {"exitCode": 75, **run, "finishedAt": stamp(asked + 20)}
            show(asked + 20 + rng.randint(0, REPORT_DELAY), {**said, "containerStatuses": [proxy, stage({"terminated": saved})]},
                 **meant)  # fmt: skip
        lived.node_gone_at = asked + rng.randint(70, 200)
        return lived
    over = {"exitCode": 0, "startedAt": stamp(started), "finishedAt": stamp(ended)}
    conditions = [placed, ready("False", ended)]
    finished = {
        "phase": "Succeeded",
        **taken,
        "conditions": conditions,
        "containerStatuses": [stage({"terminated": over})],
    }
    report = ended + rng.randint(0, REPORT_DELAY)
    # The sandbox goes after the container, and both are told before the phase is.
    bare = {"type": "PodReadyToStartContainers", "status": "False", "lastTransitionTime": stamp(ended + 2)}
    if kind in ("succeeded", "failed") and rng.random() < 0.5:
        show(report, {**finished, "phase": "Running", "conditions": [*conditions, bare]})
        finished, report = {**finished, "conditions": [*conditions, bare]}, report + 3
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
        status = {**finished, "phase": "Failed", "containerStatuses": [stage({"terminated": end})]}
        done = max(asked, ended) + REPORT_DELAY
        show(done, status, deletionTimestamp=stamp(done), deletionGracePeriodSeconds=0)
    else:
        # The kubelet's last word is at `ended`; the node controller notices up to 55 s later.
        cut = ended + rng.randint(40, 55)
        silent = {**running, "conditions": [placed, ready("False", cut)]}
        show(cut, silent)
        if kind == "crashed node came back":
            lived.cut = cut, cut + rng.randint(1, 200)
            show(lived.cut[1] + rng.randint(0, REPORT_DELAY), {**finished, "phase": "Failed"})
        else:
            left = cut + 300
            lived.cut = cut, 10**9
            disrupted = {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": stamp(left)}
            status = {**silent, "conditions": [*silent["conditions"], disrupted]}
            show(left, status, deletionTimestamp=stamp(left + 60), deletionGracePeriodSeconds=60)
            lived.node_gone_at = left + rng.randint(0, 100)
    return lived


def seconds_by_the_rule(pod: dict[str, Any]) -> int:
    """The rule of docs/cost-model.md for a pod that has ended, read top to bottom."""
    status, meta = pod["status"], pod["metadata"]
    scheduled = [c for c in status.get("conditions", []) if c["type"] == "PodScheduled" and c["status"] == "True"]
    others = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    if not scheduled or (status.get("reason") == "OutOfcpu" and not others):
        return 0
    begin = _time(scheduled[0]["lastTransitionTime"])
    states = [c["state"] for c in others]
    disruption = [c for c in status.get("conditions", []) if (c["type"], c["status"]) == ("DisruptionTarget", "True")]
    ended = [state["terminated"] for state in states if state.get("terminated", {}).get("finishedAt")]
    own = [c["state"].get("terminated", {}).get("finishedAt") for c in others if c["name"] == "stage"]
    failed_init = [
        c for c in status.get("initContainerStatuses", []) if c["state"].get("terminated", {}).get("exitCode")
    ]
    if any("running" in state for state in states):
        end = _time(disruption[0]["lastTransitionTime"] if disruption else meta["deletionTimestamp"])
        end = max([end, *(_told(pod, _time(each["finishedAt"])) for each in ended)])
    elif ended and (any(own) or failed_init):
        end = _told(pod, max(_time(each["finishedAt"]) for each in ended))
    else:
        if "deletionTimestamp" in meta:
            end = _time(meta["deletionTimestamp"]) - timedelta(seconds=meta["deletionGracePeriodSeconds"])
        else:
            end = _told(pod, max(_time(c["lastTransitionTime"]) for c in status["conditions"]))
        end = max([end, *(_told(pod, _time(each["finishedAt"])) for each in ended)])
    return max(0, int((end - begin).total_seconds()))


def _told(pod: dict[str, Any], end: datetime) -> datetime:
    """By its node; where that cannot be, when the apiserver was last told of the pod."""
    status = pod["status"]
    placed = next(c for c in status["conditions"] if c["type"] == "PodScheduled")
    written = max(
        _time(each["time"]) for each in pod["metadata"]["managedFields"] if each.get("subresource") == "status"
    )
    times = [end] + ([_time(status["startTime"])] if "startTime" in status else [])
    for each in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        times += [_time(state["startedAt"]) for state in each["state"].values() if state.get("startedAt")]
    early = min(times) < _time(placed["lastTransitionTime"]) - timedelta(seconds=30)
    return written if early or max(times) > written + timedelta(seconds=30) else end


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
