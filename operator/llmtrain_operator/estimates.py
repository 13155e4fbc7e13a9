"""What the job is expected to cost, as the reconciler asks for it: the estimate of `llmtrain.cost`, no IO."""

from datetime import date
from functools import lru_cache

from llmtrain.api.job import JobSpec
from llmtrain.api.outlook import AssumptionLine, JobEstimate, Quantiles, StageOutlook
from llmtrain.api.plan import PlanSpec
from llmtrain.api.status import Stage, StageStatus
from llmtrain.cost.errors import InputError
from llmtrain.cost.estimate import Estimate, StageEstimate
from llmtrain.cost.money import micro_usd
from llmtrain.cost.ranges import Range
from llmtrain.pricing.job import estimate_job
from llmtrain_operator.measuring import share_left
from llmtrain_operator.turn import Inputs, Turn


def job_estimate(turn: Turn) -> Estimate | InputError:
    """The estimate, or which input lacks what it needs, such as a known accelerator."""
    return estimate_of(turn.inputs, turn.now.date())


@lru_cache(maxsize=2048)
def estimate_of(inputs: Inputs, today: date) -> Estimate | InputError:
    """The same of these inputs; worked out once, for every turn asks for it."""
    specs = {name: PlanSpec.model_validate_json(text) for name, text in inputs.plans}
    try:
        return estimate_job(inputs.job, JobSpec.model_validate_json(inputs.spec), specs, today)
    except InputError as error:
        return error


def stage_estimate(turn: Turn, stage: Stage) -> StageEstimate | None:
    """The same of one stage."""
    found = job_estimate(turn)
    return None if isinstance(found, InputError) else found.stage(stage.value)


def remaining_upper_micro_usd(turn: Turn, stage: StageStatus) -> int | None:
    """p90 of what the stage still costs, microdollars; the part that is done and kept is left out."""
    found = stage_estimate(turn, stage.name)
    return None if found is None else micro_usd(f"{found.usd.p90 * share_left(stage):.6f}")


def update_estimate(turn: Turn) -> None:
    """The estimate of this spec, made once: it is what was expected before the run. Once that has begun it gives way to another alone,
    not to the message that there can be none: a plan that is missing for a while does not take it away.
    """
    before, generation = turn.status.estimate, turn.seen.job.generation
    if before is None or before.generation != generation or before.message:
        found = job_estimate(turn)
        begun = any(stage.attempt for stage in turn.status.stages)
        if before is None or before.message or not (begun and isinstance(found, InputError)):
            turn.status.estimate = estimate_status(found, generation)


def estimate_status(found: Estimate | InputError, generation: int) -> JobEstimate:
    """The estimate as the status shows it."""
    if isinstance(found, InputError):
        return JobEstimate(generation=generation, message=str(found)[:1024])
    return JobEstimate(
        generation=generation,
        hours=quantiles(found.hours, 4),
        usd=quantiles(found.usd, 4),
        kwh=quantiles(found.kwh, 4),
        storage_usd=next((quantiles(stage.storage_usd, 2) for stage in found.stages if stage.storage_usd), None),
        stages=[_stage(stage) for stage in found.stages],
        assumptions=[
            AssumptionLine(name=a.name[:253], value=str(a.value)[:1024], source=f"{a.source} {a.date}".strip()[:1024])
            for a in list(found.assumptions)[:32]
        ],
        warnings=[warning[:1024] for warning in list(found.warnings)[:16]],
    )


def quantiles(value: Range, places: int) -> Quantiles:
    """The three numbers as decimals."""
    return Quantiles(p10=f"{value.p10:.{places}f}", p50=f"{value.p50:.{places}f}", p90=f"{value.p90:.{places}f}")


def _stage(stage: StageEstimate) -> StageOutlook:
    hours, usd, kwh = (quantiles(value, 4) for value in (stage.hours, stage.usd, stage.kwh))
    return StageOutlook(name=stage.name, hours=hours, usd=usd, kwh=kwh)
