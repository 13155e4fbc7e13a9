"""A decision as plain data with stable names: what `-o json` prints."""

from dataclasses import asdict
from typing import Any

from llmtrain.cost.owned import capital
from llmtrain.decision.analysis import Bar, Decision, Result
from llmtrain.pricing.views import quantiles

SCHEMA = "llmtrain.dev/decision/v1"
View = dict[str, Any]


def decision_view(decision: Decision) -> View:
    """Schema `llmtrain.dev/decision/v1`: US dollars, present values at the beginning of use; kWh; tokens a month."""
    return {
        "schema": SCHEMA,
        "tokensPerMonth": decision.tokens_per_month,
        "months": decision.months,
        "seed": decision.seed,
        "draws": decision.draws,
        "cheapest": decision.best.option.name,
        "options": [_option(result) for result in decision.results],
        "breakEven": [
            {
                "option": each.option,
                "against": each.against,
                "fromTokensPerMonth": each.from_tokens,
                "toTokensPerMonth": each.to_tokens,
            }
            for each in decision.break_evens
        ],
    }


def _option(result: Result) -> View:
    option, costs = result.option, result.costs
    kwh = costs.energy_kwh
    return {
        "name": option.name,
        "kind": option.kind.value,
        "npvUsd": result.npv,
        "usd": quantiles(result.usd),
        "shareCheapest": result.cheapest,
        "componentsUsd": costs.components(),
        "trainingAcceleratorHours": costs.training_hours,
        "finalRunUsd": costs.final_run_usd,
        "capexUsd": None if costs.owned is None else capital(costs.owned),
        "trainingKwh": None if costs.owned is None else kwh,
        "trainingEnergyUsd": None if costs.owned is None else kwh * costs.owned.kwh_usd,
        "teamUsdPerYear": option.values["builders"] * option.values["personYearUsd"],
        "tornado": [_bar(bar) for bar in result.tornado],
        "figures": [asdict(figure) for figure in option.figures.values()],
    }


def _bar(bar: Bar) -> View:
    return {
        "figure": bar.figure,
        "low": bar.low,
        "high": bar.high,
        "npvAtLowUsd": bar.at_low,
        "npvAtHighUsd": bar.at_high,
        "source": bar.source,
        "date": bar.date,
    }
