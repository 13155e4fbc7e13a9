"""What the job is expected to cost, as the reconciler asks for it: the estimate of `llmtrain.cost`, no IO."""

from llmtrain.api.status import Stage, StageStatus
from llmtrain.cost.errors import InputError
from llmtrain.cost.estimate import Estimate, StageEstimate
from llmtrain.cost.money import micro_usd
from llmtrain.pricing.job import estimate_job
from llmtrain_operator.turn import Turn


def job_estimate(turn: Turn) -> Estimate | None:
    """The estimate; None where an input lacks what it needs, such as a plan or a known accelerator."""
    try:
        specs = {name: plan.spec for name, plan in turn.seen.plans.items()}
        return estimate_job(turn.seen.job.name, turn.spec, specs, turn.now.date())
    except InputError:
        return None


def stage_estimate(turn: Turn, stage: Stage) -> StageEstimate | None:
    """The same of one stage."""
    found = job_estimate(turn)
    return found.stage(stage.value) if found else None


def remaining_upper_micro_usd(turn: Turn, stage: StageStatus) -> int | None:
    """p90 of what the stage still costs, microdollars; the part that is done and kept is left out."""
    found = stage_estimate(turn, stage.name)
    return None if found is None else micro_usd(f"{found.usd.p90 * share_left(stage):.6f}")


def share_left(stage: StageStatus) -> float:
    """Share of the stage's work that is not done, 0 to 1."""
    progress = stage.progress
    if progress is None or progress.total <= 0:
        return 1.0
    return min(1.0, max(0.0, 1 - progress.done / progress.total))
