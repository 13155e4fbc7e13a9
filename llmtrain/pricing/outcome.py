"""The loss that a manifest's training is expected to come to, and what it is worth on each plan."""

from collections.abc import Mapping
from typing import Any

from llmtrain.api.job import JobSpec
from llmtrain.cost.comparison import Comparison
from llmtrain.cost.ranges import Range
from llmtrain.pricing.work import job_model
from llmtrain.scaling.law import ScalingLaw
from llmtrain.scaling.outcome import Expectation, Outcome, Split, Text, outcome, split

View = dict[str, Any]


def job_outcome(spec: JobSpec, expected: Expectation, text: Text) -> Outcome | None:
    """None where training goes on from another model: no law says what that one knows."""
    if spec.training.continue_from is not None:
        return None
    return outcome(expected, job_model(spec).parameters, float(spec.training.tokens), text)


def same_money(comparison: Comparison, expected: Expectation, found: Outcome) -> Mapping[str, Split]:
    """By plan: the best split of the FLOPs that the first plan's dollars, which are the job's own, buy there."""
    results = comparison.results
    if not results or results[0].usd_per_1e21_flops <= 0:
        return {}
    own = results[0].usd_per_1e21_flops
    flops = {each.plan.name: found.flops * own / each.usd_per_1e21_flops for each in results if each.usd_per_1e21_flops}
    return {plan: split(expected, *expected.law.best_split(amount), found.text) for plan, amount in flops.items()}


def outcome_view(found: Outcome) -> View:
    """Nats a token, bits a byte, tokens a parameter; the best split of the same 6 N D."""
    return {
        **split_view(found.planned),
        "flops": found.flops,
        "bestSplit": split_view(found.best),
        "computeSavedByBestSplitShare": round(found.wasted_share, 6),
        "bytesPerToken": found.text.bytes_per_token,
        "law": law_view(found.law),
        "warnings": list(found.warnings),
    }


def split_view(found: Split) -> View:
    """One split."""
    return {
        "parameters": round(found.parameters),
        "tokens": round(found.tokens),
        "tokensPerParameter": round(found.tokens_per_parameter, 4),
        "lossNatsPerToken": _quantiles(found.loss),
        "bitsPerByte": _quantiles(found.bits_per_byte),
    }


def _quantiles(value: Range) -> View:
    return {name: round(getattr(value, name), 6) for name in ("p10", "p50", "p90")}


def law_view(law: ScalingLaw) -> View:
    """The constants, by the names of `llmtrain.dev/scaling-law/v1`."""
    return {
        "irreducible": law.irreducible,
        "a": law.a,
        "b": law.b,
        "alpha": law.alpha,
        "beta": law.beta,
        "source": law.source,
        "date": law.date,
    }
