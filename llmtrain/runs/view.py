"""A comparison of runs as plain data with stable names: what `-o json` prints."""

from typing import Any

from llmtrain.cost.money import MICRO
from llmtrain.runs.comparison import Equal, RunsComparison
from llmtrain.runs.facts import Run

SCHEMA = "llmtrain.dev/runs/v1"
View = dict[str, Any]


def runs_view(found: RunsComparison) -> View:
    """Schema `llmtrain.dev/runs/v1`: US dollars; nats per token; lists of losses in the order of `runs`."""
    return {
        "schema": SCHEMA,
        "runs": [_run(run) for run in found.runs],
        "lossAtEqualTokens": [{"tokens": one.at, "losses": list(one.losses)} for one in found.equal_tokens],
        "lossAtEqualDollars": [_dollars(one) for one in found.equal_dollars],
        "manifestDifferences": [{"path": one.path, "values": list(one.values)} for one in found.manifest],
    }


def _dollars(one: Equal) -> View:
    return {"trainingUsd": one.at, "losses": list(one.losses)}


def _run(run: Run) -> View:
    return {
        "name": run.name,
        "state": run.state,
        "data": [{"source": one.name, "share": one.share, "keptTokens": one.kept} for one in run.sources],
        "model": dict(run.model),
        "tokens": run.tokens,
        "scores": dict(run.scores),
        "bill": {
            "costUsd": run.cost / MICRO,
            "costNowUsd": run.cost_now / MICRO,
            "byStageUsd": {name: micro / MICRO for name, micro in run.by_stage.items()},
            "podHours": run.pod_seconds / 3600,
            "acceleratorHours": run.accelerator_seconds / 3600,
            "trainingUsdPerMillionTokens": None if run.usd_per_token is None else run.usd_per_token * 1e6,
        },
        "waste": {
            "usd": run.wasted / MICRO,
            "share": run.wasted / run.settled if run.settled else None,
            "byKindUsd": {kind: micro / MICRO for kind, micro in run.waste.items() if micro},
        },
        "missing": list(run.missing),
    }
