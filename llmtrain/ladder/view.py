"""A ladder as plain data: what `-o json` prints, and the law that `--scaling-law` reads."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from llmtrain.ladder.plan import Target
from llmtrain.ladder.progress import Extrapolation, Step, observations, text_of
from llmtrain.pricing.views import outcome_view, quantiles
from llmtrain.scaling.document import SCHEMA

View = dict[str, Any]
LADDER_SCHEMA = "llmtrain.dev/ladder/v1"


def ladder_view(target: Target, budget: Decimal, steps: Sequence[Step], found: Extrapolation | None) -> View:
    """Schema `llmtrain.dev/ladder/v1`: the rungs, and what they say of the target once three have ended well."""
    return {
        "schema": LADDER_SCHEMA,
        "job": target.name,
        "budgetUsd": f"{budget:f}",
        "limitUsd": f"{sum((step.limit_usd for step in steps), Decimal(0)):f}",
        "costUsd": f"{sum((step.cost_usd for step in steps), Decimal(0)):f}",
        "rungs": [_step(step, found) for step in steps],
        "target": None if found is None else outcome_view(found.outcome) | {"usd": quantiles(found.usd)},
        "speedOverExpected": found and found.speed,
        "scatterOfLnLoss": None if found is None else found.fitted.sigma,
    }


def _step(step: Step, found: Extrapolation | None) -> View:
    fitted = None if found is None else found.fitted.law.loss(step.parameters, step.tokens)
    return {
        "rung": step.index,
        "job": step.name,
        "state": step.state,
        "parameters": step.parameters,
        "tokens": step.tokens,
        "limitUsd": f"{step.limit_usd:f}",
        "costUsd": f"{step.cost_usd:f}",
        "lossNatsPerToken": step.loss,
        "fittedLossNatsPerToken": fitted,
    }


def law_document(steps: Sequence[Step]) -> View:
    """Schema `llmtrain.dev/scaling-law/v1`, for `--scaling-law`."""
    runs = [{"parameters": run.parameters, "tokens": run.tokens, "loss": run.loss} for run in observations(steps)]
    text = text_of(steps)
    known = {} if text.sigma else {"bytesPerToken": text.bytes_per_token}
    return {"schema": SCHEMA, "runs": runs, **known}
