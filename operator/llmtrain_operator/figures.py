"""What metrics tell of a job: the numbers of its status, in a tenth of the memory that the status itself takes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from llmtrain.api.outlook import Quantiles
from llmtrain.api.status import Amounts, Counted, JobStatus, Stage
from llmtrain.ledger.goodput import WASTE
from llmtrain.ledger.now import cost_now_micro_usd
from llmtrain_operator.billing import parse_time
from llmtrain_operator.monthly import Months, Parts, months_of_status, parts_of_mark, stage_starts
from llmtrain_operator.names import EVALUATOR, HEAD, WORKER

PERCENTILES = (("10", "p10"), ("50", "p50"), ("90", "p90"))
LabelSet = tuple[str, str, str, str]
"""Stage, role, plan, tenure."""


@dataclass(slots=True)
class Total:
    """Settled and provisional amounts of one label set."""

    pod_seconds: int = 0
    accelerator_seconds: int = 0
    cost_micro_usd: int = 0
    energy_joules: int = 0

    def add(self, item: "Amounts | Total") -> None:
        """Add an entry, a provisional bill or another total, less its energy."""
        self.pod_seconds += item.pod_seconds
        self.accelerator_seconds += item.accelerator_seconds
        self.cost_micro_usd += item.cost_micro_usd

    def take(self, other: "Total") -> None:
        """Take off what is told elsewhere, less its energy; nothing goes below zero."""
        self.pod_seconds = max(0, self.pod_seconds - other.pod_seconds)
        self.accelerator_seconds = max(0, self.accelerator_seconds - other.accelerator_seconds)
        self.cost_micro_usd = max(0, self.cost_micro_usd - other.cost_micro_usd)

    def lift(self, other: "Total") -> None:
        """Nothing stays below what another has, less its energy."""
        self.pod_seconds = max(self.pod_seconds, other.pod_seconds)
        self.accelerator_seconds = max(self.accelerator_seconds, other.accelerator_seconds)
        self.cost_micro_usd = max(self.cost_micro_usd, other.cost_micro_usd)


class PodTotal(NamedTuple):
    """Provisional amounts of one pod."""

    uid: str
    labels: LabelSet
    total: Total
    months: Parts = ()


@dataclass(frozen=True, slots=True)
class Bill:
    """A job's amounts, and of which pods they are that may yet be booked without it."""

    totals: Mapping[LabelSet, Total]
    provisional: tuple[PodTotal, ...] = ()
    """Their part in the totals."""
    settled: tuple[str, ...] = ()
    """Uids of pods in the totals that may not have been let go yet."""
    months: Months = field(default_factory=dict)
    """The whole by the month in which it accrued, microdollars."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stage from its first attempt to its end, if that was."""

    stage: str
    begun: datetime
    ended: datetime | None


@dataclass(frozen=True, slots=True)
class Figures:
    """One job's numbers as its last turn left them."""

    stage: str
    state: str
    ended: datetime | None
    """When a job that is over ended."""
    bill: Bill
    waste_micro_usd: tuple[int, ...]
    """By WASTE."""
    cost_now_micro_usd: int
    goodput_of_billed_time: float | None
    """Of training."""
    burn_micro_usd_per_hour: int
    pod_prices: tuple[tuple[str, str, str, int], ...]
    """Plan, tenure, role and microdollars per hour of each pod that is not settled."""
    estimate_usd: tuple[tuple[str, float], ...]
    """By percentile, like the forecast."""
    forecast_usd: tuple[tuple[str, float], ...]
    budget_usd: float | None
    breach_probability: float | None
    conditions: tuple[tuple[str, str], ...]
    """Type and status."""
    counterfactual_usd: tuple[tuple[str, str, float], ...]
    """Plan, tenure, dollars."""
    stages: tuple[Span, ...]

    def gone(self) -> "Figures":
        """What is still told of a job whose object is gone: its counters, so that no scrape misses their last values."""
        return Figures(
            "", "", self.ended, self.bill, self.waste_micro_usd, 0, None, 0, (), (), (), None, None, (), (), ()
        )

    @property
    def totals(self) -> Mapping[LabelSet, Total]:
        """Settled and provisional amounts."""
        return self.bill.totals

    @property
    def is_there(self) -> bool:
        """There is such a job: it has a state, and gauges tell of it."""
        return bool(self.state)

    @property
    def alive(self) -> bool:
        """Part of its bill is provisional."""
        return bool(self.pod_prices)


def figures(status: JobStatus, created: str = "") -> Figures:
    """The numbers of a status of a job that was made at `created`."""
    forecast = status.forecast
    marks = status.ledger.high_water
    return Figures(
        stage=status.stage,
        state=status.state or "Pending",
        ended=end_time(status),
        bill=bill(status, created),
        waste_micro_usd=tuple(sum(getattr(told.waste, kind) for told in status.ledger.counted) for kind in WASTE),
        cost_now_micro_usd=cost_now_micro_usd(status.ledger),
        goodput_of_billed_time=_number(status.ledger.goodput),
        burn_micro_usd_per_hour=status.ledger.burn_micro_usd_per_hour,
        pod_prices=tuple((mark.plan, mark.tenure, mark.role, mark.micro_usd_per_hour) for mark in marks),
        estimate_usd=_percentiles(status.estimate.usd if status.estimate else None),
        forecast_usd=_percentiles(forecast.usd if forecast else None),
        budget_usd=_number(forecast.budget_usd if forecast else ""),
        breach_probability=_number(forecast.breach_probability if forecast else ""),
        conditions=tuple((one.type, one.status) for one in status.conditions),
        counterfactual_usd=tuple(
            (row.plan, row.tenure, float(row.cost_usd)) for row in status.comparison if row.cost_usd
        ),
        stages=tuple(_spans(status)),
    )


def bill(status: JobStatus, created: str = "") -> Bill:
    """The job's amounts."""
    starts = stage_starts(status)
    sums = {labels: Total() for labels in expected(status)}
    known = {labels: labels for labels in sums}
    for entry in status.ledger.entries:
        sums.setdefault(_labels(entry), Total()).add(entry)
    pods = []
    for mark in status.ledger.high_water:
        # One set of labels for the pods of a role, of which there may be hundreds.
        labels = known.setdefault(found := _labels(mark), found)
        owed = Total(mark.pod_seconds, mark.accelerator_seconds, mark.cost_micro_usd)
        sums.setdefault(labels, Total()).add(owed)
        pods.append(PodTotal(mark.uid, labels, owed, parts_of_mark(mark, starts.get(mark.stage.value, created))))
    for told in status.ledger.counted:
        sums.setdefault(_labels(told), Total()).energy_joules = told.energy_joules
    months = months_of_status(status, created, (pod.months for pod in pods))
    return Bill(sums, tuple(pods), tuple(status.ledger.settled), months)


def expected(status: JobStatus) -> Iterable[LabelSet]:
    """Label sets that a job will have, so that a rate sees their first increase."""
    for stage in status.stages:
        roles = (HEAD,) if stage.name is Stage.PREFLIGHT else (HEAD, WORKER)
        if stage.plan and not stage.reused:
            yield from ((stage.name.value, role, stage.plan, stage.tenure) for role in roles)
        if stage.evaluator_plan:
            yield stage.name.value, EVALUATOR, stage.evaluator_plan, stage.evaluator_tenure


def end_time(status: JobStatus) -> datetime | None:
    """When a job that is over ended."""
    if status.state not in ("Succeeded", "Failed"):
        return None
    times = [parse_time(stage.completion_time) for stage in status.stages]
    return max((time for time in times if time is not None), default=None)


def _labels(item: Amounts | Counted) -> LabelSet:
    return item.stage.value, item.role, item.plan, item.tenure


def _spans(status: JobStatus) -> Iterable[Span]:
    for stage in status.stages:
        begun = parse_time(stage.start_time)
        if begun is not None:
            yield Span(stage.name.value, begun, parse_time(stage.completion_time))


def _percentiles(values: Quantiles | None) -> tuple[tuple[str, float], ...]:
    texts = ((label, getattr(values, name, "")) for label, name in PERCENTILES)
    return tuple((label, float(text)) for label, text in texts if text)


def _number(text: str | None) -> float | None:
    return float(text) if text else None
