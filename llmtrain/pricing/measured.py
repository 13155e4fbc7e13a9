"""What a job itself has measured, for the estimate of the rest and of other plans."""

from dataclasses import replace

from llmtrain.api.status import JobStatus, Stage
from llmtrain.cost.duration import peak_flops
from llmtrain.cost.physics import utilisation
from llmtrain.cost.work import Measured, RunSpec


def tokens_per_second(status: JobStatus) -> float:
    """What the training reports, or reported at its end; 0 before it said anything that is a number."""
    stage = next((stage for stage in status.stages if stage.name is Stage.TRAINING), None)
    if stage is None:
        return 0.0
    said = stage.progress.tokens_per_second if stage.progress else ""
    try:
        return float(said or stage.scores.get("tokens_per_second") or 0)
    except ValueError:
        return 0.0


def with_speed(run: RunSpec, speed: float) -> RunSpec:
    """The run with the MFU that this many tokens a second amount to on the training's accelerators."""
    if speed <= 0:
        return run
    work = run.training_work
    mfu = utilisation(speed, work.model.flops_per_token, peak_flops(run.training.cluster, work))
    return replace(run, measured=Measured(mfu, f"measured by the job, {speed:.0f} tokens/s"))
