"""Divisions of the processes that cannot be are refused, with the arithmetic."""

from dataclasses import replace
from typing import Any

import pytest
from llmtrain_jobs.training.layout import Layout, LayoutError, ModelFacts, check, layout_of

from llmtrain.api.training import OptimizerName, Parallelism, Sharding

MODEL = ModelFacts(layers=8, heads=8, key_value_heads=4, feed_forward=64, vocabulary=256, context=128, tied=False)


def checked(processes: int, model: ModelFacts = MODEL, windows: int = 16, **spec: Any) -> Layout:
    layout = layout_of(Parallelism.model_validate(spec), processes)
    check(layout, model, OptimizerName.ADAMW, [windows], False)
    return layout


def test_auto_gives_data_what_the_others_leave() -> None:
    assert checked(16, tensor=4).data == 4
    assert checked(8, sharding="Ddp") == Layout(data=8, sharding=Sharding.DDP)
    assert checked(8, sharding="Hsdp", shardSize=4).replica == 4
    assert checked(8, tensor=2).replica == 2


@pytest.mark.parametrize(
    ("processes", "spec", "message"),
    [
        (6, {"tensor": 4}, "6 processes are no multiple of tensor 4 x pipeline 1 = 4"),
        (8, {"data": "4"}, r"`training.parallelism.data` is 4, but 8 processes / \(tensor 1 x pipeline 1\) = 8"),
        (8, {"sharding": "Hsdp", "shardSize": 3}, "`training.parallelism.shardSize` is 3; .* the 8 data-parallel"),
        (8, {"tensor": 8}, "key-value heads 4 / 8 leaves 4"),
        (
            8,
            {"tensor": 2, "sharding": "Ddp"},
            "tensor 2 x pipeline 1 with data 4 goes with sharding Fsdp2, not with Ddp",
        ),
        (12, {"pipeline": 12}, "8 layers cannot fill pipeline 12 x virtual 1 = 12 stages"),
        (3, {"pipeline": 3}, r"16 sequences / \(data 1 x micro-batches 6 = 6\) leaves 4"),
        (4, {"pipeline": 4, "schedule": "Interleaved", "microBatches": 2}, "2 / pipeline 4 leaves 2"),
        (4, {"pipeline": 2, "tensor": 2, "schedule": "Interleaved"}, "not tested together with tensor"),
        (32, {}, "a step has 16 sequences for 32 data-parallel processes; .* at least 32 x 128 = 4096"),
    ],
)
def test_what_does_not_divide_is_refused_with_the_numbers(processes: int, spec: dict[str, Any], message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        checked(processes, **spec)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"tied": True}, "untied embeddings"),
        ({"per_head_bias": True}, "ALiBi"),
        ({"norm_over_heads": True}, "`queryKeyNorm` Width"),
        ({"dropout": True}, "dropout"),
        ({"vocabulary": 257}, "vocabulary 257 / 2 leaves 1"),
    ],
)
def test_models_that_tensor_parallelism_is_not_tested_with_are_refused(facts: dict[str, Any], message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        checked(2, replace(MODEL, **facts), tensor=2)


def test_muon_needs_whole_matrices() -> None:
    with pytest.raises(LayoutError, match="Muon needs whole matrices"):
        check(layout_of(Parallelism(), 2), MODEL, OptimizerName.MUON, [16], False)
    check(layout_of(Parallelism(sharding=Sharding.DDP), 2), MODEL, OptimizerName.MUON, [16], False)
