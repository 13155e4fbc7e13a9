"""A TrainingBudget as it was read, and how its status changes: pure functions, one entry a job."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from llmtrain.api.job import OnBreach
from llmtrain.api.trainingbudget import (
    LabelSelector,
    MonthSpent,
    Period,
    Reservation,
    TrainingBudgetSpec,
    TrainingBudgetStatus,
)
from llmtrain.cost.money import format_usd, micro_usd
from llmtrain_operator.billing import format_time, parse_time
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

    def granted(self, entry: Reservation) -> int:
        """What the whole bill of a job with this reservation may reach, microdollars.

        Where more is held than the limit, as it was lowered, all that have reserved give up the same share of that: together
        they end within the limit, however soon each of them hears of it.
        """
        if self.status.held <= self.limit or not entry.reserved_micro_usd:
            return entry.ceiling
        left = max(0, self.limit - self.status.spent)
        return entry.ceiling - entry.reserved_micro_usd + entry.reserved_micro_usd * left // self.status.reserved

    def is_of_earlier_month(self, entry: Reservation) -> bool:
        """Whether its job has not written it since the month began."""
        return entry.update_time < self.status.month_start


def read_budget(raw: Mapping[str, Any], now: datetime) -> BudgetState:
    """Parse a budget; where a new month or period has begun its count starts anew."""
    spec = TrainingBudgetSpec.model_validate(raw.get("spec"))
    status = TrainingBudgetStatus.model_validate(raw.get("status") or {})
    return BudgetState(raw, spec, in_period(status, spec.period, now))


def is_bound(raw: Mapping[str, Any], uid: str) -> bool:
    """Whether a job has an entry in a budget: it counts there until it is deleted, whatever its labels are by now."""
    status = raw.get("status")
    entries = status.get("reservations") if isinstance(status, dict) else None
    return isinstance(entries, list) and any(isinstance(item, dict) and item.get("uid") == uid for item in entries)


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


def in_period(status: TrainingBudgetStatus, period: Period, now: datetime) -> TrainingBudgetStatus:
    """The status at a time: what was spent in months that are over is kept by month, and counts while the period has them.

    Jobs keep what they have reserved: it is the most that they may still spend. A clock that is behind turns nothing back.
    """
    since = status.month_start or status.period_start
    month = max(period_start(Period.MONTH, now), status.month_start)
    if since < month and (since or status.this_month):
        status = _carried(status, since, month)
    return status.model_copy(
        update={"month_start": month, "period_start": period_start(period, parse_time(month) or now)}
    )


def _carried(status: TrainingBudgetStatus, since: str, month: str) -> TrainingBudgetStatus:
    entries = [
        item.model_copy(
            update={"baseline_micro_usd": item.baseline_micro_usd + item.spent_micro_usd, "spent_micro_usd": 0}
        )
        for item in status.reservations
    ]
    earlier = with_month(status.earlier, _name(since), status.this_month, year=month[:4])
    return status.model_copy(update={"booked_micro_usd": 0, "reservations": entries, "earlier": earlier})


def with_month(earlier: Sequence[MonthSpent], month: str, micro_usd: int, year: str) -> list[MonthSpent]:
    """Months that are over, with so much more of one of them. Those before this year are one: no period tells them apart."""
    sums: Counter[str] = Counter()
    for one in (*earlier, MonthSpent(month=month, micro_usd=micro_usd)):
        sums[one.month if one.month >= year else ""] += one.micro_usd
    return [MonthSpent(month=name, micro_usd=sums[name]) for name in sorted(sums) if sums[name] > 0]


def _with_months(status: TrainingBudgetStatus, more: Mapping[str, int]) -> list[MonthSpent]:
    earlier: Sequence[MonthSpent] = status.earlier
    for month, amount in more.items():
        earlier = with_month(earlier, month, amount, status.month_start[:4])
    return list(earlier)


def _name(start: str) -> str:
    """The month of a time, as `2026-11`."""
    return start[: len("2026-11")]


def _month_before(start: str) -> str:
    begin = parse_time(start)
    return _name(format_time(begin - timedelta(days=1))) if begin else ""


def with_entry(
    budget: BudgetState, entry: Reservation, months: Mapping[str, int] | None = None
) -> TrainingBudgetStatus:
    """The status with this job's entry put in or replaced. `months`: what the job spent by month, where that is known.

    What it had spent before this month and had not noted is of the months in which it was spent, so any period finds it.
    """
    others = [item for item in budget.status.reservations if item.uid != entry.uid]
    late = _late(budget, budget.entry(entry.uid), entry.baseline_micro_usd, months or {})
    earlier = _with_months(budget.status, late)
    return shown(budget, budget.status.model_copy(update={"reservations": [*others, entry], "earlier": earlier}))


def _late(
    budget: BudgetState, noted: Reservation | None, baseline: int, months: Mapping[str, int]
) -> Mapping[str, int]:
    """Microdollars by month that are over which a job has not noted yet; less than nothing where it had noted too much.

    `baseline`: what it had spent before this month. The months between its last note and this one are known as a whole;
    what is left is of the month of that note, or of the last one.
    """
    month = _name(budget.status.month_start)
    over = {name: micro for name, micro in months.items() if name < month}
    if noted is None:
        return over
    since = _name(noted.update_time)
    found = {name: micro for name, micro in over.items() if since < name}
    rest = since if since and since < month else _month_before(budget.status.month_start)
    found[rest] = found.get(rest, 0) + baseline - noted.baseline_micro_usd - sum(found.values())
    return found


def without_entry(
    budget: BudgetState, uid: str, bill: int, ended: str, months: Mapping[str, int] | None = None
) -> TrainingBudgetStatus:
    """The status once a job is gone with this final bill: that stays booked, what it had reserved is free.

    `months`: the bill by month. Where that is not known, or is not the bill, what was not noted is of the month in which it `ended`.
    """
    entry, status = budget.entry(uid), budget.status
    others = [item for item in status.reservations if item.uid != uid]
    if entry and months and sum(months.values()) == bill:
        before = sum(micro for name, micro in months.items() if name < _name(status.month_start))
        earlier = _with_months(status, _late(budget, entry, before, months))
        booked = status.booked_micro_usd + bill - before
        gone = {"reservations": others, "earlier": earlier, "booked_micro_usd": booked}
        return shown(budget, status.model_copy(update=gone))
    rest = max(0, bill - entry.baseline_micro_usd) if entry else 0
    if ended < status.month_start:
        earlier = with_month(status.earlier, _name(ended), rest, status.month_start[:4])
        return shown(budget, status.model_copy(update={"reservations": others, "earlier": earlier}))
    booked = status.booked_micro_usd + rest
    return shown(budget, status.model_copy(update={"reservations": others, "booked_micro_usd": booked}))


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
    if status.held <= budget.limit:
        return "True", "WithinLimit", text
    return "False", "LimitExceeded", text + _what_follows(budget, status)


def _what_follows(budget: BudgetState, status: TrainingBudgetStatus) -> str:
    """What becomes of jobs that have reserved more than there is."""
    if budget.spec.on_breach is OnBreach.WARN:
        return "; `onBreach: Warn` stops no job"
    if not status.reserved:
        return "; nothing starts"
    share = max(0, budget.limit - status.spent) / status.reserved
    return f"; nothing starts, and jobs that run may spend {share:.0%} of what they have reserved, then they stop"


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
