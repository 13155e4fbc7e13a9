"""Estimates and comparisons as plain data with stable names: what `-o json` prints and the page carries."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from llmtrain.cost.comparison import Comparison, Pair, PlanResult
from llmtrain.cost.estimate import Estimate, ModelFacts, StageEstimate
from llmtrain.cost.owned import camel
from llmtrain.cost.ranges import Range
from llmtrain.cost.rent_or_own import Verdict
from llmtrain.cost.tornado import Bar
from llmtrain.scaling.law import ScalingLaw
from llmtrain.scaling.outcome import Outcome, Split

View = dict[str, Any]
ESTIMATE_SCHEMA = "llmtrain.dev/estimate/v1"
COMPARISON_SCHEMA = "llmtrain.dev/comparison/v1"


def estimate_view(estimate: Estimate, outcome: Outcome | None = None) -> View:
    """Schema `llmtrain.dev/estimate/v1`; hours of the wall clock, US dollars, kWh; the loss where it is expected."""
    return {
        "schema": ESTIMATE_SCHEMA,
        "job": estimate.job,
        "model": _model(estimate.model),
        "stages": [_stage(stage) for stage in estimate.stages],
        "totals": {
            "hours": quantiles(estimate.hours),
            "acceleratorHours": quantiles(estimate.accelerator_hours),
            "usd": quantiles(estimate.usd),
            "kwh": quantiles(estimate.kwh),
        },
        "storage": next((_storage(stage) for stage in estimate.stages if stage.storage), None),
        "development": {
            "multiplier": quantiles(estimate.development_multiplier),
            "usd": quantiles(estimate.development_usd),
        },
        "outcome": None if outcome is None else outcome_view(outcome),
        "assumptions": [asdict(each) for each in (*estimate.assumptions, *(outcome.assumptions if outcome else ()))],
        "warnings": [*estimate.warnings, *(outcome.warnings if outcome else ())],
    }


def quantiles(value: Range) -> View:
    """p10, p50, p90, to a millionth."""
    return {name: round(getattr(value, name), 6) for name in ("p10", "p50", "p90")}


def _model(facts: ModelFacts) -> View:
    return {
        "parameters": facts.parameters,
        "multiplyingParameters": facts.multiplying_parameters,
        "flopsPerToken": facts.flops_per_token,
        "trainFlops": facts.train_flops,
        "memoryGibPerAccelerator": {
            "states": round(facts.state_gib, 3),
            "activations": round(facts.activation_gib, 3),
            "total": round(facts.state_gib + facts.activation_gib, 3),
            "available": None if facts.available_gib is None else round(facts.available_gib, 3),
        },
    }


def _stage(stage: StageEstimate) -> View:
    return {
        "name": stage.name,
        "plan": stage.plan,
        "accelerators": stage.accelerators,
        "hours": quantiles(stage.hours),
        "acceleratorHours": quantiles(stage.accelerator_hours),
        "usd": quantiles(stage.usd),
        "kwh": quantiles(stage.kwh),
    }


def _storage(stage: StageEstimate) -> View | None:
    """Of the training, in no total and no bill; None where its plan does not price storage."""
    if stage.storage is None or stage.storage_usd is None:
        return None
    return {
        "keptGib": round(stage.storage.files.kept_gib, 3),
        "checkpointGib": round(stage.storage.files.checkpoint_gib, 3),
        "usd": quantiles(stage.storage_usd),
        "egressUsd": round(stage.storage.egress_usd, 6),
    }


def comparison_view(
    comparison: Comparison, outcome: Outcome | None = None, same_money: Mapping[str, Split] | None = None
) -> View:
    """Schema `llmtrain.dev/comparison/v1`: the training on every plan, every owned plan against every rented one.

    With `outcome` the loss that the training comes to, with `same_money` the best that its dollars buy on each plan.
    """
    bought = same_money or {}
    return {
        "schema": COMPARISON_SCHEMA,
        "job": comparison.job,
        "trainFlops": comparison.train_flops,
        "tokens": comparison.tokens,
        "outcome": None if outcome is None else outcome_view(outcome),
        "plans": [_result(result, bought.get(result.plan.name)) for result in comparison.results],
        "rentOrOwn": [_pair(pair) for pair in comparison.pairs],
        "skipped": [{"plan": plan, "reason": reason} for plan, reason in comparison.skipped],
    }


def _result(result: PlanResult, bought: Split | None) -> View:
    plan = result.plan
    return {
        "plan": plan.name,
        "tenure": plan.tenure,
        "commitment": plan.commitment or None,
        "accelerator": plan.chip.name if plan.chip else None,
        "accelerators": result.estimate.accelerators,
        "usdPerAcceleratorHour": float(plan.accelerator_hour_usd),
        "marginalUsdPerAcceleratorHour": round(plan.marginal_hour_usd, 6),
        "hours": quantiles(result.estimate.hours),
        "acceleratorHours": quantiles(result.estimate.accelerator_hours),
        "allocatedUsd": quantiles(result.estimate.usd),
        "avoidableUsd": quantiles(result.avoidable_usd),
        "kwh": quantiles(result.estimate.kwh),
        "storage": _storage(result.estimate),
        "usdPer1e21Flops": round(result.usd_per_1e21_flops, 6),
        "usdPerMillionTokens": round(result.usd_per_million_tokens, 9),
        "source": {"name": plan.quote.name, "date": plan.quote.date},
        "sameMoneyBestSplit": None if bought is None else _split(bought),
    }


def verdict_view(found: Verdict) -> View:
    """The fields of `llmtrain npv`."""
    cost = found.cost
    return {
        "capexUsd": cost.capex,
        "fixedPerAvailableHourUsd": cost.fixed_per_available_hour,
        "marginalHourUsd": cost.marginal_hour,
        "levelisedHourUsd": cost.levelised_hour,
        "npvOwnUsd": found.npv_own_usd,
        "npvRentUsd": found.npv_rent_usd,
        "breakEvenUtilization": found.utilization,
        "breakEvenUtilizationUncapped": found.utilization_uncapped,
        "breakEvenHours": found.hours,
        "breakEvenMonth": found.month,
    }


def _pair(pair: Pair) -> View:
    return {
        "owned": pair.owned.name,
        "rented": pair.rented.name,
        "cheaperAtPlanUtilization": pair.cheaper_at_plan_use,
        "cheaperForKnownHours": pair.cheaper_for_known_hours,
        "rentUsdPerOwnedAcceleratorHour": pair.rent.accelerator_hour_usd,
        "rentExtraShare": pair.rent.extra_share,
        "rentPaidWhenUnused": pair.rent.reserved,
        **verdict_view(pair.verdict),
        "owningPaysUpToUtilization": pair.verdict.utilization_limit,
        "breakEvenRentUsd": pair.break_even_rent_usd,
        "breakEvenAnnualAcceleratorHours": pair.break_even_annual_hours,
        "knownAnnualAcceleratorHours": pair.known_annual_hours,
        "otherAnnualAcceleratorHours": pair.owned.other_annual_hours,
        "availableAnnualAcceleratorHours": pair.available_annual_hours,
        "tornado": [_bar(bar) for bar in pair.tornado],
        "pricePaths": [
            {
                "name": path.name,
                "fallOomPerYear": path.fall_oom_per_year,
                "breakEvenUtilizationUncapped": path.utilization,
                "breakEvenMonth": path.month,
            }
            for path in pair.paths
        ],
    }


def _bar(bar: Bar) -> View:
    return {
        "input": camel(bar.field),
        "low": bar.low,
        "high": bar.high,
        "breakEvenUtilizationAtLow": bar.at_low,
        "breakEvenUtilizationAtHigh": bar.at_high,
        "source": bar.source,
    }


def outcome_view(found: Outcome) -> View:
    """Nats a token, bits a byte, tokens a parameter; the best split of the same 6 N D."""
    return {
        **_split(found.planned),
        "flops": found.flops,
        "bestSplit": _split(found.best),
        "computeSavedByBestSplitShare": round(found.wasted_share, 6),
        "bytesPerToken": found.text.bytes_per_token,
        "law": _law(found.law),
        "warnings": list(found.warnings),
    }


def _split(found: Split) -> View:
    return {
        "parameters": round(found.parameters),
        "tokens": round(found.tokens),
        "tokensPerParameter": round(found.tokens_per_parameter, 4),
        "lossNatsPerToken": quantiles(found.loss),
        "bitsPerByte": quantiles(found.bits_per_byte),
    }


def _law(law: ScalingLaw) -> View:
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
