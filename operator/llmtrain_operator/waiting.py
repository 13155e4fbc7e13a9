"""Why a job is not running, truthfully and with money: which pods wait, for what, and what is held meanwhile."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from llmtrain.api.status import StageState, StageStatus, Waiting
from llmtrain.cost.money import format_usd
from llmtrain_operator.billing import format_time, parse_time
from llmtrain_operator.blueprints import cluster_of, worker_count
from llmtrain_operator.deadline import seconds_without_progress
from llmtrain_operator.elastic import idle_workers, is_enough, started_workers
from llmtrain_operator.idle_release import GIVEN_BACK
from llmtrain_operator.names import FINALIZER_POD, HEAD
from llmtrain_operator.nodes import overdue
from llmtrain_operator.placement import held_micro_usd, held_pods, placed_at, unplaced_pods
from llmtrain_operator.podstate import PodState
from llmtrain_operator.refusal import insufficient, quota_resource, reason_of
from llmtrain_operator.turn import TEARING_DOWN, Turn

SLOW_START = timedelta(seconds=30)
SLOW_SCHEDULER = timedelta(seconds=60)
NO_PROGRESS_SECONDS = 600
NAMED_PODS = 8
CREW_CREATES = ("CreateObjects", "CreateHead", "CreateWorker")
"""Acts without which the stage cannot start; whoever waits for an evaluator trains meanwhile."""
STARTING, NO_PROGRESS = "Starting", "NoProgress"
GATED, UNSCHEDULABLE, UNSEEN = "SchedulingGated", "Unschedulable", "NotScheduled"
"""Of pods without a node: a gate is in front of the scheduler, no node fits, no scheduler has said anything."""
FEWER = "FewerWorkers"
"""An elastic training runs, with fewer workers than are wanted."""
RUNS_ALL_THE_SAME = (STARTING, FEWER)
NOT_TORN_DOWN = "NotTornDown"
"""Pods that were asked to end are there long after their grace."""
GIVE_WAY = (*RUNS_ALL_THE_SAME, NOT_TORN_DOWN, "Reserving")
"""What passes by itself, unless the apiserver refuses what it takes."""
SLOW_END = timedelta(seconds=30)


@dataclass(frozen=True)
class Cause:
    """Why, in a word and for people; the resource that is missing and the pods that wait for it."""

    reason: str
    message: str
    resource: str = ""
    pods: tuple[str, ...] = ()
    since: str = ""
    """Empty: since the pods were asked for."""


def waiting(turn: Turn, stage: StageStatus | None) -> Waiting | None:
    """The answer to "why is it not running"; None where it runs or is over."""
    cause = find_cause(turn, stage) if stage else None
    if cause is None or stage is None:
        return None
    before = turn.seen.job.status.waiting
    since = before.since if before and before.reason == cause.reason else _since(turn, stage, cause)
    held = idle_workers(turn, stage) if cause.reason == FEWER else held_pods(turn, stage)
    idle_since = stage.phases.held_since or since
    money = held_micro_usd(turn, held, idle_since)
    words = held_words(turn, stage, held, idle_since, money) + _earlier_words(stage, cause)
    return Waiting(
        reason=cause.reason,
        message=f"{cause.message[: 1024 - len(words)]}{words}",
        since=since,
        resource=cause.resource,
        pods=list(cause.pods[:NAMED_PODS]),
        pod_count=len(cause.pods),
        held_accelerators=sum(pod.accelerators for pod in held),
        held_micro_usd=money + (stage.idle_micro_usd if _goes_on(stage, cause) else 0),
    )


def find_cause(turn: Turn, stage: StageStatus) -> Cause | None:
    """What keeps the current stage from working."""
    if turn.seen.job.deleted or turn.blocked == TEARING_DOWN:
        return _not_torn_down(turn)
    enough = is_enough(turn, stage)
    blocked = Cause(*turn.blocked) if turn.blocked else None
    if blocked and not enough:
        return blocked
    if stage.state is StageState.SUSPENDED:
        reason, _, message = stage.message.partition(": ")
        return Cause(reason or "Suspended", message)
    if stage.state is not StageState.RUNNING:
        return _not_torn_down(turn)
    found = blocked or _incomplete(turn, stage)
    return (_fewer(turn, stage, found) if enough else found) or _no_progress(turn, stage)


def _not_torn_down(turn: Turn) -> Cause | None:
    """Pods that should be gone: by whose fault they are not."""
    late = [pod for pod in turn.seen.pods if overdue(pod, turn.now, SLOW_END)]
    if not late:
        return None
    first, since = late[0], min(str(pod.raw["metadata"]["deletionTimestamp"]) for pod in late)
    others = [name for name in first.raw["metadata"].get("finalizers") or [] if name != FINALIZER_POD]
    kubelet = f"its kubelet on node {first.node} has not said that it has ended"
    why = f"finalizer `{others[0]}` holds it" if others and turn.ended(first) else kubelet
    message = f"{len(late)} of {len(turn.seen.pods)} pods should be gone since {since}; pod {first.name}: {why}"
    return Cause(NOT_TORN_DOWN, message, "", tuple(pod.name for pod in late), since)


def _incomplete(turn: Turn, stage: StageStatus) -> Cause | None:
    """What head and workers wait for: what keeps placed pods from starting first, for no place would cure it."""
    waits = [(pod, wait) for pod in turn.crew_of(stage) if not (pod.started or pod.deleted) and (wait := pod.waiting)]
    reasons = sorted({wait[0] for _, wait in waits}, key=[wait[0] for _, wait in waits].count, reverse=True)
    groups = {reason: [(pod, wait[1]) for pod, wait in waits if wait[0] == reason] for reason in reasons}
    placed = [_pods_wait(turn, stage, reason, pods) for reason, pods in groups.items() if pods[0][0].node]
    unplaced = [_pods_wait(turn, stage, reason, pods) for reason, pods in groups.items() if not pods[0][0].node]
    causes = [cause for cause in (*placed, _refused(turn, stage), *unplaced, _unseen(turn, stage)) if cause]
    if not causes:
        return _starting(turn, stage)
    return replace(causes[0], message="; besides: ".join(dict.fromkeys(cause.message for cause in causes)))


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
    refusal = next((one for one in turn.seen.refusals if one.act in CREW_CREATES), None)
    if refusal is None or not turn.lacks_crew(stage):
        return None
    there = {(pod.is_head, pod.index, pod.incarnation) for pod in turn.crew_of(stage)}
    missing = [] if turn.head_of(stage) else [HEAD]
    missing += [f"w{w.index}-{w.incarnation}" for w in stage.workers if (False, w.index, w.incarnation) not in there]
    names = [f"{turn.cluster_name(stage)}-{part}" for part in missing]
    words = refusal.message if refusal.code else f"the apiserver does not answer: {refusal.message}"
    return Cause(reason_of(refusal), words, quota_resource(words), tuple(names), format_time(refusal.since))


def _pods_wait(turn: Turn, stage: StageStatus, reason: str, pods: Sequence[tuple[PodState, str]]) -> Cause:
    """Pods for which the scheduler or the kubelet gives one reason."""
    first, text = pods[0]
    resource = insufficient(text) if reason == UNSCHEDULABLE else first.awaited_image if "Image" in reason else ""
    wanted = f" for {resource}" if resource else f" at a gate ({_gates(first)})" if reason == GATED else ""
    message = f"{len(pods)} of {len(turn.crew_of(stage))} pods wait{wanted}; pod {first.name}: {text or reason}"
    return Cause(reason, message, resource, tuple(pod.name for pod, _ in pods))


def _gates(pod: PodState) -> str:
    return ", ".join(str(gate.get("name", "")) for gate in pod.raw["spec"].get("schedulingGates") or [])


def _unseen(turn: Turn, stage: StageStatus) -> Cause | None:
    """Pods that no scheduler has said a word of."""
    pods = [pod for pod in unplaced_pods(turn, stage) if pod.waiting is None and _older(turn, pod, SLOW_SCHEDULER)]
    if not pods:
        return None
    whose = str(pods[0].raw["spec"].get("schedulerName") or "default-scheduler")
    message = f"{len(pods)} of {len(turn.crew_of(stage))} pods have no node, and scheduler {whose} says nothing of them"
    return Cause(UNSEEN, message, "", tuple(pod.name for pod in pods))


def _older(turn: Turn, pod: PodState, age: timedelta) -> bool:
    since = placed_at(pod) or pod.created
    return since is not None and turn.now - since > age


def _starting(turn: Turn, stage: StageStatus) -> Cause | None:
    """Pods that are placed and simply take their time: pulling the image, mounting volumes."""
    pods = [pod for pod in turn.crew_of(stage) if pod.node and not pod.started and not pod.over]
    slow = [pod for pod in pods if _older(turn, pod, SLOW_START)]
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
    return Cause(NO_PROGRESS, f"the cluster runs, but reports nothing new{detail}")


def _since(turn: Turn, stage: StageStatus, cause: Cause) -> str:
    if cause.reason == FEWER and stage.idle_since:
        return stage.idle_since
    if cause.reason == NO_PROGRESS:
        return stage.progress_time or turn.stamp
    if cause.since:
        return cause.since
    before = turn.seen.job.status.waiting
    if before is not None and before.reason == GATED:
        return turn.stamp
    asked = [str(pod.raw["metadata"].get("creationTimestamp", "")) for pod in turn.crew_of(stage)
             if pod.name in cause.pods]  # fmt: skip
    return min((time for time in asked if time), default=turn.stamp)


def held_words(turn: Turn, stage: StageStatus, held: Sequence[PodState], since: str, money: int) -> str:
    """ "; 3 of 8 accelerators held idle 12 min = $4.80"."""
    if not money:
        return ""
    gpus, total = sum(pod.accelerators for pod in held), cluster_of(turn.spec, stage.name).workers
    what = f"{gpus} of {len(stage.workers) * total.accelerators_per_worker} accelerators" if gpus else "pods"
    minutes = int((turn.now - (parse_time(since) or turn.now)).total_seconds()) // 60
    return f"; {what} held idle {minutes} min = ${format_usd(money)}"


def _goes_on(stage: StageStatus, cause: Cause) -> bool:
    """Whether it still waits for what tries before this were given back for."""
    if stage.state is StageState.RUNNING:
        return cause.reason not in (STARTING, NO_PROGRESS)
    return cause.reason == GIVEN_BACK


def _earlier_words(stage: StageStatus, cause: Cause) -> str:
    """ "; 2 tries before stood idle for $9.60"."""
    if not stage.idle_micro_usd or not _goes_on(stage, cause):
        return ""
    count = stage.idle_tries or stage.grow_tries
    return f"; {count} {'try' if count == 1 else 'tries'} before stood idle for ${format_usd(stage.idle_micro_usd)}"
