"""Which pods of an attempt nodes have taken, since when, and since when these wait for the others in vain.

What is paid for begins with the first placed pod: an attempt of which nothing is placed holds no cluster, however long
it waits, and no deadline counts. The times are kept in the stage's phases.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from llmtrain.api.status import StageState, StageStatus
from llmtrain.cost.money import amount_micro_usd
from llmtrain_operator.billing import condition_time, format_time, parse_time
from llmtrain_operator.blueprints import is_elastic, least_workers
from llmtrain_operator.history import held_seconds
from llmtrain_operator.podstate import PodState
from llmtrain_operator.turn import Turn


def observe_placement(turn: Turn) -> None:
    """Note in the current stage's phases since when pods are held, and since when in vain."""
    stage = turn.stage
    if stage is None or not stage.attempt_time or stage.state not in (StageState.RUNNING, StageState.STOPPING):
        return
    if stage.phases.placed_time is None:
        begun = first_placement(turn.pods_of(stage))
        _note(stage, placed_time=format_time(begun) if begun else None)
    elif stage.state is StageState.RUNNING and not any(pod.node for pod in turn.pods_of(stage)):
        # All that was placed is gone, and what follows waits for nodes: from here on nothing is held.
        stage.run_seconds = held_seconds(stage, turn.now)
        _note(stage, placed_time=None)
    if stage.state is StageState.RUNNING:
        _observe_hold(turn, stage)


def _observe_hold(turn: Turn, stage: StageStatus) -> None:
    since = stage.phases.held_since
    if not lacks_place(turn, stage) or not held_pods(turn, stage):
        if since and stage.progress_time:
            # Nobody could work meanwhile: what the head has to report is due from now on.
            stage.progress_time = turn.stamp
        _note(stage, held_since=None)
    elif since is None:
        _note(stage, held_since=format_time(_hold_begin(turn, stage)))


def lacks_place(turn: Turn, stage: StageStatus) -> bool:
    """Whether head or workers without which the stage does not work are without a node, made or yet to be made."""
    crew = turn.crew_of(stage)
    workers = {(pod.index, pod.incarnation) for pod in crew if pod.node and not (pod.is_head or pod.over)}
    there = sum((slot.index, slot.incarnation) in workers for slot in stage.workers)
    needed = least_workers(turn.spec, stage.name) if is_elastic(turn.spec, stage.name) else len(stage.workers)
    # A head that has ended had a place; what follows is another attempt.
    return there < needed or not any(pod.is_head and pod.node for pod in crew)


def held_pods(turn: Turn, stage: StageStatus) -> list[PodState]:
    """Pods of the attempt that hold their nodes, evaluators too: these are paid for."""
    return [pod for pod in turn.pods_of(stage) if pod.node and not pod.finished and not turn.ended(pod)]


def unplaced_pods(turn: Turn, stage: StageStatus) -> list[PodState]:
    """Pods of head and workers that no node has taken yet."""
    return [pod for pod in turn.crew_of(stage) if not (pod.node or pod.finished or pod.deleted)]


def _hold_begin(turn: Turn, stage: StageStatus) -> datetime:
    """When the hold began: with the first placement, or when the pod was asked for that takes a lost one's place.

    Of an elastic stage the newest pod that waits counts: until it was asked for there were enough.
    """
    alive = {(pod.index, pod.incarnation) for pod in turn.crew_of(stage) if not (pod.is_head or pod.over)}
    had = {pod.index for pod in turn.crew_of(stage) if not pod.is_head}
    lost = [slot for slot in stage.workers if (slot.index, slot.incarnation) not in alive]
    asked = [pod.created for pod in unplaced_pods(turn, stage) if pod.created]
    asked += [turn.now for slot in lost if slot.incarnation > 1 or slot.index in had]
    begun = first_placement(turn.pods_of(stage)) or turn.now
    last = max if is_elastic(turn.spec, stage.name) else min
    return max(begun, last(asked, default=begun))


def placed_at(pod: PodState) -> datetime | None:
    """When a node took the pod."""
    return condition_time(pod.raw, "PodScheduled", status="True")


def first_placement(pods: Iterable[PodState]) -> datetime | None:
    """When the first of the pods was taken by a node; None where none was."""
    return min((time for time in map(placed_at, pods) if time is not None), default=None)


def held_micro_usd(turn: Turn, held: Sequence[PodState], since: str) -> int:
    """What placed pods cost while they wait for the others: seconds since both were so, at their frozen price."""
    begin = parse_time(since) or turn.now
    amounts = []
    for pod in held:
        start = pod.span(turn.seen.nodes, turn.now).start or turn.now
        seconds = max(0, int((turn.now - max(start, begin)).total_seconds()))
        amounts.append(amount_micro_usd(seconds, pod.price.microUsdPerHour))
    return sum(amounts)


def _note(stage: StageStatus, **times: str | None) -> None:
    if any(getattr(stage.phases, name) != time for name, time in times.items()):
        stage.phases = stage.phases.model_copy(update=times)
