"""`TrainingBudget`: what the jobs of a namespace may cost together in a period.

Its status is a ledger of reservations: a job may spend what it has reserved here, and what all have reserved and spent
never exceeds the limit, because every reservation is one write that is refused where somebody else was faster.
It counts by calendar month, whatever its period is, so that another period finds what was spent.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from llmtrain.api.base import DecimalString, Model, Rule, cel
from llmtrain.api.job import Condition, OnBreach
from llmtrain.api.status import Key, StatusModel, Time

LabelValue = Annotated[str, Field(pattern=r"^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$", max_length=63)]
LabelKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9_./-]*[A-Za-z0-9])?$", max_length=317)]


class Period(StrEnum):
    """When the count starts anew, in UTC. Total: never."""

    MONTH = "Month"
    QUARTER = "Quarter"
    YEAR = "Year"
    TOTAL = "Total"


class SelectorOperator(StrEnum):
    """metav1.LabelSelectorOperator."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class SelectorRequirement(Model):
    """metav1.LabelSelectorRequirement."""

    key: LabelKey = Field(description="Label.")
    operator: SelectorOperator = Field(description="In, NotIn, Exists or DoesNotExist.")
    values: Annotated[list[LabelValue], Field(max_length=32)] = Field([], description="Values of In and NotIn.")

    model_config = Model.model_config | {
        "json_schema_extra": cel(
            Rule(
                rule="(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
                message="`values` must be set where `operator` is 'In' or 'NotIn', and only there",
            )
        )
    }

    def matches(self, labels: dict[str, str]) -> bool:
        """Whether an object with these labels is meant."""
        value = labels.get(self.key)
        if self.operator is SelectorOperator.IN:
            return value in self.values
        if self.operator is SelectorOperator.NOT_IN:
            return value not in self.values
        return (value is not None) == (self.operator is SelectorOperator.EXISTS)


class LabelSelector(Model):
    """metav1.LabelSelector; empty: everything."""

    match_labels: Annotated[dict[str, LabelValue], Field(max_length=16)] = Field(
        {}, description="Labels and the values that they must have."
    )
    match_expressions: Annotated[list[SelectorRequirement], Field(max_length=16)] = Field(
        [], description="Requirements that must all hold."
    )

    def matches(self, labels: dict[str, str]) -> bool:
        """Whether an object with these labels is meant."""
        equal = all(labels.get(key) == value for key, value in self.match_labels.items())
        return equal and all(requirement.matches(labels) for requirement in self.match_expressions)


class TrainingBudgetSpec(Model):
    """Upper bound of what the selected jobs of the namespace may cost in a period."""

    period: Period = Field(Period.MONTH, description="When the count starts anew, in UTC; 'Total': never.")
    limit_usd: DecimalString = Field(description="US dollars a period.")
    warn_at_share: Annotated[list[DecimalString], Field(max_length=8)] = Field(
        [], description="Shares of the limit, 0 to 1, at which a condition warns."
    )
    on_breach: OnBreach = Field(OnBreach.SUSPEND, description="What happens to a job that would exceed it.")
    job_selector: LabelSelector = Field(
        LabelSelector(),
        description="Jobs that count; empty: all of the namespace. One that has reserved stays bound until it is deleted, "
        "whatever its labels or this say by then.",
    )


class Reservation(StatusModel):
    """One job's part: what it has spent in this calendar month, and what it may spend beyond that."""

    uid: Key = Field(description="The job's uid.")
    job: Key = Field(description="The job's name.")
    baseline_micro_usd: int = Field(0, description="What the job had spent before this month, microdollars.")
    spent_micro_usd: int = Field(0, description="Spent in this month, microdollars.")
    reserved_micro_usd: int = Field(0, description="Reserved beyond that, microdollars.")
    update_time: Time = Field("", description="When the job last wrote this.")

    @property
    def held(self) -> int:
        """Microdollars of the budget that nobody else can have."""
        return self.spent_micro_usd + self.reserved_micro_usd

    @property
    def ceiling(self) -> int:
        """Microdollars that the job's whole bill may reach."""
        return self.baseline_micro_usd + self.held


class MonthSpent(StatusModel):
    """What was spent of a budget in a calendar month that is over."""

    month: Key = Field("", description="The month, UTC, as `2026-11`; empty: all months before those of this year.")
    micro_usd: int = Field(0, description="Microdollars, by jobs that live and jobs that are deleted.")


class TrainingBudgetStatus(StatusModel):
    """The reservations, and what follows from them."""

    observed_generation: int = Field(0, description="Generation of the spec that this speaks of.")
    period_start: Time = Field("", description="First moment of the period that is counted.")
    month_start: Time = Field(
        "",
        description="First moment of the month that `bookedMicroUsd` and the reservations speak of; absent: `periodStart`.",
    )
    booked_micro_usd: int = Field(0, description="Spent in this month by jobs that are deleted, microdollars.")
    earlier: Annotated[list[MonthSpent], Field(max_length=16)] = Field(
        [], description="Months that are over; those since `periodStart` count."
    )
    reservations: Annotated[list[Reservation], Field(max_length=2048)] = Field([], description="One a job.")
    spent_usd: Key = Field("0.00", description="Spent in this period, US dollars.")
    reserved_usd: Key = Field("0.00", description="Reserved by jobs, US dollars.")
    available_usd: Key = Field("", description="What is left for other stages, US dollars.")
    conditions: Annotated[list[Condition], Field(max_length=8)] = Field([], description="The summary.")

    @property
    def this_month(self) -> int:
        """Microdollars spent in this month."""
        return self.booked_micro_usd + sum(item.spent_micro_usd for item in self.reservations)

    @property
    def spent(self) -> int:
        """Microdollars spent in this period."""
        over = sum(one.micro_usd for one in self.earlier if one.month >= self.period_start[: len("2026-11")])
        return over + self.this_month

    @property
    def reserved(self) -> int:
        """Microdollars that jobs have reserved beyond what they have spent."""
        return sum(item.reserved_micro_usd for item in self.reservations)

    @property
    def held(self) -> int:
        """Microdollars spent or reserved in this period."""
        return self.spent + self.reserved
