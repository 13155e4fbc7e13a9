"""A TrainingBudget as it was read, and how its status changes: pure functions, one entry a job."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from llmtrain.api.trainingbudget import LabelSelector, Period, Reservation, TrainingBudgetSpec, TrainingBudgetStatus
from llmtrain.cost.money import format_usd, micro_usd
from llmtrain_operator.billing import format_time
from llmtrain_operator.conditions import merged


@dataclass(frozen=True)
class BudgetState:
    """The object, parsed. Its status is of the current period."""

    raw: Mapping[str, Any]
    spec: TrainingBudgetSpec
    status: TrainingBudgetStatus

    @property
    def name(self) -> str:
        """Name."""
        return str(self.raw["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """Namespace."""
        return str(self.raw["metadata"]["namespace"])

    @property
    def limit(self) -> int:
        """Microdollars a period."""
        return micro_usd(self.spec.limit_usd)

    def entry(self, uid: str) -> Reservation | None:
        """A job's reservation."""
        return next((item for item in self.status.reservations if item.uid == uid), None)

    def headroom(self, uid: str) -> int:
        """Microdollars of this period that this job may hold at most: the limit less what all others hold."""
        own = self.entry(uid)
        return self.limit - self.status.held + (own.held if own else 0)


def read_budget(raw: Mapping[str, Any], now: datetime) -> BudgetState:
    """Parse a budget; where a new period has begun its count starts anew."""
    spec = TrainingBudgetSpec.model_validate(raw.get("spec"))
    status = TrainingBudgetStatus.model_validate(raw.get("status") or {})
    return BudgetState(raw, spec, in_period(status, period_start(spec.period, now)))


def may_select(raw: Mapping[str, Any], labels: dict[str, str]) -> bool:
    """Whether a budget selects a job with these labels; True where nobody can say."""
    spec = raw.get("spec")
    try:
        selector = LabelSelector.model_validate((spec if isinstance(spec, dict) else {}).get("jobSelector") or {})
    except ValidationError:
        return True
    return selector.matches(labels)


def period_start(period: Period, now: datetime) -> str:
    """First moment of the period that `now` lies in; empty where the count never starts anew."""
    now = now.astimezone(UTC)
    if period is Period.TOTAL:
        return ""
    month = {Period.MONTH: now.month, Period.QUARTER: 3 * ((now.month - 1) // 3) + 1, Period.YEAR: 1}[period]
    return format_time(datetime(now.year, month, 1, tzinfo=UTC))


def in_period(status: TrainingBudgetStatus, start: str) -> TrainingBudgetStatus:
    """The status in the period that begins at `start`: what was spent before is no longer counted.

    Jobs keep what they have reserved: it is the most that they may still spend.
    """
    if start <= status.period_start:
        return status
    carried = [
        item.model_copy(
            update={"baseline_micro_usd": item.baseline_micro_usd + item.spent_micro_usd, "spent_micro_usd": 0}
        )
        for item in status.reservations
    ]
    fresh = {"period_start": start, "booked_micro_usd": 0, "reservations": carried}
    return status.model_copy(update=fresh if status.period_start or status.reservations else {"period_start": start})


def with_entry(budget: BudgetState, entry: Reservation) -> TrainingBudgetStatus:
    """The status with this job's entry put in or replaced."""
    others = [item for item in budget.status.reservations if item.uid != entry.uid]
    return shown(budget, budget.status.model_copy(update={"reservations": [*others, entry]}))


def without_entry(budget: BudgetState, uid: str, bill: int) -> TrainingBudgetStatus:
    """The status once a job is gone with this final bill: that stays booked, what it had reserved is free."""
    entry = budget.entry(uid)
    booked = budget.status.booked_micro_usd + (max(0, bill - entry.baseline_micro_usd) if entry else 0)
    others = [item for item in budget.status.reservations if item.uid != uid]
    return shown(budget, budget.status.model_copy(update={"reservations": others, "booked_micro_usd": booked}))


def shown(budget: BudgetState, status: TrainingBudgetStatus) -> TrainingBudgetStatus:
    """The status with what people read made current."""
    return status.model_copy(
        update={
            "observed_generation": int(budget.raw["metadata"].get("generation", 0)),
            "spent_usd": format_usd(status.spent),
            "reserved_usd": format_usd(status.held - status.spent),
            "available_usd": format_usd(max(0, budget.limit - status.held)),
        }
    )


def with_conditions(budget: BudgetState, now: datetime) -> TrainingBudgetStatus:
    """The status with the conditions that a person or an alert looks at."""
    status = shown(budget, budget.status)
    told = {"WithinLimit": _within(budget, status), "BelowWarning": _below(budget, status)}
    conditions = merged(budget.status.conditions, told, status.observed_generation, now)
    return status.model_copy(update={"conditions": conditions})


def _within(budget: BudgetState, status: TrainingBudgetStatus) -> tuple[str, str, str]:
    text = f"{status.spent_usd} USD spent, {status.reserved_usd} USD reserved of {budget.spec.limit_usd} USD"
    return ("True", "WithinLimit", text) if status.held <= budget.limit else ("False", "LimitExceeded", text)


def _below(budget: BudgetState, status: TrainingBudgetStatus) -> tuple[str, str, str]:
    """The highest share of `warnAtShare` that is spent."""
    shares = sorted(map(Decimal, budget.spec.warn_at_share))
    passed = [share for share in shares if status.spent >= share * budget.limit]
    if not passed:
        return "True", "BelowWarning", ""
    return "False", "WarningReached", f"{status.spent_usd} USD spent, {passed[-1]:%} of the limit or more"


def body_of(budget: BudgetState, status: TrainingBudgetStatus) -> dict[str, Any]:
    """The object to write: refused where the one that was read is not the newest."""
    return {**budget.raw, "status": status.to_dict()}
