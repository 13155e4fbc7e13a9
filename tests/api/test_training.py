"""Step 4 against the real apiserver: what cannot be trained is refused at apply; the message holds the rule."""

from typing import Any

import pytest

from tests.api.conftest import Api
from tests.api.test_manifests import changed

PHASE = {"name": "first", "tokens": 400_000}
REST = {"name": "second", "tokens": 600_000}
LARGE = 2**24
"""Tokens of a batch that goes with every number of workers here."""
SUM = "the tokens of `phases` must add up to `tokens`"
ONE = "at most one of `seconds`, `steps` and `auto` may be set"
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "phases too short": ({"tokens": 1_000_001, "phases": [PHASE, REST]}, SUM),
    "phases too long": ({"tokens": 999_999, "phases": [PHASE, REST]}, SUM),
    "two intervals": ({"checkpoint": {"interval": {"seconds": 60, "steps": 10}}}, ONE),
    "steps and auto": ({"checkpoint": {"interval": {"auto": True, "steps": 10}}}, ONE),
    "rest": ({"workers": 6, "parallelism": {"tensor": 4}}, "processes / (`parallelism.tensor` x `parallelism.pipeline` x `parallelism.context`) must leave no rest"),
    "data": ({"workers": 4, "parallelism": {"tensor": 2, "data": "4"}}, "`parallelism.data` must be Auto or processes / (`parallelism.tensor` x"),
    "replicas of tensors": ({"workers": 4, "parallelism": {"tensor": 2, "sharding": "Ddp"}}, "with `parallelism.sharding` Fsdp2"),
    "three dimensions": (
        {"workers": 8, "parallelism": {"tensor": 2, "pipeline": 2}},
        "`tensor` x `pipeline` must be the number of processes",
    ),
    "interleaved tensors": (
        {"workers": 4, "parallelism": {"tensor": 2, "pipeline": 2, "schedule": "Interleaved"}},
        "`parallelism.schedule` Interleaved is not tested",
    ),
    "a rest of context": ({"workers": 6, "parallelism": {"context": 4}}, "must leave no rest"),
    "context of a pipeline": ({"workers": 4, "parallelism": {"context": 2, "pipeline": 2}}, "`parallelism.context` and `parallelism.pipeline` both above 1 are not tested"),
    "context of hsdp": ({"workers": 8, "parallelism": {"context": 2, "sharding": "Hsdp", "shardSize": 2}}, "`parallelism.context` above 1 goes with `parallelism.sharding` Ddp or Fsdp2 only"),
    "data x context x tensor": ({"workers": 8, "parallelism": {"context": 2, "tensor": 2}}, "`context` x `tensor` must be the number of processes"),
    "fp8 on CPUs": ({"workers": 2, "precision": "Fp8Mixed"}, "`precision` Fp8Mixed needs accelerators"),
    "fp8 of tensors": (
        {"workers": 2, "device": "Auto", "precision": "Fp8Mixed", "parallelism": {"tensor": 2}},
        "`precision` Fp8Mixed is not tested with `parallelism.tensor`",
    ),
    "hsdp": ({"workers": 6, "parallelism": {"sharding": "Hsdp", "shardSize": 4}}, "divide the processes into two replicas or more"),
    "hsdp of one replica": ({"workers": 4, "parallelism": {"sharding": "Hsdp", "shardSize": 4}}, "divide the processes into two replicas or more"),
    "muon in shards": ({"workers": 2, "optimizer": {"name": "Muon"}}, "`optimizer.name` Muon needs whole matrices"),
}  # fmt: skip
WARM = "`optimizer.warmupTokens` must not be above `tokens`"
OVERLAP = "`optimizer.warmupTokens` and `decayTokens` (0: a fifth of `tokens`) together must not be above `tokens`"
WSD = {"schedule": "WarmupStableDecay"}
REFUSED |= {
    "warm-up beyond the end": ({"tokens": 2000, "optimizer": {"warmupTokens": 2001}}, WARM),
    "decay within warm-up": ({"tokens": 2000, "optimizer": WSD | {"warmupTokens": 1000, "decayTokens": 1001}}, OVERLAP),
    "a fifth within warm-up": ({"tokens": 2000, "optimizer": WSD | {"warmupTokens": 1601}}, OVERLAP),
}
REFUSED |= {
    "two origins": (
        {"continueFrom": {"artifact": "0" * 16, "huggingFace": "models/llama"}},
        "exactly one of `artifact`",
    ),
    "no origin": ({"continueFrom": {}}, "exactly one of `artifact` and `huggingFace`"),
    "a folder's optimizer": (
        {"continueFrom": {"huggingFace": "models/llama", "state": "WeightsAndOptimizer"}},
        "`state` must be Weights",
    ),
}
ACCEPTED: dict[str, dict[str, Any]] = {
    "phases": {"tokens": 1_000_000, "phases": [PHASE, REST]},
    "warm-up to the end": {"tokens": 2000, "optimizer": {"warmupTokens": 2000}},
    "decay behind warm-up": {"tokens": 2000, "optimizer": WSD | {"warmupTokens": 1000, "decayTokens": 1000}},
    "a fifth behind warm-up": {"tokens": 2000, "optimizer": WSD | {"warmupTokens": 1600}},
    "no interval": {"checkpoint": {"interval": {}}},
    "auto": {"checkpoint": {"interval": {"auto": True}}},
    "steps": {"checkpoint": {"interval": {"steps": 10}}},
    "ddp": {"workers": 8, "parallelism": {"sharding": "Ddp", "data": "8"}},
    "fsdp2 x tensor": {"workers": 8, "parallelism": {"tensor": 4, "data": "2"}},
    "fsdp2 x pipeline": {"workers": 8, "parallelism": {"pipeline": 4, "schedule": "Interleaved"}},
    "pipeline x tensor": {"workers": 4, "parallelism": {"tensor": 2, "pipeline": 2}},
    "fp8": {"workers": 2, "device": "Auto", "precision": "Fp8Mixed"},
    "ddp x context": {"workers": 8, "parallelism": {"context": 4, "sharding": "Ddp", "data": "2"}},
    "fsdp2 x context": {"workers": 8, "parallelism": {"context": 2}},
    "context x tensor": {"workers": 8, "parallelism": {"context": 4, "tensor": 2}},
    "hsdp": {"workers": 8, "parallelism": {"sharding": "Hsdp", "shardSize": 4}},
    "artifact": {"continueFrom": {"artifact": "0" * 16, "state": "WeightsAndOptimizer"}},
    "folder": {"continueFrom": {"huggingFace": "models/llama"}},
    "muon": {"workers": 2, "optimizer": {"name": "Muon"}, "parallelism": {"sharding": "Ddp"}},
}


def with_training(job: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The demo's job with another training."""
    made = changed(job, "metadata.name", "other")
    changes = {"globalBatchTokens": LARGE} | changes
    workers = changes.pop("workers", None)
    for field, value in changes.items():
        made = changed(made, f"spec.training.{field}", value)
    return changed(made, "spec.training.cluster.workers.replicas", workers) if workers else made


@pytest.mark.parametrize("case", list(REFUSED))
def test_what_cannot_be_trained_is_refused(case: str, api: Api, demo_job: dict[str, Any]) -> None:
    changes, words = REFUSED[case]
    assert words in api.direct.refusal(with_training(demo_job, changes))


@pytest.mark.parametrize("case", list(ACCEPTED))
def test_what_is_tested_is_accepted(case: str, api: Api, demo_job: dict[str, Any]) -> None:
    assert api.direct.refusal(with_training(demo_job, ACCEPTED[case])) == ""
