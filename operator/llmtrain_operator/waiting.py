"""Why a job is not running, truthfully and with money: which pods wait, for what, and what is held meanwhile."""

from dataclasses import dataclass
from datetime import timedelta

from llmtrain.api.status import StageState, StageStatus, Waiting
from llmtrain.cost.money import amount_micro_usd, format_usd
from llmtrain_operator.billing import interval, parse_time
from llmtrain_operator.blueprints import cluster_of, worker_count
from llmtrain_operator.deadline import seconds_without_progress
from llmtrain_operator.elastic import idle_workers, is_enough, started_workers
from llmtrain_operator.podstate import PodState
from llmtrain_operator.refusal import insufficient, quota_resource, reason_of
from llmtrain_operator.turn import Turn

SLOW_START = timedelta(seconds=30)
NO_PROGRESS_SECONDS = 600
NAMED_PODS = 8
STARTING = "Starting"
FEWER = "FewerWorkers"
"""An elastic training runs, with fewer workers than are wanted."""
RUNS_ALL_THE_SAME = (STARTING, FEWER)


@dataclass(frozen=True)
class Cause:
    """Why, in a word and for people; the resource that is missing and the pods that wait for it."""

    reason: str
    message: str
    resource: str = ""
    pods: tuple[str, ...] = ()


def waiting(turn: Turn, stage: StageStatus | None) -> Waiting | None:
    """The answer to "why is it not running"; None where it runs or is over."""
    cause = find_cause(turn, stage) if stage else None
    if cause is None or stage is None:
        return None
    before = turn.seen.job.status.waiting
    since = before.since if before and before.reason == cause.reason else _since(turn, stage, cause)
    held = idle_workers(turn, stage) if cause.reason == FEWER else turn.pods_of(stage)
    held = [pod for pod in held if pod.node and not turn.ended(pod)]
    gpus = sum(pod.accelerators for pod in held)
    money = held_micro_usd(turn, held, since)
    return Waiting(
        reason=cause.reason,
        message=f"{cause.message}{_held_message(turn, stage, gpus, since, money)}"[:1024],
        since=since,
        resource=cause.resource,
        pods=list(cause.pods[:NAMED_PODS]),
        pod_count=len(cause.pods),
        held_accelerators=gpus,
        held_micro_usd=money,
    )


def find_cause(turn: Turn, stage: StageStatus) -> Cause | None:
    """What keeps the current stage from working."""
    if turn.blocked:
        return None if turn.blocked[0] == "TearingDown" else Cause(*turn.blocked)
    if stage.state is StageState.SUSPENDED:
        reason, _, message = stage.message.partition(": ")
        return Cause(reason or "Suspended", message)
    if stage.state is not StageState.RUNNING:
        return None
    found = _refused(turn, stage) or _pods_wait(turn, stage) or _starting(turn, stage)
    return (_fewer(turn, stage, found) if is_enough(turn, stage) else found) or _no_progress(turn, stage)


def _fewer(turn: Turn, stage: StageStatus, why: Cause | None) -> Cause | None:
    """An elastic training that runs with fewer workers than are wanted; why the others are not there."""
    wanted, idle = worker_count(turn.spec, stage.name), idle_workers(turn, stage)
    train = len(started_workers(turn, stage)) - sum(pod.started for pod in idle)
    if train >= wanted:
        return None
    reason = why.message if why else f"the others are asked for at {stage.grow_after}" if stage.grow_after else ""
    pods = why.pods if why else tuple(pod.name for pod in idle)
    message = f"{train} of {wanted} workers can train" + (f"; {reason}" if reason else "")
    return Cause(FEWER, message, why.resource if why else "", pods)


def _refused(turn: Turn, stage: StageStatus) -> Cause | None:
    text = turn.seen.refusal
    if not text or not turn.lacks_crew(stage):
        return None
    there = {(pod.is_head, pod.index, pod.incarnation) for pod in turn.crew_of(stage)}
    missing = [f"w{w.index}-{w.incarnation}" for w in stage.workers if (False, w.index, w.incarnation) not in there]
    names = [f"{turn.cluster_name(stage)}-{part}" for part in missing]
    return Cause(reason_of(text), text, quota_resource(text), tuple(names))


def _pods_wait(turn: Turn, stage: StageStatus) -> Cause | None:
    """Pods that the scheduler or the kubelet gives a reason for; the most frequent reason is told."""
    waits = [(pod, pod.waiting) for pod in turn.crew_of(stage) if not pod.started and not pod.deleted]
    told = [(pod, wait) for pod, wait in waits if wait]
    if not told:
        return None
    reasons = [wait[0] for _, wait in told]
    reason = max(dict.fromkeys(reasons), key=reasons.count)
    pods = [(pod, wait[1]) for pod, wait in told if wait[0] == reason]
    first, text = pods[0]
    resource = insufficient(text) if reason == "Unschedulable" else first.awaited_image if "Image" in reason else ""
    wanted = f" for {resource}" if resource else ""
    total = len(turn.crew_of(stage))
    message = f"{len(pods)} of {total} pods wait{wanted}; pod {first.name}: {text or reason}"
    return Cause(reason, message, resource, tuple(pod.name for pod, _ in pods))


def _starting(turn: Turn, stage: StageStatus) -> Cause | None:
    """Pods that are placed and simply take their time: pulling the image, mounting volumes."""
    pods = [pod for pod in turn.crew_of(stage) if not pod.started and not pod.over]
    slow = [pod for pod in pods if pod.created and turn.now - pod.created > SLOW_START]
    if not slow:
        return None
    message = f"{len(slow)} of {len(turn.crew_of(stage))} pods pull their image or mount their volumes"
    first = next((pod for pod in slow if pod.initializing), None)
    message += f"; pod {first.name} waits for its init container `{first.initializing}`" if first else ""
    return Cause(STARTING, message, "", tuple(pod.name for pod in slow))


def _no_progress(turn: Turn, stage: StageStatus) -> Cause | None:
    seconds = seconds_without_progress(turn, stage)
    if seconds < NO_PROGRESS_SECONDS:
        return None
    detail = f" ({stage.progress.detail})" if stage.progress and stage.progress.detail else ""
    return Cause("NoProgress", f"the cluster runs, but reports nothing new{detail}")


def _since(turn: Turn, stage: StageStatus, cause: Cause) -> str:
    if cause.reason == FEWER and stage.idle_since:
        return stage.idle_since
    if cause.reason == "NoProgress":
        return stage.progress_time or turn.stamp
    asked = [str(pod.raw["metadata"].get("creationTimestamp", "")) for pod in turn.crew_of(stage)
             if pod.name in cause.pods]  # fmt: skip
    return min((time for time in asked if time), default=turn.stamp)


def held_micro_usd(turn: Turn, held: list[PodState], since: str) -> int:
    """What placed pods cost while they wait for the others: seconds since both were so, at their frozen price."""
    begin = parse_time(since) or turn.now
    amounts = []
    for pod in held:
        start = interval(pod.raw, turn.seen.nodes, turn.now).start or turn.now
        seconds = max(0, int((turn.now - max(start, begin)).total_seconds()))
        amounts.append(amount_micro_usd(seconds, pod.price.microUsdPerHour))
    return sum(amounts)


def _held_message(turn: Turn, stage: StageStatus, gpus: int, since: str, money: int) -> str:
    """ "; 3 of 8 accelerators held idle 12 min = $4.80"."""
    total = len(stage.workers) * cluster_of(turn.spec, stage.name).workers.accelerators_per_worker
    if not money:
        return ""
    minutes = int((turn.now - (parse_time(since) or turn.now)).total_seconds()) // 60
    what = f"{gpus} of {total} accelerators" if gpus else "pods"
    return f"; {what} held idle {minutes} min = ${format_usd(money)}"
