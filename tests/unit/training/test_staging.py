"""The copy that a background save is written from: later steps do not change it, and it lies in the same memory each time."""

from pathlib import Path
from typing import Any

import pytest
import torch
from llmtrain_jobs.training.layout import Layout
from llmtrain_jobs.training.staging import Staging

from llmtrain.api.training import Sharding
from tests.unit.training.harness import Setup, in_mesh, worlds, write_shards


def test_later_steps_do_not_change_the_copy_and_the_next_one_takes_its_place() -> None:
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(5, dtype=torch.int64)}
    staging = Staging()
    first = staging.copy(tensors)
    tensors["a"] += 1
    assert torch.equal(first["a"], torch.arange(6.0).reshape(2, 3))
    second = staging.copy(tensors)
    assert torch.equal(second["a"], tensors["a"])
    assert second["b"].dtype == torch.int64
    assert second["a"].data_ptr() == first["a"].data_ptr() != tensors["a"].data_ptr()


def test_a_state_of_other_shapes_gets_buffers_of_its_own() -> None:
    staging = Staging()
    staging.copy({"a": torch.zeros(3)})
    found = staging.copy({"a": torch.ones(4), "b": torch.ones(1, dtype=torch.bfloat16)})
    assert torch.equal(found["a"], torch.ones(4))
    assert found["b"].dtype == torch.bfloat16


def staged(rank: int, setup: Setup) -> list[bool]:
    """Every distributed tensor's copy is laid out like it, and holds this process's part in memory of its own."""
    made = in_mesh(setup)
    made.parts.checkpoints.wait()
    tensors: dict[str, Any] = dict(made.tensors())
    found: dict[str, Any] = dict(Staging().copy(tensors))
    sharded = [name for name, tensor in tensors.items() if hasattr(tensor, "placements")]
    assert sharded
    return [
        torch.equal(found[name].to_local(), tensors[name].to_local())
        and found[name].placements == tensors[name].placements
        and found[name].shape == tensors[name].shape
        and found[name].to_local().data_ptr() != tensors[name].to_local().data_ptr()
        for name in sharded
    ]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_sharded_tensor_stays_one(tmp_path: Path) -> None:
    write_shards(tmp_path)
    layout = Layout(data=1, tensor=2, sharding=Sharding.FSDP2, shard=1)
    for answers in worlds(2, tmp_path, staged, Setup(tmp_path, layout=layout)):
        assert all(answers)
