"""The spec's strings as numbers, and what they imply: timeline, rates, plans of the parts."""

from llmtrain.api.training import Anneal, Reaction, Training
from llmtrain_jobs.errors import bad_input
from llmtrain_jobs.training.interval import Interval
from llmtrain_jobs.training.optimizers import OptimizerPlan
from llmtrain_jobs.training.retention import Retention
from llmtrain_jobs.training.schedule import PhaseRate, RatePlan
from llmtrain_jobs.training.stability import StabilityPlan
from llmtrain_jobs.training.timeline import Ramp, Timeline
from llmtrain_jobs.training.wrap import ComputePlan


def timeline_of(spec: Training, context: int) -> Timeline:
    """All steps; raises bad_input where sizes do not divide."""
    batches = [(f"batchRamp[{i}].globalBatchTokens", s.global_batch_tokens) for i, s in enumerate(spec.batch_ramp)]
    for field, tokens in [("globalBatchTokens", spec.global_batch_tokens), *batches]:
        if tokens % context:
            raise bad_input(
                f"`training.{field}`: {tokens} / `model.contextLength` {context} leaves {tokens % context}; it must divide"
            )
    for index, step in enumerate(spec.sequence_ramp):
        if context % step.length:
            raise bad_input(
                f"`training.sequenceRamp[{index}].length`: `model.contextLength` {context} / {step.length} leaves "
                f"{context % step.length}; it must divide"
            )
    try:
        windows = Ramp.of(spec.global_batch_tokens // context,
                          [(s.from_tokens, s.global_batch_tokens // context) for s in spec.batch_ramp])  # fmt: skip
        lengths = Ramp.of(context, [(s.from_tokens, s.length) for s in spec.sequence_ramp])
    except ValueError as error:
        raise bad_input(f"`training.batchRamp` or `training.sequenceRamp`: {error}") from error
    return Timeline(context, windows, lengths, phase_ends(spec))


def phase_ends(spec: Training) -> tuple[int, ...]:
    """Cumulated tokens of the phases; raises bad_input where they do not add up to all tokens."""
    if not spec.phases:
        return (spec.tokens,)
    ends, total = [], 0
    for phase in spec.phases:
        total += phase.tokens
        ends.append(total)
    if total != spec.tokens:
        raise bad_input(f"the tokens of `training.phases` add up to {total}, `training.tokens` is {spec.tokens}")
    return tuple(ends)


def rates_of(spec: Training) -> RatePlan:
    """The learning rate's course. The schedule ends where the first annealing phase starts."""
    optimizer, ends = spec.optimizer, phase_ends(spec)
    anneals = tuple(
        PhaseRate(end - phase.tokens, end, phase.anneal, float(phase.final_share))
        for phase, end in zip(spec.phases, ends, strict=False)
        if phase.anneal is not Anneal.NONE
    )
    horizon = anneals[0].start if anneals else spec.tokens
    return RatePlan(optimizer.schedule, optimizer.warmup_tokens, optimizer.decay_tokens, float(optimizer.final_share),
                    horizon, anneals)  # fmt: skip


def optimizer_of(spec: Training) -> OptimizerPlan:
    """The optimizer's numbers."""
    given = spec.optimizer
    return OptimizerPlan(given.name, float(given.peak_learning_rate), float(given.muon_learning_rate),
                         float(given.weight_decay), float(given.beta1), float(given.beta2), float(given.epsilon),
                         float(given.gradient_clip))  # fmt: skip


def stability_of(spec: Training) -> StabilityPlan:
    """The reactions' numbers."""
    given = spec.stability
    return StabilityPlan(given.on_non_finite, given.on_spike, float(given.spike_sigma), given.window,
                         given.roll_back_checkpoints, float(given.lower_rate_factor), given.limit)  # fmt: skip


def compute_of(spec: Training, bf16: bool) -> ComputePlan:
    """How a step is computed."""
    given = spec.compute
    return ComputePlan(micro_batch_sequences=given.micro_batch_sequences, recompute=given.recompute,
                       compile=given.compile, loss_chunk_tokens=given.loss_chunk_tokens, z_loss=float(given.z_loss),
                       bf16=bf16)  # fmt: skip


def interval_of(spec: Training, processes: int, failures: int) -> Interval:
    """When checkpoints are due; `failures` so far."""
    given = spec.checkpoint.interval
    seconds = None if given.steps or given.auto else float(given.typical_seconds)
    return Interval(seconds, given.steps, processes, failures)


def retention_of(spec: Training) -> Retention:
    """Which checkpoints stay: as many at least as a roll-back may go back."""
    stability, kept = spec.stability, spec.checkpoint.keep_last
    if Reaction.ROLL_BACK in (stability.on_spike, stability.on_non_finite):
        kept = max(kept, stability.roll_back_checkpoints)
    return Retention(kept, spec.checkpoint.keep_every)
