"""How long a stage takes."""

from llmtrain.cost import assumptions as a
from llmtrain.cost.assumptions import Assumption
from llmtrain.cost.chips import Chip
from llmtrain.cost.errors import InputError
from llmtrain.cost.failures import interruptions, slowdown
from llmtrain.cost.mfu import Situation, calendar_mfu
from llmtrain.cost.ranges import Range
from llmtrain.cost.work import (
    CheckWork,
    Cluster,
    CurationWork,
    EvaluationWork,
    RunSpec,
    TrainingWork,
    Work,
    computes_on_cpus,
)


def peak_flops(cluster: Cluster, work: Work) -> float:
    """FLOP/s of all workers together, dense bf16; CPUs by the core."""
    if computes_on_cpus(work, cluster):
        return cluster.cores * a.CPU_TFLOPS_PER_CORE * 1e12
    return cluster.accelerators * chip_of(cluster).peak_flops


def chip_of(cluster: Cluster) -> Chip:
    """The plan's accelerator. InputError where it has none."""
    if cluster.plan.chip is None:
        raise InputError(
            "spec.accelerator", f"ComputePlan `{cluster.plan.name}` has none, but its workers ask for accelerators"
        )
    return cluster.plan.chip


def training_mfu(run: RunSpec, cluster: Cluster, work: TrainingWork) -> Range:
    """Calendar MFU: measured, or the prior of `mfu.py`."""
    if run.measured is not None:
        return a.STEADY_TO_CALENDAR.scaled(run.measured.mfu)
    accelerators = 0 if computes_on_cpus(work, cluster) else cluster.accelerators
    fast = accelerators > 0 and chip_of(cluster).fast
    params = work.model.multiplying_parameters
    return calendar_mfu(Situation(fast, params, work.model.context, accelerators, work.recomputed))


def train_flops(work: TrainingWork) -> float:
    """Model FLOPs of the whole training."""
    return work.model.flops_per_token * work.tokens


HOPELESS = 20
"""So many interruptions while a checkpoint is written, restarted from and worked on to the next: one in 10^8 gets there."""


def preemption_slowdown(cluster: Cluster, work: TrainingWork) -> float:
    """Time with preemptions over time without; 1 where the plan has none. InputError where the work would never end."""
    rate = cluster.plan.preemptions_per_accelerator_hour
    if rate <= 0 or cluster.accelerators == 0:
        return 1.0
    events = interruptions(cluster.accelerators, rate, a.PREEMPTED_SAVE_SECONDS, a.PREEMPTED_RESTART_SECONDS)
    if events.restart + events.save + work.checkpoint_seconds > HOPELESS * events.mean_between:
        often = f"{cluster.accelerators} accelerators would be interrupted every {events.mean_between:.2g} s"
        raise InputError(
            "spec.rented.preemptionsPerAcceleratorHour", f"{often}, and get nothing done; it must be a rate per hour"
        )
    return slowdown(events, work.checkpoint_seconds)


def work_hours(work: Work, run: RunSpec, cluster: Cluster) -> Range:
    """Hours of work on this cluster, its start not counted; p10 is the short end."""
    match work:
        case CurationWork():
            return _curation_hours(work, run, cluster)
        case TrainingWork():
            return _training_hours(work, run, cluster)
        case EvaluationWork():
            flops = 2 * work.model.multiplying_parameters * work.tokens
            return _over(flops / peak_flops(cluster, work) / 3600, a.EVALUATION_MFU)
        case CheckWork():
            return a.CHECK_HOURS


def _curation_hours(work: CurationWork, run: RunSpec, cluster: Cluster) -> Range:
    needed = work.training_tokens * a.BYTES_PER_TOKEN / a.KEPT_SHARE
    size = needed if work.input_bytes is None else work.input_bytes
    measured = run.curation_bytes_per_core_second
    speed = a.CURATION_BYTES_PER_CORE_SECOND if measured is None else a.STEADY_TO_CALENDAR.scaled(measured)
    return _over(size / cluster.cores / 3600, speed)


def _training_hours(work: TrainingWork, run: RunSpec, cluster: Cluster) -> Range:
    seconds_at_peak = train_flops(work) / peak_flops(cluster, work) * (2 if work.half_speed else 1)
    return _over(seconds_at_peak / 3600 * preemption_slowdown(cluster, work), training_mfu(run, cluster, work))


def _over(amount: float, speed: Range) -> Range:
    """Amount over speed: slow is long."""
    return Range(amount / speed.p90, amount / speed.p50, amount / speed.p10)


def stage_assumptions(work: Work, run: RunSpec, cluster: Cluster) -> list[Assumption]:
    """What the hours of a stage rest on."""
    if isinstance(work, CurationWork):
        return [*([a.CURATION_INPUT] if work.input_bytes is None else []), _curation_speed(run)]
    if isinstance(work, EvaluationWork):
        return [a.EVALUATION_SPEED, a.QUESTIONS]
    if isinstance(work, TrainingWork):
        return _training_assumptions(work, run, cluster)
    return []


def _curation_speed(run: RunSpec) -> Assumption:
    measured = run.curation_bytes_per_core_second
    if measured is None:
        return a.CURATION_SPEED
    return Assumption(a.CURATION_SPEED.name, f"{measured / 1e6:.2f} MB per core and second", "calibration")


def _training_assumptions(work: TrainingWork, run: RunSpec, cluster: Cluster) -> list[Assumption]:
    mfu = training_mfu(run, cluster, work)
    shown = f"{mfu.p10:.2f} / {mfu.p50:.2f} / {mfu.p90:.2f}"
    measured = run.measured
    found = [
        Assumption("calendar MFU of training, causal attention", shown, measured.source if measured else a.MFU_SOURCE)
    ]
    if measured:
        found.append(a.STEADY)
    if not computes_on_cpus(work, cluster):
        chip = chip_of(cluster)
        found.append(Assumption(f"peak of {chip.name}", f"{chip.peak_tflops:g} TFLOP/s dense bf16", chip.source))
    else:
        found.append(a.CPU_PEAK)
    return found + ([a.PREEMPTION] if cluster.plan.preemptions_per_accelerator_hour > 0 else [])
