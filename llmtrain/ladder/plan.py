"""The rungs of a ladder: sizes and tokens by the law, dollars by the estimate, together at most the budget.

Five sizes, each 0.3 of the one above, each trained short and long: alone on one line of N and D the two terms of the law
cannot be told apart. How wide p10 to p90 of the target are depends most on how far the sizes lie apart: those of 0.4 leave
a fifth more at equal cost. The largest is as large as the money allows. Batch and learning rate follow the compute by the
exponents of DeepSeek LLM (Bi et al. 2024, arXiv 2401.02954, section 3.1), relative to the target's own.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_FLOOR, Decimal
from itertools import accumulate
from typing import Any

from llmtrain.api.job import JobSpec
from llmtrain.api.model import Architecture
from llmtrain.api.plan import PlanSpec
from llmtrain.api.sizing import architecture_of
from llmtrain.cost.errors import InputError
from llmtrain.cost.estimate import Estimate, estimate, estimate_stage, model_facts
from llmtrain.cost.plans import Plan
from llmtrain.ladder.shapes import Sibling, nearest, siblings
from llmtrain.pricing.job import Known, run_of
from llmtrain.pricing.plans import plan_of
from llmtrain.pricing.work import job_model, vocabulary_size
from llmtrain.scaling.fit import FEWEST_RUNS
from llmtrain.scaling.law import ScalingLaw

JOBS, MOST_JOBS = 10, 20
SIZE_STEP, CLOSEST_STEP = 0.3, 0.7
"""A size over the one above; closer together where the smallest model that can be made is not small enough."""
MOST_HEADROOM = 2
"""A rung's limit over the p90 of its estimate, however much is left of the budget."""
SHORT_AND_LONG = 2.0
"""Tokens are a half and twice of the middle between the law's best and the target's tokens per parameter."""
MOST_OVERTRAINED = 10.0
BATCH_EXPONENT, RATE_EXPONENT = 0.3271, -0.1250
FEWEST_STEPS = 200
HOURS = 24.0
"""A rung gets accelerators until its training takes no longer."""
LARGEST_SHARE = 0.5
"""Of the target's size: a larger rung would be the target. No rung sees more tokens than it does, either."""
CLOSE = 1.01
"""The largest size is found to a hundredth."""
MICRODOLLAR = Decimal("0.000001")


@dataclass(frozen=True)
class Rung:
    """One small job; `usd` is the p90 of its estimate, `limit_usd` its own budget."""

    index: int
    parameters: int
    spec: JobSpec
    usd: float
    limit_usd: Decimal = Decimal(0)

    @property
    def tokens(self) -> int:
        """Tokens that it is trained on."""
        return self.spec.training.tokens


@dataclass(frozen=True)
class Target:
    """The job that the ladder is for, with everything that its rungs are made from."""

    name: str
    spec: JobSpec
    plans: Mapping[str, Plan]
    architecture: Architecture
    vocabulary: int
    parameters: int
    estimate: Estimate
    curation_usd: float
    """p90 of what curation costs the first rung; nothing where the data is there."""

    @property
    def tokens(self) -> int:
        """Tokens of the target's training."""
        return self.spec.training.tokens

    @property
    def flops(self) -> float:
        """6 N D."""
        return 6.0 * self.parameters * self.tokens


def target_of(
    name: str, spec: JobSpec, plans: Mapping[str, PlanSpec], *, curated: bool = False, input_bytes: float | None = None
) -> Target:
    """From a manifest. InputError where no ladder can lead to it."""
    if spec.training.continue_from is not None:
        raise InputError("spec.training.continueFrom", "must not be set: a ladder tells of training from nothing")
    if input_bytes is not None and not 0 <= input_bytes < math.inf:
        raise InputError("--input-bytes", f"must be a number that is not negative, not {input_bytes:g}")
    priced = {plan: plan_of(plan, value) for plan, value in plans.items()}
    whole = estimate(run_of(name, spec, priced, Known(input_bytes)))
    vocabulary = vocabulary_size(spec)
    curation = whole.stage("Curation")
    return Target(
        name=name,
        spec=spec,
        plans=priced,
        architecture=architecture_of(spec.model, vocabulary, spec.training.tokens),
        vocabulary=vocabulary,
        parameters=job_model(spec).parameters,
        estimate=whole,
        curation_usd=0.0 if curated or curation is None else curation.usd.p90,
    )


def plan_ladder(target: Target, budget: Decimal, law: ScalingLaw, jobs: int = JOBS) -> Sequence[Rung]:
    """Rungs whose limits add up to the budget at most, the largest as large as it allows. InputError where none fits."""
    if not budget.is_finite() or budget <= 0:
        raise InputError("--budget", f"must be a number of US dollars above zero, not {budget}")
    check_jobs(jobs)
    maker = _Maker(target, law, jobs)
    low, high = maker.least, LARGEST_SHARE * target.parameters
    if high <= low:
        raise InputError("spec.model", f"{target.parameters:,} parameters are too few for {jobs} smaller models")
    smallest = maker.rungs(low)
    if (least := _total(smallest)) > budget:
        said = f"the smallest {jobs} jobs, {smallest[0].parameters:,} to {smallest[-1].parameters:,} parameters, take up to"
        curation = f", {target.curation_usd:.2f} of it for curation" if target.curation_usd >= 0.01 else ""
        raise InputError("--budget", f"must be above {budget}: {said} {least:.2f} US dollars{curation}")
    while high / low > CLOSE:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if _total(maker.rungs(middle)) <= budget else (low, middle)
    return limited(maker.rungs(low), budget)


def check_jobs(jobs: int) -> None:
    """InputError where no ladder has so many."""
    if not FEWEST_RUNS <= jobs <= MOST_JOBS:
        raise InputError("--jobs", f"must be from {FEWEST_RUNS} to {MOST_JOBS}, not {jobs}")


def limited(rungs: Sequence[Rung], budget: Decimal) -> Sequence[Rung]:
    """What is left of the budget goes to all alike, to the microdollar, never above their sum."""
    share = min(Decimal(MOST_HEADROOM), budget / _total(rungs))
    return [
        replace(rung, limit_usd=(Decimal(repr(rung.usd)) * share).quantize(MICRODOLLAR, rounding=ROUND_FLOOR))
        for rung in rungs
    ]


def _total(rungs: Sequence[Rung]) -> Decimal:
    return sum((Decimal(repr(rung.usd)) for rung in rungs), Decimal(0))


class _Maker:
    """Makes the rungs whose largest has so many parameters."""

    def __init__(self, target: Target, law: ScalingLaw, jobs: int) -> None:
        self._target, self._law = target, law
        self._small = siblings(target.architecture, target.spec.model.context_length, target.vocabulary)
        self._places, self._sizes = places(jobs), 1 + max(size for size, _ in places(jobs))
        self._known: dict[tuple[int, int], Rung] = {}
        if not self._small:
            raise InputError("spec.model", "is too narrow for a smaller model of its kind")

    @property
    def least(self) -> float:
        """Parameters of the largest rung where the smallest is the smallest model that can be made."""
        return self._smallest / math.pow(CLOSEST_STEP, self._sizes - 1)

    @property
    def _smallest(self) -> int:
        return min(each.parameters for each in self._small)

    def rungs(self, largest: float) -> Sequence[Rung]:
        """From the cheapest on."""
        step = max(SIZE_STEP, math.pow(self._smallest / largest, 1 / (self._sizes - 1)))
        made = [self._rung(nearest(self._small, largest * step**size), by) for size, by in self._places]
        ordered = sorted(made, key=lambda rung: rung.parameters * rung.tokens)
        first = replace(ordered[0], usd=ordered[0].usd + self._target.curation_usd)
        return [replace(rung, index=index) for index, rung in enumerate([first, *ordered[1:]])]

    def _rung(self, small: Sibling, by: float) -> Rung:
        tokens = round(self._tokens(small.parameters) * by)
        key = small.parameters, tokens
        if key not in self._known:
            spec = rung_spec(self._target, small, tokens)
            self._known[key] = Rung(0, small.parameters, spec, self._usd(spec))
        return self._known[key]

    def _tokens(self, count: int) -> float:
        """In the middle between what is best for such a model and the target's tokens per parameter; data that is there."""
        best = self._law.tokens_for(count)
        own = count * self._target.tokens / self._target.parameters
        middle = math.sqrt(best * min(max(own, best / MOST_OVERTRAINED), best * MOST_OVERTRAINED))
        return min(middle, self._target.tokens / SHORT_AND_LONG)

    def _usd(self, spec: JobSpec) -> float:
        """p90 of preflight and training; curation is counted once, and apart."""
        run = run_of(self._target.name, spec, self._target.plans)
        return sum(estimate_stage(run, stage).usd.p90 for stage in run.stages if stage.name != "Curation")


def places(jobs: int) -> Sequence[tuple[int, float]]:
    """Steps below the largest size, and relative tokens, of each job: two lengths a size from six jobs on, else in turn."""
    if jobs < 2 * FEWEST_RUNS:
        return [(each, SHORT_AND_LONG ** (1 if each % 2 else -1)) for each in range(jobs)]
    pairs = [(each, by) for each in range((jobs + 1) // 2) for by in (1 / SHORT_AND_LONG, SHORT_AND_LONG)]
    return pairs[len(pairs) - jobs :]


def rung_spec(target: Target, small: Sibling, tokens: int) -> JobSpec:
    """The target's manifest with a smaller model, fewer tokens, and what follows from both; on as few pods as will do."""
    workers = target.spec.training.cluster.workers
    most = workers.replicas * max(1, workers.accelerators_per_worker)
    units = 1
    while True:
        spec = _on(target, small, tokens, units)
        if 2 * units > most or _enough(target, spec):
            return spec
        units *= 2


def _enough(target: Target, spec: JobSpec) -> bool:
    """Whether the model fits into the accelerators' memory, and the training ends within a day."""
    run = run_of(target.name, spec, target.plans)
    facts = model_facts(run.training.cluster, run.training_work)
    room = facts.available_gib is None or facts.state_gib + facts.activation_gib <= facts.available_gib
    return room and estimate_stage(run, run.training).hours.p50 <= HOURS


def _on(target: Target, small: Sibling, tokens: int, units: int) -> JobSpec:
    body = target.spec.to_dict()
    for gone in ("evaluation", "comparePlans", "budget", "suspend", "ttlSecondsAfterFinished"):
        body.pop(gone, None)
    body["model"] = {"architecture": small.architecture.to_dict(), "contextLength": target.spec.model.context_length}
    training = body["training"]
    for gone in ("parallelism", "batchRamp", "evaluateEveryTokens"):
        training.pop(gone, None)
    training["cluster"]["workers"] |= _workers(target.spec, units)
    compute = small.parameters * tokens / (target.parameters * target.tokens)
    batch = _batch(target.spec, tokens, compute, units)
    whole = max(1, round(tokens / batch)) * batch
    training |= {"tokens": whole, "globalBatchTokens": batch}
    training |= _stretched(target.spec, whole / target.tokens, whole)
    training["optimizer"] |= _optimizer(target.spec, whole / target.tokens, compute)
    if Decimal(target.spec.curation.validation.share) > 0:
        training["evaluateEveryTokens"] = whole
    return JobSpec.model_validate(body)


def _workers(spec: JobSpec, units: int) -> dict[str, int]:
    """Accelerators of one worker first, then more workers; without accelerators, workers."""
    each = min(units, spec.training.cluster.workers.accelerators_per_worker)
    return {"replicas": units // max(1, each), "acceleratorsPerWorker": each, "minReplicas": 0}


def _batch(spec: JobSpec, tokens: int, compute: float, units: int) -> int:
    """Tokens a step: whole sequences for every process, and steps enough to learn in."""
    wanted = min(spec.training.global_batch_tokens * math.pow(compute, BATCH_EXPONENT), tokens / FEWEST_STEPS)
    piece = spec.model.context_length * units
    return max(1, round(wanted / piece)) * piece


def _stretched(spec: JobSpec, share: float, tokens: int) -> dict[str, Any]:
    """Phases and ramps at the same share of the training."""
    ramp = [step.to_dict() | {"fromTokens": round(step.from_tokens * share)} for step in spec.training.sequence_ramp]
    ends = [round(end * share) for end in accumulate(phase.tokens for phase in spec.training.phases)]
    bounds = [0, *ends[:-1], tokens] if ends else []
    phases = [
        phase.to_dict() | {"tokens": max(1, end - begin)}
        for phase, begin, end in zip(spec.training.phases, bounds, bounds[1:], strict=False)
    ]
    return {"sequenceRamp": ramp, "phases": phases}


def _optimizer(spec: JobSpec, share: float, compute: float) -> dict[str, Any]:
    own = spec.training.optimizer
    rates = {"peakLearningRate": own.peak_learning_rate, "muonLearningRate": own.muon_learning_rate}
    warmup = round(own.warmup_tokens * share)
    # Rounded one by one they could overlap by a token, where the target's just do not.
    decay = min(round(own.decay_tokens * share), round((own.warmup_tokens + own.decay_tokens) * share) - warmup)
    return {name: f"{float(rate) * math.pow(compute, RATE_EXPONENT):.4g}" for name, rate in rates.items()} | {
        "warmupTokens": warmup, "decayTokens": decay,
    }  # fmt: skip
