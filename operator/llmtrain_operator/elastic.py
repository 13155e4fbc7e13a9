"""Elastic workers: how many slots the running training has, and when placed pods that can do nothing are given back.

A pod that no node takes costs nothing and may wait. One that is placed is paid for: if it cannot train, because it does
not start or because too few others are there for a whole replica, it is given back after `startDeadlineSeconds`, and
asked for again later, by the pauses of idle_release.py. No pod of the head's or of the workers that train is touched by that.
"""

from datetime import datetime, timedelta

from llmtrain.api.elastic import sizes_of
from llmtrain.api.status import StageStatus, WorkerState
from llmtrain.cost.money import format_usd
from llmtrain_operator.attribution import hand_over, so_far
from llmtrain_operator.billing import format_time, parse_time
from llmtrain_operator.blueprints import is_elastic, least_workers, worker_count
from llmtrain_operator.bounds import make_room
from llmtrain_operator.budget import cluster_prices
from llmtrain_operator.idle_release import GIVEN_BACK, lot_of, pause
from llmtrain_operator.placement import held_micro_usd, placed_at
from llmtrain_operator.podstate import PodState
from llmtrain_operator.reservation import reserve_more
from llmtrain_operator.supersede import unmakeable
from llmtrain_operator.turn import Turn


def resize(turn: Turn, stage: StageStatus) -> None:
    """Fit the slots of a running elastic stage to what is wanted and to what can be had."""
    if not is_elastic(turn.spec, stage.name):
        return
    _let_go(turn, stage)
    _give_back(turn, stage)
    _ask_again(turn, stage)


def started_workers(turn: Turn, stage: StageStatus) -> list[PodState]:
    """Worker pods that run, by index; one that is asked to go does not count."""
    current = {(slot.index, slot.incarnation) for slot in stage.workers}
    there = [pod for pod in turn.crew_of(stage) if (pod.index, pod.incarnation) in current and not pod.is_head]
    return sorted((p for p in there if p.started and not p.over and not p.deleted), key=lambda pod: pod.index)


def is_enough(turn: Turn, stage: StageStatus) -> bool:
    """An elastic stage with a head and workers for a group runs, whoever else is waited for."""
    head = turn.head_of(stage)
    if head is None or not head.started or not is_elastic(turn.spec, stage.name):
        return False
    return len(started_workers(turn, stage)) >= least_workers(turn.spec, stage.name)


def due_successor(turn: Turn, stage: StageStatus) -> bool:
    """A worker of an elastic stage has just ended, or its successor is yet to be made; a refused one is not on its way."""
    if turn.seen.refusal or not is_elastic(turn.spec, stage.name):
        return False
    there = {
        (pod.index, pod.incarnation) for pod in turn.crew_of(stage) if not (pod.is_head or pod.over or pod.deleted)
    }
    return any((slot.index, slot.incarnation) not in there for slot in stage.workers)


def idle_workers(turn: Turn, stage: StageStatus) -> list[PodState]:
    """Placed workers that cannot train: they have not started, or there are too few for a larger group."""
    started = started_workers(turn, stage)
    group = {pod.uid for pod in started[: sizes_of(turn.spec).fitting(len(started))]}
    placed = [pod for pod in turn.crew_of(stage) if pod.node and not pod.is_head and not pod.over and not pod.deleted]
    return [pod for pod in placed if pod.uid not in group]


def _let_go(turn: Turn, stage: StageStatus) -> None:
    """Slots beyond what is wanted, the highest first; their pods save before they go."""
    wanted = worker_count(turn.spec, stage.name)
    surplus = [slot for slot in stage.workers if slot.index >= wanted]
    if surplus:
        turn.tell("WorkersRemoved", f"{len(surplus)} workers go, {wanted} are wanted")
        park(turn, stage, surplus)


def _give_back(turn: Turn, stage: StageStatus) -> None:
    """Placed pods that have been idle for too long, and those that are still waited for: they would be idle as well."""
    idle = idle_workers(turn, stage)
    if not idle:
        stage.idle_since = None
        if len(started_workers(turn, stage)) == worker_count(turn.spec, stage.name):
            stage.grow_tries = stage.idle_micro_usd = 0
        return
    stage.idle_since = stage.idle_since or turn.stamp
    since = turn.now - (parse_time(stage.idle_since) or turn.now)
    waited = min([since, *(turn.now - placed for placed in _placed(idle))])
    if waited.total_seconds() <= turn.spec.start_deadline_seconds or not is_enough(turn, stage):
        return
    group = {pod.index for pod in started_workers(turn, stage)} - {pod.index for pod in idle}
    rest = [slot for slot in stage.workers if slot.index not in group]
    money = held_micro_usd(turn, idle, stage.idle_since)
    stage.grow_tries, stage.idle_since, stage.idle_micro_usd = stage.grow_tries + 1, None, stage.idle_micro_usd + money
    lot = lot_of(turn.seen.job.uid, stage.name.value, stage.attempt, stage.grow_tries)
    deadline = timedelta(seconds=turn.spec.start_deadline_seconds)
    stage.grow_after = format_time(turn.now + pause(since, deadline, stage.grow_tries, lot))
    what = f"{len(idle)} workers stood idle for {int(since.total_seconds())} s = ${format_usd(money)}"
    turn.tell("WorkersReleased", f"{what}; {len(rest)} are given back and asked for again at {stage.grow_after}", True)
    park(turn, stage, rest)


def _placed(pods: list[PodState]) -> list[datetime]:
    """When nodes took them. The last of them may be whom the others need, and has its whole start deadline."""
    return [time for time in map(placed_at, pods) if time is not None]


def park(turn: Turn, stage: StageStatus, slots: list[WorkerState]) -> None:
    """Take slots and their pods away; the slots are remembered, for no name of a pod is used twice."""
    gone = {slot.index for slot in slots}
    stage.workers = [slot for slot in stage.workers if slot.index not in gone]
    stage.parked = sorted([*stage.parked, *slots], key=lambda slot: slot.index)
    for pod in turn.crew_of(stage):
        if not pod.is_head and pod.index in gone:
            turn.delete(pod)


def _ask_again(turn: Turn, stage: StageStatus) -> None:
    """Slots that are wanted and not there: more than before, or given back a while ago. Never beyond a limit."""
    there = {slot.index for slot in stage.workers}
    missing = [index for index in range(worker_count(turn.spec, stage.name)) if index not in there]
    after = parse_time(stage.grow_after)
    if not missing or (after is not None and turn.now < after) or turn.spec.suspend:
        return
    if unmakeable(turn, stage, lacks=True):
        return
    prices = cluster_prices(turn, stage)[-1:] * len(missing)
    if not prices or not reserve_more(turn, stage, prices) or not make_room(turn, stage, prices):
        return
    parked = {slot.index: slot for slot in stage.parked}
    stage.workers += [_slot(parked.get(index), index, stage) for index in missing]
    stage.workers.sort(key=lambda slot: slot.index)
    stage.parked = [slot for slot in stage.parked if slot.index not in missing]
    stage.grow_after = None
    turn.tell("WorkersAdded", f"{len(missing)} workers are asked for, {len(stage.workers)} in all")


def _slot(before: WorkerState | None, index: int, stage: StageStatus) -> WorkerState:
    """A slot that comes, or comes back under its next incarnation."""
    if before is None:
        return WorkerState(index=index, elsewhere=so_far(stage.phases))
    hand_over(before, stage.phases, GIVEN_BACK)
    before.released += 1
    return before
