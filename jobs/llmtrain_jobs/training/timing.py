"""From the spec to the course of training: all steps, and the learning rate over them. Needs no torch: preflight asks."""

from llmtrain.api.training import Anneal, Training
from llmtrain_jobs.errors import bad_input
from llmtrain_jobs.training.schedule import PhaseRate, RatePlan
from llmtrain_jobs.training.timeline import Ramp, Timeline


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
