"""Where a ladder stands, by its jobs as the cluster has them, and what they tell of the target."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from llmtrain.api.job import JobSpec
from llmtrain.api.status import ENDED_STATES, JobStatus, Stage, StageState, StageStatus
from llmtrain.cost.assumptions import STEADY_TO_CALENDAR
from llmtrain.cost.duration import training_mfu
from llmtrain.cost.money import MICRO
from llmtrain.cost.ranges import Range, lognormal, total
from llmtrain.ladder.manifests import RUNG
from llmtrain.ladder.plan import Target
from llmtrain.pricing.job import run_of
from llmtrain.pricing.measured import tokens_per_second, with_speed
from llmtrain.pricing.parsed import validated
from llmtrain.pricing.work import job_model
from llmtrain.scaling.fit import BOUNDS, FEWEST_RUNS, Fitted, Observation, fit
from llmtrain.scaling.outcome import Outcome, Text, outcome

MISS_CORRELATION = 0.4
"""Of ln hours over estimate between two runs of one family: 0.26 over the 16 published families of more than one run,
each counted once, 0.52 with each pair of runs counted once (`llmtrain.cost.fit.left_out`)."""

Object = Mapping[str, Any]


@dataclass(frozen=True)
class FinalLoss:
    """Loss that a training ended with, nats a token: on held-out text, or that of its last step's batch."""

    nats: float
    held_out: bool


@dataclass(frozen=True)
class Step:
    """One rung's job."""

    index: int
    name: str
    parameters: int
    tokens: int
    state: str
    limit_usd: Decimal
    cost_usd: Decimal
    status: JobStatus
    spec: JobSpec

    @property
    def ended(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state in ENDED_STATES

    @property
    def curated(self) -> bool:
        """Whether its data is there, for the others too."""
        stage = _stage(self.status, Stage.CURATION)
        return stage is not None and (stage.reused or stage.state is StageState.SUCCEEDED)

    @property
    def final(self) -> FinalLoss | None:
        """Its loss at the end; None before."""
        return final_loss(self.status) if self.state == "Succeeded" else None

    @property
    def loss(self) -> float | None:
        """The same, nats a token."""
        return None if self.final is None else self.final.nats


def steps_of(jobs: Sequence[Object]) -> Sequence[Step]:
    """The ladder's jobs by rung."""
    return sorted((_step(job) for job in jobs), key=lambda step: step.index)


def _step(job: Object) -> Step:
    status = JobStatus.model_validate(job.get("status") or {})
    spec = validated(JobSpec, job["spec"], f"LLMTrainingJob `{job['metadata']['name']}`, spec")
    rung = str(job["metadata"].get("labels", {}).get(RUNG, ""))
    return Step(
        index=int(rung) if rung.isascii() and rung.isdecimal() else 0,
        name=job["metadata"]["name"],
        parameters=job_model(spec).parameters,
        tokens=spec.training.tokens,
        state=status.state or "Pending",
        limit_usd=Decimal(spec.budget.limit_usd if spec.budget else "0"),
        cost_usd=Decimal(status.ledger.total_micro_usd) / MICRO,
        status=status,
        spec=spec,
    )


def _stage(status: JobStatus, name: Stage) -> StageStatus | None:
    return next((stage for stage in status.stages if stage.name is name), None)


def final_loss(status: JobStatus) -> FinalLoss | None:
    """On held-out text where that was measured; None where no loss is told."""
    stage = _stage(status, Stage.TRAINING)
    scores = stage.scores if stage else {}
    for name, held_out in (("validation_loss", True), ("loss", False)):
        if (found := _positive(scores.get(name, ""))) is not None and found <= BOUNDS["loss"][1]:
            return FinalLoss(found, held_out)
    return None


def _positive(text: str) -> float | None:
    """A number above zero, of what a pod has said."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def observations(steps: Sequence[Step]) -> Sequence[Observation]:
    """Of the jobs that have succeeded. Where some tell the loss on held-out text, those alone: a batch's is another."""
    told = [(step, step.final) for step in steps if step.final is not None]
    held_out = any(final.held_out for _, final in told)
    return [Observation(s.parameters, s.tokens, final.nats) for s, final in told if final.held_out or not held_out]


def on_held_out_text(steps: Sequence[Step]) -> bool:
    """Whether the ladder's losses are those on held-out text."""
    return any(step.final is not None and step.final.held_out for step in steps)


def text_of(steps: Sequence[Step]) -> Text:
    """Bytes a token as curation has measured them on the held-out text; else as assumed."""
    for step in steps:
        stage = _stage(step.status, Stage.CURATION)
        scores = stage.scores if stage else {}
        size, tokens = (_positive(scores.get(f"validation_{what}", "")) for what in ("bytes", "tokens"))
        if size and tokens:
            return Text(size / tokens, 0.0)
    return Text()


@dataclass(frozen=True)
class Extrapolation:
    """What the rungs say of the target: loss with its best split, and dollars of all stages."""

    fitted: Fitted
    outcome: Outcome
    usd: Range
    speed: float | None
    """MFU of the largest rung over what was expected of it; None where it told none."""


def extrapolation(target: Target, steps: Sequence[Step]) -> Extrapolation | None:
    """None while fewer than three rungs have ended well."""
    seen = observations(steps)
    if len(seen) < FEWEST_RUNS:
        return None
    fitted = fit(seen)
    speed = speed_of(target, steps)
    found = outcome(fitted, target.parameters, target.tokens, text_of(steps))
    return Extrapolation(fitted, found, target_usd(target, speed), speed)


def speed_of(target: Target, steps: Sequence[Step]) -> float | None:
    """The rung of most compute whose speed is known: its calendar MFU over the median that was expected."""
    told = [step for step in steps if step.loss is not None and tokens_per_second(step.status) > 0]
    if not told:
        return None
    largest = max(told, key=lambda step: step.parameters * step.tokens)
    run = run_of(largest.name, largest.spec, target.plans)
    measured = with_speed(run, tokens_per_second(largest.status)).measured
    if measured is None or measured.mfu <= 0:
        return None
    expected = training_mfu(run, run.training.cluster, run.training_work)
    return measured.mfu * STEADY_TO_CALENDAR.p50 / expected.p50


def target_usd(target: Target, speed: float | None) -> Range:
    """The estimate, its training moved by what a run of the same family tells, and narrowed by as much."""
    stages = target.estimate.stages
    training = target.estimate.stage("Training")
    if speed is None or training is None or training.usd.p50 <= 0:
        return target.estimate.usd
    median = training.usd.p50 * math.exp(-MISS_CORRELATION * math.log(speed))
    moved = lognormal(median, training.usd.sigma * math.sqrt(1 - MISS_CORRELATION**2))
    return total([moved, *(stage.usd for stage in stages if stage is not training)])
