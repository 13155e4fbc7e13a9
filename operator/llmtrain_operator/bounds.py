"""Pods' deadlines by the budget: what pods get when they are created, and what follows once one is reached.

Every pod's longest possible bill, added up, stays within what the job may spend: its own limit, and what it has
reserved of the namespace's budgets. A deadline can be lowered but never raised. So a limit that was lowered shortens
the pods that live, and one that was raised is followed by a rotation, before the old deadline, onto new pods.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from llmtrain.api.status import Outcome, StageState, StageStatus
from llmtrain_operator.billing import NODE_LOST_AFTER, bill, deletion_time
from llmtrain_operator.budget import (
    SHORTEST_RUN_SECONDS,
    Limit,
    budget_outcome,
    cluster_prices,
    committed,
    evaluator_prices,
    lacking_evaluators,
    limits,
    missing_pods,
    next_cluster_prices,
)
from llmtrain_operator.exposure import price_for, settled_micro_usd
from llmtrain_operator.lifetime import (
    ACCEPT_SECONDS,
    HEAD_FIRST_SECONDS,
    TAIL_SECONDS,
    Share,
    affordable_seconds,
    cluster_shares,
)
from llmtrain_operator.manifests import GRACE_SECONDS
from llmtrain_operator.observation import ShortenPod
from llmtrain_operator.podstate import PodState
from llmtrain_operator.podtemplate import Lifetimes
from llmtrain_operator.pricing import Price
from llmtrain_operator.turn import Turn

EXTENDED = "BudgetExtended"
EXTENSION_SECONDS = 600
"""A new cluster takes minutes to start; for less than this beyond the old deadline it is not worth it."""
LOST_SECONDS = int(NODE_LOST_AFTER.total_seconds()) + GRACE_SECONDS
"""A deleted pod's bill ends so long after the deletion at the latest, also where its node does not answer."""


def binding(turn: Turn) -> list[Limit]:
    """Limits that stop the job."""
    return [limit for limit in limits(turn) if limit.binding]


def lifetimes(turn: Turn, stage: StageStatus) -> Lifetimes | None:
    """Deadlines of the pods that the stage's cluster lacks; None where no budget bounds them."""
    room = _room(turn)
    if room is None:
        return None
    longest, shares, apart = turn.spec.max_pod_lifetime_seconds, _missing_shares(turn, stage), _apart(turn, stage)
    seconds = affordable_seconds(room, shares, longest)
    return Lifetimes(head=max(1, seconds), worker=max(1, min(longest, seconds + apart)))


def _missing_shares(turn: Turn, stage: StageStatus) -> list[Share]:
    heads, workers = missing_pods(turn, stage)
    prices = cluster_prices(turn, stage)
    if not prices:
        return []
    beyond = ACCEPT_SECONDS + TAIL_SECONDS
    shares = cluster_shares(prices[0], prices[-1], workers) if heads else [Share(prices[-1], beyond, workers)]
    return [*shares, *_evaluator_shares(turn, stage, lacking_evaluators(turn, stage), bool(heads))]


def _evaluator_shares(turn: Turn, stage: StageStatus, count: int, with_head: bool) -> list[Share]:
    """Evaluators live as long as workers; the seconds that are looked for are the head's where it is missing too."""
    beyond = ACCEPT_SECONDS + TAIL_SECONDS + (HEAD_FIRST_SECONDS if with_head else 0)
    return [Share(price, beyond) for price in evaluator_prices(turn, stage, count)]


def _apart(turn: Turn, stage: StageStatus) -> int:
    """Seconds from the head's deadline to its workers'; a successor's is looked for by itself."""
    return HEAD_FIRST_SECONDS if missing_pods(turn, stage)[0] else 0


def _room(turn: Turn) -> int | None:
    """Microdollars for further pods: what may be spent less what is settled and what pods alive may still come to."""
    granted = [limit.granted for limit in binding(turn)]
    return min(granted) - longest_bills(turn) if granted else None


def longest_bills(turn: Turn) -> int:
    """What the job's whole bill comes to at the most, microdollars, if nobody but their kubelets ends its pods, and none is added."""
    settled = set(turn.status.ledger.settled)
    alive = sum(longest_bill(turn, pod) for pod in turn.seen.pods if pod.uid not in settled)
    return settled_micro_usd(turn.status.ledger) + alive


def longest_bill(turn: Turn, pod: PodState) -> int:
    """What the pod owes at the most, microdollars, if nobody but its kubelet ever ends it."""
    span = pod.span(turn.seen.nodes, turn.now)
    if span.final:
        return bill(pod.raw, pod.price, pod.accelerators, turn.seen.nodes, turn.now).micro_usd
    lifetime = pod.lifetime or turn.spec.max_pod_lifetime_seconds
    seconds = max(span.seconds, _before_deadline(pod, span.start) + lifetime + TAIL_SECONDS)
    deleted = deletion_time(pod.raw)
    if deleted and span.start:
        seconds = min(seconds, max(span.seconds, int((deleted - span.start).total_seconds()) + LOST_SECONDS))
    return price_for(pod.price, seconds)


def _before_deadline(pod: PodState, start: datetime | None) -> int:
    """Billed seconds that its deadline does not count."""
    if pod.accepted is None or start is None:
        return ACCEPT_SECONDS
    return max(0, int((pod.accepted - start).total_seconds()))


def outpriced(turn: Turn, stage: StageStatus) -> Outcome | None:
    """The stage stops where the limit does not pay for the pods that it lacks, not even for a short while."""
    if not any(missing_pods(turn, stage)):
        return None
    found = lifetimes(turn, stage)
    if found is None or min(found.head, found.worker) >= min(SHORTEST_RUN_SECONDS, turn.spec.max_pod_lifetime_seconds):
        return None
    return budget_outcome(turn, stage, [_tightest(turn)])


def outlived(turn: Turn, stage: StageStatus) -> Outcome | None:
    """Pods that their deadline ended: a budget stop, unless there is more to be had by now; never a failure."""
    ended = [pod for pod in turn.crew_of(stage) if pod.outlived]
    head = turn.head_of(stage)
    if not ended or (head is not None and head.succeeded):
        return None
    if any(pod.lifetime < turn.spec.max_pod_lifetime_seconds for pod in ended):
        # Without a limit that is known the next attempt waits until there is one: that is no failure.
        worth = not binding(turn) or turn.seen.unread or more_seconds(turn, stage) >= EXTENSION_SECONDS
        return extension() if worth else budget_outcome(turn, stage, [_tightest(turn)])
    return None


def extension() -> Outcome:
    """Go on with new pods, whose deadline is a later one."""
    message = "its pods neared the end of what was paid for when they were created, and the budget has more by now"
    return Outcome(state=StageState.PENDING, reason=EXTENDED, message=message, retry=True)


def more_seconds(turn: Turn, stage: StageStatus) -> int:
    """Seconds that a new cluster might live if this one stopped now; none where it cannot start, budgets being unread."""
    if turn.seen.unread:
        return 0
    prices, longest = next_cluster_prices(turn, stage), turn.spec.max_pod_lifetime_seconds
    if not prices or not binding(turn):
        return longest
    room = _tightest(turn).attainable - committed(turn, stage, 0)
    beside = _evaluator_shares(turn, stage, len(stage.evaluators), with_head=True)
    return affordable_seconds(room, [*cluster_shares(prices[0], prices[-1], len(prices) - 1), *beside], longest)


def _tightest(turn: Turn) -> Limit:
    return min(binding(turn), key=lambda limit: limit.attainable)


def shorten(turn: Turn, stage: StageStatus) -> bool:
    """Lower the deadlines of pods alive that could spend more than is granted; whether there were any.

    So it is after a limit was lowered, or where a budget came to a job that ran.
    """
    room = _room(turn)
    if room is None or room >= 0:
        return False
    alive = [pod for pod in turn.pods_of(stage) if pod.uid not in turn.status.ledger.settled and not pod.deleted]
    shares = [Share(pod.price, _billed(turn, pod) + _apart_of(pod) + TAIL_SECONDS) for pod in alive]
    free = room + sum(longest_bill(turn, pod) for pod in alive)
    seconds = affordable_seconds(free, shares, turn.spec.max_pod_lifetime_seconds)
    shortened = [(pod, max(1, _counted(turn, pod) + seconds + _apart_of(pod))) for pod in alive]
    actions = [ShortenPod(pod, new) for pod, new in shortened if not pod.lifetime or new < pod.lifetime]
    if actions:
        turn.actions += actions
        turn.tell("LifetimeShortened", f"{stage.name.value}: its pods end in {seconds} s, by {_tightest(turn).name}")
    return bool(actions)


def make_room(turn: Turn, stage: StageStatus, more: Sequence[Price]) -> bool:
    """Whether pods of these prices may be created beside those that live: all of them end within the limits.

    Those that live hold what is granted by their deadlines. Where it pays for all together for a while, the deadlines
    are lowered to that, and there is room at the next look.
    """
    room = _room(turn)
    if room is None:
        return True
    longest, beyond = turn.spec.max_pod_lifetime_seconds, ACCEPT_SECONDS + TAIL_SECONDS
    new = [Share(price, beyond) for price in more]
    alive = [pod for pod in turn.pods_of(stage) if pod.uid not in turn.status.ledger.settled and not pod.deleted]
    old = [Share(pod.price, _billed(turn, pod) + _apart_of(pod) + TAIL_SECONDS) for pod in alive]
    together = affordable_seconds(room + sum(longest_bill(turn, pod) for pod in alive), [*old, *new], longest)
    if together < min(EXTENSION_SECONDS, longest):
        return False
    if affordable_seconds(room, new, longest) >= together // 2:
        return True
    ends = [(pod, max(1, _counted(turn, pod) + together + _apart_of(pod))) for pod in alive]
    turn.actions += [ShortenPod(pod, end) for pod, end in ends if not pod.lifetime or end < pod.lifetime]
    return False


def _apart_of(pod: PodState) -> int:
    return 0 if pod.is_head else HEAD_FIRST_SECONDS


def _billed(turn: Turn, pod: PodState) -> int:
    """Seconds billed so far; of a pod that waits for a node, those that its deadline will not count."""
    span = pod.span(turn.seen.nodes, turn.now)
    return span.seconds if pod.accepted else max(span.seconds, ACCEPT_SECONDS)


def _counted(turn: Turn, pod: PodState) -> int:
    """Seconds of its deadline that have passed."""
    return max(0, int((turn.now - pod.accepted).total_seconds())) if pod.accepted else 0


def next_deadline(turn: Turn, stage: StageStatus) -> tuple[timedelta, PodState] | None:
    """The pod that its kubelet ends first, and in what time."""
    ends = [
        (pod.accepted + timedelta(seconds=pod.lifetime) - turn.now, pod)
        for pod in turn.crew_of(stage)
        if pod.accepted and pod.lifetime and not pod.over
    ]
    return min(ends, key=lambda end: end[0], default=None)
