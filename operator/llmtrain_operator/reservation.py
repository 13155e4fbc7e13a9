"""Reservations in the namespace's TrainingBudgets: before a stage starts, while it runs, after it.

Each is one write that the apiserver refuses where somebody else was faster; then everything is read and decided anew.
A stage starts one turn after its reservation was seen in the budget, so no crash can lose the order of the two.
"""

from collections.abc import Sequence
from datetime import timedelta

from llmtrain.api.status import StageState, StageStatus
from llmtrain.api.trainingbudget import Reservation
from llmtrain_operator.billing import parse_time
from llmtrain_operator.bounds import longest_bills
from llmtrain_operator.budget import (
    attainable,
    baseline_now,
    cluster_prices,
    committed,
    limits,
    shortfall,
    stage_need,
    uncounted,
)
from llmtrain_operator.budget_state import BudgetState, body_of, with_entry
from llmtrain_operator.exposure import price_for, settled_micro_usd
from llmtrain_operator.lifetime import cluster_shares
from llmtrain_operator.observation import Reserve
from llmtrain_operator.pricing import Price
from llmtrain_operator.spentbefore import spent_by_month
from llmtrain_operator.turn import Turn

AHEAD_SECONDS = 120
"""A reservation is extended so long before it is used up."""
CHUNK_SECONDS = 600
"""What an extension pays for."""
FIRST_SHARE, AGAIN_SHARE = 10, 2
"""A stage takes a tenth of what a budget has left, where it needs less; its later attempts take half."""
REFRESH = timedelta(seconds=60)
"""Age at which the share that is spent is written anew."""


def reserve_for_start(turn: Turn, stage: StageStatus) -> tuple[str, str] | None:
    """Why the stage may not start yet: it does not fit, or its reservation is only now being asked for."""
    short = shortfall(turn, stage)
    if short:
        return "BudgetExceeded", short
    asked = [budget for budget in turn.seen.budgets if _lacks(turn, budget, _least(turn, stage, budget))]
    for budget in asked:
        _hold(turn, budget, _wanted(turn, stage, budget))
    return ("Reserving", f"reserving in TrainingBudget `{asked[0].name}`") if asked else None


def _wanted(turn: Turn, stage: StageStatus, budget: BudgetState) -> int:
    """The bill to ask for: the stage's need; more where there is plenty, for pods cannot outlive what was reserved.

    A tenth of what is left keeps nine parts for others; an attempt that follows another takes half, so that a run
    which turns out longer than was expected is not cut into ever shorter pieces.
    """
    settled, need = settled_micro_usd(turn.status.ledger), stage_need(turn, stage)
    if not _binding(budget):
        return settled + need
    # An attempt under way is one that was begun before this, one that waits to start is not counted yet.
    again = stage.attempt > (1 if stage.state is StageState.RUNNING else 0)
    share = AGAIN_SHARE if again else FIRST_SHARE
    left = attainable(turn, budget) - settled
    return settled + max(need, min(left // share, _whole_life(turn, stage)))


def _least(turn: Turn, stage: StageStatus, budget: BudgetState) -> int:
    """A reservation of less is asked for anew. Half of what is wanted: others come and go meanwhile."""
    settled = settled_micro_usd(turn.status.ledger)
    return max(settled + stage_need(turn, stage), settled + (_wanted(turn, stage, budget) - settled) // 2)


def _whole_life(turn: Turn, stage: StageStatus) -> int:
    """What the cluster can spend before its pods end in any case, microdollars."""
    prices = cluster_prices(turn, stage)
    shares = cluster_shares(prices[0], prices[-1], len(prices) - 1) if prices else []
    return sum(share.micro_usd(turn.spec.max_pod_lifetime_seconds) for share in shares)


def keep_reserved(turn: Turn, stage: StageStatus) -> None:
    """Extend what a running stage has reserved before it is used up, as far as there is room; tell what is spent."""
    if not turn.seen.budgets:
        return
    soon, later = committed(turn, stage, AHEAD_SECONDS), committed(turn, stage, CHUNK_SECONDS)
    for budget in turn.seen.budgets:
        if _lacks(turn, budget, soon):
            most = attainable(turn, budget)
            first = budget.entry(turn.seen.job.uid) is None
            asked = max(later, _first(turn, stage, budget)) if first else later
            _extend(turn, budget, asked if asked <= most or not _binding(budget) else most)
        else:
            _refresh(turn, budget)


def _first(turn: Turn, stage: StageStatus, budget: BudgetState) -> int:
    """The bill to ask for where a budget came to a job that runs: as if it started now, but no more than its pods may come to.

    Their deadlines hold what an earlier budget had granted; one that was deleted and made again grants no more.
    """
    return min(_wanted(turn, stage, budget), longest_bills(turn))


def reserve_more(turn: Turn, stage: StageStatus, more: Sequence[Price]) -> bool:
    """Whether further pods of these prices are within every limit that stops the job; asks for more where it may be had."""
    if turn.seen.unread:
        return False
    extra = sum(price_for(price, CHUNK_SECONDS) for price in more)
    need = committed(turn, stage, CHUNK_SECONDS) + extra
    found = [limit for limit in limits(turn) if limit.binding]
    if any(need > limit.attainable for limit in found):
        return False
    asked = [budget for budget in turn.seen.budgets if _lacks(turn, budget, need)]
    for budget in asked:
        _hold(turn, budget, need)
    return not asked


def free_unused(turn: Turn) -> None:
    """What no pod will spend is given back; what was spent stays."""
    stage = turn.stage
    busy = stage is not None and stage.state in (StageState.RUNNING, StageState.STOPPING)
    asking = turn.blocked is not None and turn.blocked[0] == "Reserving"
    if busy or asking or turn.seen.pods:
        return
    spent = settled_micro_usd(turn.status.ledger)
    for budget in turn.seen.budgets:
        entry = budget.entry(turn.seen.job.uid)
        written = entry.ceiling if entry else uncounted(turn, budget)
        if written != spent:
            _hold(turn, budget, spent)


def carry_over(turn: Turn) -> None:
    """Note what was spent before the month where that is not what was noted: once it has begun, and once all pods are settled."""
    asked = {act.budget for act in turn.actions if isinstance(act, Reserve)}
    for budget in turn.seen.budgets:
        entry = budget.entry(turn.seen.job.uid)
        if entry is None or budget.name in asked or (turn.seen.pods and not budget.is_of_earlier_month(entry)):
            continue
        if baseline_now(turn, budget, spent_by_month(turn)) != entry.baseline_micro_usd:
            _hold(turn, budget, entry.ceiling)


def _binding(budget: BudgetState) -> bool:
    return budget.spec.on_breach.value != "Warn"


def _lacks(turn: Turn, budget: BudgetState, bill: int) -> bool:
    entry = budget.entry(turn.seen.job.uid)
    return entry is None or entry.ceiling < bill


def _extend(turn: Turn, budget: BudgetState, bill: int) -> None:
    """A reservation that is there is never cut while pods run: they may spend it."""
    entry = budget.entry(turn.seen.job.uid)
    if entry is None or bill > entry.ceiling:
        _hold(turn, budget, bill)


def _refresh(turn: Turn, budget: BudgetState) -> None:
    entry = budget.entry(turn.seen.job.uid)
    if entry is None:
        return
    last = parse_time(entry.update_time)
    spent = turn.status.ledger.total_micro_usd - entry.baseline_micro_usd
    if (last is None or turn.now - last >= REFRESH) and spent != entry.spent_micro_usd:
        _hold(turn, budget, entry.ceiling)


def _hold(turn: Turn, budget: BudgetState, bill: int) -> None:
    """Ask for the right to a bill of this height."""
    months = spent_by_month(turn)
    before = baseline_now(turn, budget, months)
    spent = max(0, turn.status.ledger.total_micro_usd - before)
    job = turn.seen.job
    entry = Reservation(
        uid=job.uid,
        job=job.name,
        baseline_micro_usd=before,
        spent_micro_usd=spent,
        reserved_micro_usd=max(0, bill - before - spent),
        update_time=turn.stamp,
    )
    turn.actions.append(Reserve(budget.name, body_of(budget, with_entry(budget, entry, months))))
