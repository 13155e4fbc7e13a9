"""One run as it is compared: what its status and its artifacts say, in numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from typing import Any

from pydantic import ValidationError

from llmtrain.api.counts import parameters
from llmtrain.api.dimensions import ModelConfig
from llmtrain.api.job import JobSpec
from llmtrain.api.sizing import model_config
from llmtrain.api.status import Stage
from llmtrain.cost.money import MICRO
from llmtrain.ledger.goodput import WASTE, score_name
from llmtrain.ledger.now import cost_now_micro_usd
from llmtrain.report.facts import Facts

Curve = tuple[tuple[float, float], ...]
"""Tokens and loss, in the order of the tokens."""


@dataclass(frozen=True)
class Source:
    """Of the data. `share` of the training's tokens, 0 to 1, and `kept` tokens that there are; None where that is not known."""

    name: str
    share: float | None
    kept: int | None


@dataclass(frozen=True)
class Run:
    """Amounts are microdollars; `waste` by kind and `settled` are of pods whose bill is closed."""

    name: str
    state: str
    spec: Mapping[str, Any]
    sources: tuple[Source, ...]
    model: Mapping[str, int | str]
    losses: Curve
    scores: Mapping[str, str]
    cost: int
    cost_now: int
    by_stage: Mapping[str, int]
    pod_seconds: int
    accelerator_seconds: int
    settled: int
    waste: Mapping[str, int]
    missing: tuple[str, ...]

    @property
    def tokens(self) -> float:
        """Tokens that the training has seen."""
        return self.losses[-1][0] if self.losses else 0.0

    @property
    def training_usd(self) -> float:
        """What the training has cost, its evaluators and its waste included, US dollars."""
        return self.by_stage.get(Stage.TRAINING.value, 0) / MICRO

    @property
    def usd_per_token(self) -> float | None:
        """The same spread over its tokens; None where either is nothing."""
        return self.training_usd / self.tokens if self.tokens and self.training_usd else None

    @property
    def wasted(self) -> int:
        """Microdollars of all kinds."""
        return sum(self.waste.values())


def run_of(facts: Facts) -> Run:
    """From what the report reads of a job."""
    ledger, spec = facts.status.ledger, _spec_of(facts)
    stages = [
        (stage.value, sum(item.cost_micro_usd for item in facts.amounts if item.stage is stage)) for stage in Stage
    ]
    return Run(
        name=f"{facts.namespace}/{facts.name}",
        state=facts.status.state or "Pending",
        spec=spec.to_dict() if spec else facts.spec,
        sources=_sources(spec, facts.counts) if spec else (),
        model=_model(spec, facts.counts) if spec else {},
        losses=_losses(facts),
        scores={
            f"{stage.name.value}: {score_name(stage.name, name)}": value
            for stage in facts.status.stages
            for name, value in stage.scores.items()
        },
        cost=ledger.total_micro_usd,
        cost_now=cost_now_micro_usd(ledger),
        by_stage={name: micro for name, micro in stages if micro},
        pod_seconds=sum(item.pod_seconds for item in facts.amounts),
        accelerator_seconds=sum(item.accelerator_seconds for item in facts.amounts),
        settled=sum(entry.cost_micro_usd for entry in ledger.entries),
        waste={kind: sum(getattr(entry.cost_split, kind) for entry in ledger.entries) for kind in WASTE},
        missing=facts.missing,
    )


def _spec_of(facts: Facts) -> JobSpec | None:
    """None of a manifest that an older version let in and this one does not read."""
    try:
        return JobSpec.model_validate(facts.spec)
    except ValidationError:
        return None


def _losses(facts: Facts) -> Curve:
    """The curve; where that was not read, the last loss. What is no number is left out."""
    points = [(float(point.tokens), point.loss) for point in facts.losses]
    stage = facts.stage(Stage.TRAINING)
    if not points and stage is not None:
        points = _last(stage.scores)
    return tuple(sorted(point for point in points if isfinite(point[1])))


def _last(scores: Mapping[str, str]) -> list[tuple[float, float]]:
    try:
        return [(float(scores["tokens"]), float(scores["loss"]))]
    except (KeyError, ValueError):
        return []


def _sources(spec: JobSpec, counts: Mapping[str, Any]) -> tuple[Source, ...]:
    kept = {name: int(source["tokens"]) for name, source in counts.get("sources", {}).items()}
    names = [source.name for source in spec.curation.sources]
    shares = _shares(spec, names, kept)
    return tuple(Source(name, shares.get(name), kept.get(name)) for name in names)


def _shares(spec: JobSpec, names: Sequence[str], kept: Mapping[str, int]) -> dict[str, float]:
    """Of all phases by their tokens; a phase without a mixture takes as much of each source as there is. Empty where that is not known."""
    whole = sum(kept.values())
    natural = {name: kept.get(name, 0) / whole for name in names} if whole else {}
    total = dict.fromkeys(names, 0.0)
    for tokens, mixture in _phases(spec):
        weights = sum(mixture.values(), Decimal(0))
        shares = {name: float(weight / weights) for name, weight in mixture.items()} if weights else natural
        if not shares:
            return {}
        for name in names:
            total[name] += shares.get(name, 0.0) * tokens / spec.training.tokens
    return total


def _phases(spec: JobSpec) -> list[tuple[int, dict[str, Decimal]]]:
    """Tokens and weights by source of each; no weights: as the data is."""
    phases = [(p.tokens, {share.source: Decimal(share.weight) for share in p.mixture}) for p in spec.training.phases]
    return phases or [(spec.training.tokens, {})]


def _model(spec: JobSpec, counts: Mapping[str, Any]) -> dict[str, int | str]:
    """What tells architectures apart. The vocabulary is the curated one where that is known."""
    vocabulary = int(counts.get("vocabulary_size", 0)) or spec.curation.tokenizer.train.vocabulary_size
    config = model_config(spec.model, vocabulary, spec.training.tokens)
    return {
        "preset": spec.model.preset.value if spec.model.preset else "-",
        "parameters": parameters(config),
        **_shape(config),
    }


def _shape(config: ModelConfig) -> dict[str, int | str]:
    return {
        "layers": config.layers,
        "embedding": config.embedding,
        "heads": config.heads,
        "key-value heads": config.groups,
        "head width": config.width,
        "feed-forward": config.feed_forward,
        "vocabulary": config.vocabulary,
        "context": config.context,
        "positions": config.positions.value,
        "norm": config.norm.value,
        "activation": f"{'gated ' if config.gated else ''}{config.activation.value}",
        "tied embeddings": "yes" if config.tied else "no",
    }
