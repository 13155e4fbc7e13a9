"""A job that uses every list whose items have defaults, as a person writes it."""

import copy
from typing import Any

from llmtrain.api.job import JobSpec
from tests.unit.operator.scenario import job_spec


def rich_spec() -> dict[str, Any]:
    """A spec without any default inside a list item."""
    spec = copy.deepcopy(job_spec())
    spec["pod"] = {"env": [{"name": "A"}]}
    spec["curation"]["filters"] = {
        "languages": [{"code": "en"}, {"code": "de", "minScore": "0.9"}],
        "classifiers": [{"name": "q", "path": "q.bin"}],
    }
    spec["training"] |= {
        "phases": [
            {"name": "a", "tokens": 400_000},
            {"name": "b", "tokens": 600_000, "mixture": [{"source": "docs", "weight": "1"}], "anneal": "Linear"},
        ],
        "batchRamp": [{"fromTokens": 5, "globalBatchTokens": 4096}],
    }
    spec["evaluation"] |= {
        "tasks": [
            {"name": "held-out", "perplexity": {}},
            {"name": "own", "template": {"prompt": "{{q}}"}, "dataFile": "own.jsonl"},
            {"name": "judged", "judge": {"ratingsFile": "people.csv"}, "dataFile": "judged.jsonl", "fewShot": 0},
            {"name": "arc", "task": "arc_easy", "dataFile": "arc.jsonl", "limit": 7},
        ],
        "suites": [{"name": "all", "tasks": ["own", "arc"]}],
        "judge": {"baseUrl": "http://judge/v1", "model": "m"},
        "require": [{"metric": "held-out/bits_per_byte", "atMost": "1.2"}],
        "duringTraining": {"everyTokens": 100, "require": [{"metric": "arc/acc", "atLeast": "0.3"}]},
    }
    return spec


def filled(spec: dict[str, Any]) -> dict[str, Any]:
    """As it was stored while the schema filled in defaults everywhere."""
    return JobSpec.model_validate(spec).to_dict()


def applied(spec: dict[str, Any]) -> dict[str, Any]:
    """As it is stored now: filled in everywhere but inside list items."""
    found: dict[str, Any] = _outside_items(spec, filled(spec))
    return found


def _outside_items(written: Any, full: Any) -> Any:
    if not isinstance(full, dict):
        return written
    return {k: _outside_items(written[k], v) if k in written else v for k, v in full.items()}
