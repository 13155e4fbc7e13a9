"""Limits of a job's bill: its own budget, and what it holds of the namespace's TrainingBudgets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from llmtrain.api.job import OnBreach
from llmtrain.api.status import Outcome, RolePrice, StageState, StageStatus
from llmtrain.cost.money import format_usd, micro_usd
from llmtrain_operator.blueprints import evaluator_count, role_prices, worker_count
from llmtrain_operator.budget_state import BudgetState
from llmtrain_operator.estimates import remaining_upper_micro_usd
from llmtrain_operator.exposure import LOOK_SECONDS, exposure, price_for, save_seconds, settled_micro_usd, stop_seconds
from llmtrain_operator.names import EVALUATOR, HEAD, WORKER
from llmtrain_operator.pricing import Price
from llmtrain_operator.roleprices import price_of
from llmtrain_operator.spentbefore import all_dated, before, spent_before, spent_by_month
from llmtrain_operator.turn import Turn

SHORTEST_RUN_SECONDS = 60
"""A cluster that could not even run for so long is not started."""
UNKNOWN_STAGE_SECONDS = 600
"""What is reserved for a stage without an estimate beyond its start and stop; it is extended while the stage runs."""


@dataclass(frozen=True)
class Limit:
    """What the job's whole bill may reach, microdollars, who says so, and what could be had by asking for more."""

    name: str
    granted: int
    attainable: int
    on_breach: OnBreach

    @property
    def binding(self) -> bool:
        """Whether reaching it stops the job."""
        return self.on_breach is not OnBreach.WARN


def limits(turn: Turn) -> list[Limit]:
    """All limits of the job."""
    own = turn.spec.budget
    limit = micro_usd(own.limit_usd) if own else 0
    mine = [Limit("`spec.budget.limitUsd`", limit, limit, own.on_breach)] if own else []
    return mine + [_shared(turn, budget) for budget in turn.seen.budgets]


def _shared(turn: Turn, budget: BudgetState) -> Limit:
    entry = budget.entry(turn.seen.job.uid)
    most = attainable(turn, budget)
    granted = budget.granted(entry) if entry else most
    return Limit(
        f"`spec.limitUsd` of TrainingBudget `{budget.name}`", granted, max(granted, most), budget.spec.on_breach
    )


def uncounted(turn: Turn, budget: BudgetState) -> int:
    """What of the job's bill the budget does not count, microdollars: what was spent before its month, which it has noted, or, where
    the job has not reserved yet, before its period. What was spent in that counts, also before the budget was there.
    """
    entry = budget.entry(turn.seen.job.uid)
    return spent_before(turn, budget.status.period_start) if entry is None else baseline(turn, budget)


def attainable(turn: Turn, budget: BudgetState) -> int:
    """What the job's whole bill may reach at most, microdollars."""
    return uncounted(turn, budget) + max(0, budget.headroom(turn.seen.job.uid))


def baseline(turn: Turn, budget: BudgetState) -> int:
    """What the job had spent before the month, as its entry has it, which the first turn of a month writes."""
    entry = budget.entry(turn.seen.job.uid)
    if entry is None or budget.is_of_earlier_month(entry):
        return baseline_now(turn, budget, spent_by_month(turn))
    return entry.baseline_micro_usd


def baseline_now(turn: Turn, budget: BudgetState, months: Mapping[str, int]) -> int:
    """The same as it is known by now: when a pod ended is told later. `months`: what the job spent by month.

    Where an earlier version settled bills without their months, what was noted stands.
    """
    entry, known = budget.entry(turn.seen.job.uid), before(months, budget.status.month_start)
    if entry is None or all_dated(turn.status):
        return known
    noted = entry.baseline_micro_usd
    return max(noted, known) if budget.is_of_earlier_month(entry) else noted


def cluster_prices(turn: Turn, stage: StageStatus) -> list[Price]:
    """Prices of all pods of the stage's cluster, the head's first: the attempt's own, or, where none is under way, the next one's."""
    return _cluster(turn, stage, stage.prices) or next_cluster_prices(turn, stage)


def next_cluster_prices(turn: Turn, stage: StageStatus) -> list[Price]:
    """The same of an attempt that would begin now; empty where its plan does not exist."""
    return _cluster(turn, stage, role_prices(turn.seen.plans, turn.spec, stage))


def _cluster(turn: Turn, stage: StageStatus, roles: Sequence[RolePrice]) -> list[Price]:
    found = {one.role: price_of(one) for one in roles}
    if HEAD not in found:
        return []
    return [found[HEAD]] + ([found[WORKER]] * worker_count(turn.spec, stage.name) if WORKER in found else [])


def missing_pods(turn: Turn, stage: StageStatus) -> tuple[int, int]:
    """Heads and workers that the running stage's cluster lacks and is about to get."""
    pods = turn.crew_of(stage)
    there = {(pod.index, pod.incarnation) for pod in pods if not pod.is_head}
    absent = [w for w in stage.workers if (w.index, w.incarnation) not in there]
    return 0 if any(pod.is_head for pod in pods) else 1, len(absent)


def evaluator_prices(turn: Turn, stage: StageStatus, count: int) -> list[Price]:
    """Prices of so many evaluators beside the stage."""
    roles = stage.prices or role_prices(turn.seen.plans, turn.spec, stage)
    return [price_of(one) for one in roles if one.role == EVALUATOR] * count


def lacking_evaluators(turn: Turn, stage: StageStatus) -> int:
    """Evaluators that the running stage lacks and is about to get."""
    there = {(pod.index, pod.incarnation) for pod in turn.evaluators_of(stage)}
    return sum((e.index, e.incarnation) not in there for e in stage.evaluators)


def missing_prices(turn: Turn, stage: StageStatus) -> list[Price]:
    """Prices of all pods that it is about to get."""
    prices, (heads, workers) = cluster_prices(turn, stage), missing_pods(turn, stage)
    beside = evaluator_prices(turn, stage, lacking_evaluators(turn, stage))
    return prices[:1] * heads + prices[-1:] * workers + beside


def committed(turn: Turn, stage: StageStatus, seconds: int) -> int:
    """The whole bill if the stop begins `seconds` after the next look, microdollars."""
    span = seconds + LOOK_SECONDS + stop_seconds(stage.progress)
    return exposure(turn.status.ledger, turn.seen.pods, turn.seen.nodes, turn.now, span, missing_prices(turn, stage))


def breach(turn: Turn, stage: StageStatus) -> Outcome | None:
    """A running stage stops while what is left still pays for the save and the tear-down."""
    binding = [limit for limit in limits(turn) if limit.binding]
    bill = committed(turn, stage, 0) if binding else 0
    broken = [limit for limit in binding if bill > limit.granted]
    return budget_outcome(turn, stage, broken) if broken else None


def budget_outcome(turn: Turn, stage: StageStatus, broken: Sequence[Limit]) -> Outcome:
    """The stop that limits demand; the stage goes on once there is more to be had than now."""
    fails = any(limit.on_breach is OnBreach.FAIL for limit in broken)
    stage.budget_stop_micro_usd = min(limit.attainable for limit in broken)
    return Outcome(
        state=StageState.FAILED if fails else StageState.SUSPENDED,
        reason="BudgetExceeded",
        message="; ".join(_spent(turn, limit) for limit in broken),
        grace_seconds=save_seconds(stage.progress),
    )


def _spent(turn: Turn, limit: Limit) -> str:
    spent, whole = format_usd(turn.status.ledger.total_micro_usd), format_usd(limit.attainable)
    return f"{spent} of {whole} USD spent, the rest pays for the stop; raise {limit.name} to go on"


def stage_need(turn: Turn, stage: StageStatus) -> int:
    """What is reserved before the stage starts, microdollars: the upper estimate, at least a start and a stop."""
    prices = cluster_prices(turn, stage) + evaluator_prices(turn, stage, evaluator_count(turn.spec, stage.name))
    upper = remaining_upper_micro_usd(turn, stage)
    run = SHORTEST_RUN_SECONDS if upper is not None else UNKNOWN_STAGE_SECONDS
    least = run + LOOK_SECONDS + stop_seconds(None)
    return max(upper or 0, sum(price_for(price, least) for price in prices))


def shortfall(turn: Turn, stage: StageStatus) -> str:
    """Why the stage may not start, and by how much it does not fit; empty where it does."""
    need, spent = stage_need(turn, stage), settled_micro_usd(turn.status.ledger)
    short = [limit for limit in limits(turn) if limit.binding and spent + need > limit.attainable]
    if short:
        return "; ".join(_short(limit, stage, need, spent) for limit in short)
    binding = [limit.attainable for limit in limits(turn) if limit.binding]
    if stage.budget_stop_micro_usd and binding and min(binding) <= stage.budget_stop_micro_usd:
        return f"stopped by the budget at {format_usd(spent)} USD; raise {_tightest(turn).name} to go on"
    return ""


def _tightest(turn: Turn) -> Limit:
    return min((limit for limit in limits(turn) if limit.binding), key=lambda limit: limit.attainable)


def _short(limit: Limit, stage: StageStatus, need: int, spent: int) -> str:
    left, over = max(0, limit.attainable - spent), need + spent - limit.attainable
    what = f"{stage.name.value} may cost {format_usd(need)} USD, {format_usd(left)} USD are left"
    return f"{what}: raise {limit.name} by {format_usd(over)} USD"


def warn(turn: Turn) -> None:
    """Tell once when the bill reaches a share that the job's budget warns at."""
    own = turn.spec.budget
    if own is None:
        turn.status.budget_warned = ""
        return
    limit, spent = micro_usd(own.limit_usd), turn.status.ledger.total_micro_usd
    passed = max((share for share in map(Decimal, own.warn_at_share) if spent >= share * limit), default=Decimal(0))
    if passed > Decimal(turn.status.budget_warned or 0):
        what = f"{format_usd(spent)} of {own.limit_usd} USD spent, {passed:.0%} of `spec.budget.limitUsd` or more"
        turn.tell("BudgetWarning", what, warning=True)
    turn.status.budget_warned = str(passed) if passed else ""


def standing(turn: Turn, stage: StageStatus | None) -> tuple[bool, str]:
    """Whether there is budget for what comes next, and how it stands, for people."""
    found = limits(turn)
    if not found:
        return True, "no budget is set"
    told = "; ".join(
        f"{format_usd(turn.status.ledger.total_micro_usd)} of {format_usd(limit.attainable)} USD spent ({limit.name})"
        for limit in found
    )
    if stage is not None and stage.outcome is not None and stage.outcome.reason == "BudgetExceeded":
        return False, stage.outcome.message
    if turn.blocked is not None and turn.blocked[0] == "BudgetExceeded":
        return False, turn.blocked[1]
    return all(turn.status.ledger.total_micro_usd <= limit.attainable for limit in found), told
