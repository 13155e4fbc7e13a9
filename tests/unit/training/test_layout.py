"""Divisions of the processes that cannot be are refused, with the arithmetic."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
from llmtrain_jobs.training.layout import TABLE, Layout, LayoutError, ModelFacts, check, combination, layout_of

from llmtrain.api.cel import holds
from llmtrain.api.meshes import mesh_rules
from llmtrain.api.training import OptimizerName, Parallelism, PipelineSchedule, Sharding, Training

MODEL = ModelFacts(layers=8, heads=8, key_value_heads=4, feed_forward=64, vocabulary=256, context=128, tied=False)


def checked(processes: int, model: ModelFacts = MODEL, windows: int = 16, **spec: Any) -> Layout:
    layout = layout_of(Parallelism.model_validate(spec), processes)
    check(layout, model, OptimizerName.ADAMW, [windows], False)
    return layout


def test_auto_gives_data_what_the_others_leave() -> None:
    assert checked(16, tensor=4).data == 4
    assert checked(8, sharding="Ddp") == Layout(data=8, sharding=Sharding.DDP)
    assert checked(8, sharding="Hsdp", shardSize=4).data == 8
    assert checked(8, tensor=2).data == 4


@pytest.mark.parametrize(
    ("processes", "spec", "message"),
    [
        (6, {"tensor": 4}, "6 processes are no multiple of tensor 4 x pipeline 1 x context 1 = 4"),
        (8, {"data": "4"}, r"is 4, but 8 processes / \(tensor 1 x pipeline 1 x context 1\) = 8"),
        (
            8,
            {"sharding": "Hsdp", "shardSize": 3},
            "`training.parallelism.shardSize` is 3; .* the 8 data-parallel processes",
        ),
        (8, {"tensor": 8}, "key-value heads 4 / 8 leaves 4"),
        (
            8,
            {"tensor": 2, "sharding": "Ddp"},
            r"8 processes / \(tensor 2 x pipeline 1 x context 1 = 2\) = data 4, and data x tensor above 1 with sharding Ddp is not tested",
        ),
        (12, {"pipeline": 12}, "8 layers cannot fill pipeline 12 x virtual 1 = 12 stages"),
        (3, {"pipeline": 3}, r"16 sequences / \(data 1 x micro-batches 6 = 6\) leaves 4"),
        (4, {"pipeline": 4, "schedule": "Interleaved", "microBatches": 2}, "2 / pipeline 4 leaves 2"),
        (
            4,
            {"pipeline": 2, "tensor": 2, "schedule": "Interleaved"},
            "pipeline x tensor above 1 with sharding Fsdp2, Interleaved is not tested",
        ),
        (
            8,
            {"pipeline": 2, "tensor": 2},
            r"8 processes / \(tensor 2 x pipeline 2 x context 1 = 4\) = data 2, and data x pipeline x tensor above 1 .* for 4 processes",
        ),
        (6, {"context": 4}, "6 processes are no multiple of tensor 1 x pipeline 1 x context 4 = 4"),
        (
            8,
            {"context": 2, "sharding": "Hsdp", "shardSize": 2},
            r"context 2 = 2\) = data 4, and data x context above 1 with sharding Hsdp is not tested; .* with context Ddp or Fsdp2",
        ),
        (4, {"context": 2, "pipeline": 2}, "context x pipeline above 1 .* context does not go with pipeline"),
        (8, {"context": 2, "tensor": 2}, "data x context x tensor above 1 with sharding Fsdp2 is not tested"),
        (8, {"sharding": "Hsdp", "shardSize": 8}, "shardSize` is 8; .* two replicas or more"),
        (8, {"sharding": "Hsdp", "shardSize": 1}, "shardSize` is 1; .* above 1"),
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


def test_every_length_of_a_ramp_must_divide() -> None:
    layout = layout_of(Parallelism(context=2, tensor=8), 16)
    narrow = replace(MODEL, key_value_heads=8)
    check(layout, narrow, OptimizerName.ADAMW, [16], False, [128, 16])
    message = r"a sequence of 8 tokens .* / \(context 2 x tensor 8 = 16\) leaves 8; it must divide without rest"
    with pytest.raises(LayoutError, match=message):
        check(layout, narrow, OptimizerName.ADAMW, [16], False, [128, 8])


def test_muon_needs_whole_matrices() -> None:
    with pytest.raises(LayoutError, match="Muon needs whole matrices"):
        check(layout_of(Parallelism(), 2), MODEL, OptimizerName.MUON, [16], False)
    check(layout_of(Parallelism(sharding=Sharding.DDP), 2), MODEL, OptimizerName.MUON, [16], False)
    check(layout_of(Parallelism(sharding=Sharding.DDP, context=2), 4), MODEL, OptimizerName.MUON, [16], False)


PROPERTY = list(
    itertools.product(
        (1, 2, 3, 4, 8), (1, 2, 4), (1, 2, 4), (1, 2, 4), list(Sharding), (0, 2, 4), list(PipelineSchedule)
    )
)


def test_the_rules_at_apply_refuse_what_preflight_refuses_and_no_more() -> None:
    """All divisions of up to eight processes; what depends on the model is left to preflight."""
    assert len(PROPERTY) > 500
    disagreements = []
    for processes, tensor, pipeline, context, sharding, shard, schedule in PROPERTY:
        spec = {"tensor": tensor, "pipeline": pipeline, "context": context, "sharding": sharding.value,
                "shardSize": shard, "schedule": schedule.value}  # fmt: skip
        if refused_at_apply(processes, spec) != refused_by_table(processes, spec):
            disagreements.append((processes, spec))
    assert not disagreements


def refused_by_table(processes: int, spec: dict[str, Any]) -> bool:
    try:
        layout = layout_of(Parallelism.model_validate(spec), processes)
    except LayoutError:
        return True
    row = combination(layout)
    return row is not None and row not in TABLE


def refused_at_apply(processes: int, spec: dict[str, Any]) -> bool:
    manifest = {"cluster": {"planRef": {"name": "p"}, "workers": {"replicas": processes}}, "tokens": 1,
                "parallelism": spec}  # fmt: skip
    value = Training.model_validate(manifest).to_dict()
    return not all(holds(rule.rule, value) for rule in mesh_rules())
