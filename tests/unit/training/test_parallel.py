"""Every mesh computes what one process computes. `MESHES` has each row of `layout.TABLE`, which refuses everything else."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from llmtrain_jobs.model.config import ModelConfig
from llmtrain_jobs.training.checkpoints import plain
from llmtrain_jobs.training.gloo import SERIAL
from llmtrain_jobs.training.layout import TABLE, Layout, combination
from llmtrain_jobs.training.loop import Trainer
from llmtrain_jobs.training.wrap import ComputePlan

from llmtrain.api.training import PipelineSchedule, Recompute, Sharding
from tests.unit.training.harness import MODEL, Setup, heard, in_mesh, trainer, weights, worlds, write_shards

MESHES = {
    "ddp": Layout(data=4, sharding=Sharding.DDP),
    "fsdp2": Layout(data=4, sharding=Sharding.FSDP2, shard=4),
    "hsdp": Layout(data=4, sharding=Sharding.HSDP, shard=2),
    "tensor": Layout(tensor=4, sharding=Sharding.FSDP2),
    "fsdp2 x tensor": Layout(data=2, tensor=2, sharding=Sharding.FSDP2, shard=2),
    "pipeline": Layout(pipeline=4, sharding=Sharding.FSDP2, micro_batches=8),
    "pipeline, interleaved": Layout(
        pipeline=2, sharding=Sharding.FSDP2, micro_batches=4, virtual=2, schedule=PipelineSchedule.INTERLEAVED
    ),
    "fsdp2 x pipeline, interleaved": Layout(
        pipeline=2,
        data=2,
        sharding=Sharding.FSDP2,
        shard=2,
        micro_batches=4,
        virtual=2,
        schedule=PipelineSchedule.INTERLEAVED,
    ),
    "fsdp2 x pipeline": Layout(data=2, pipeline=2, sharding=Sharding.FSDP2, shard=2, micro_batches=4),
    "pipeline x tensor": Layout(pipeline=2, tensor=2, sharding=Sharding.FSDP2, micro_batches=4),
    "context, ddp": Layout(context=4, sharding=Sharding.DDP),
    "context": Layout(context=4, sharding=Sharding.FSDP2),
    "ddp x context": Layout(data=2, context=2, sharding=Sharding.DDP),
    "fsdp2 x context": Layout(data=2, context=2, sharding=Sharding.FSDP2, shard=2),
    "context x tensor": Layout(context=2, tensor=2, sharding=Sharding.FSDP2),
}
PLAN = ComputePlan(micro_batch_sequences=2, recompute=Recompute.ALTERNATE)


def first_gradients(made: Trainer) -> dict[str, torch.Tensor]:
    """Gradients of the first step, whole, by parameter."""
    shape = made.parts.timeline.shape(0)
    made._gradients(shape, made._ahead.take(shape))
    return {name: plain(p.grad) for p, name in made.parts.optimizers.names.items() if p.grad is not None}


def compute(setup: Setup, run: bool, made: Trainer) -> Any:
    """Losses, norms and weights of a run in fp64, or the first step's gradients in fp32."""
    if not run:
        return first_gradients(made)
    made.run()
    return [(s.loss, s.gradient_norm) for s in heard(made)], weights(made)


def everything(rank: int, setups: dict[str, Setup]) -> dict[str, Any]:
    """All meshes one after the other in the same processes, because starting those is what takes the time."""
    answers = {}
    for name, setup in setups.items():
        answers[name] = compute(setup, setup.dtype is torch.float64, in_mesh(setup))
        torch.distributed.barrier()
    return answers


def variants(folder: Path, meshes: dict[str, Layout], model: ModelConfig, steps: int) -> dict[str, Setup]:
    """Each mesh in fp64 (a run) and fp32 (gradients), each in a folder of its own."""
    made = {}
    for name, layout in meshes.items():
        for dtype in (torch.float64, torch.float32):
            own = folder / f"{name}-{dtype}"
            own.mkdir()
            write_shards(own)
            made[f"{name}-{dtype}"] = Setup(own, steps=steps, windows=8, every=100, model=model, dtype=dtype,
                                            layout=layout, compute=PLAN)  # fmt: skip
    return made


def compare(folder: Path, meshes: dict[str, Layout], model: ModelConfig, steps: int) -> None:
    """Each mesh against one process: fp64 run to 1e-9, first gradients in fp32 to 1e-5, both relative to the largest."""
    setups = variants(folder, meshes, model, steps)
    (processes,) = {layout.world for layout in meshes.values()}
    found = worlds(processes, folder, everything, setups)
    alone = folder / "alone"
    alone.mkdir()
    write_shards(alone)
    for name, setup in setups.items():
        single = replace(setup, folder=alone, layout=Layout())
        expected = compute(single, setup.dtype is torch.float64, trainer(single))
        shutil.rmtree(alone / "artifacts", ignore_errors=True)
        for answers in found:
            if setup.dtype is torch.float32:
                close(answers[name], expected, 1e-5)
                continue
            assert answers[name][0] == [pytest.approx(pair, rel=1e-9) for pair in expected[0]], name
            close(answers[name][1], expected[1], 1e-9)


def close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], tolerance: float) -> None:
    """Within a share of each tensor's largest value."""
    for name, value in found.items():
        scale = max(float(expected[name].abs().max()), 1e-30)
        worst = float((value - expected[name]).abs().max())
        assert worst <= tolerance * scale, f"{name}: {worst / scale:.3g}"


def test_every_combination_that_is_allowed_is_tested_and_no_other() -> None:
    assert {combination(layout) for layout in MESHES.values()} == TABLE


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_mesh_computes_what_one_process_computes(tmp_path: Path) -> None:
    """The richest one over two steps; `tests/long` has them all, over 50."""
    compare(tmp_path, {"fsdp2 x tensor": MESHES["fsdp2 x tensor"]}, MODEL, steps=2)


def mixed(rank: int, setups: dict[str, Setup]) -> dict[str, Any]:
    """Losses in bf16, and the types of what is kept and of what is exchanged, one mesh after the other."""
    answers = {}
    for name, setup in setups.items():
        made = in_mesh(setup)
        made.run()
        mesh = made.parts.group.mesh
        assert mesh is not None
        assert {dist.get_backend(group) for group in mesh.get_all_groups()} == {SERIAL}
        kinds = {str(t.dtype) for n, t in made.tensors().items() if not n.endswith("/step")}
        answers[name] = [s.loss for s in heard(made)], kinds
        dist.barrier()
    return answers


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_bf16_keeps_masters_in_fp32_and_sharding_changes_little(tmp_path: Path) -> None:
    """Replicas compute under autocast, shards by FSDP2's own casts; bf16 has 8 bits, so losses agree to about 1 %."""
    write_shards(tmp_path)
    plan = ComputePlan(micro_batch_sequences=4, bf16=True)
    plain = trainer(Setup(tmp_path, steps=4, every=100))
    plain.run()
    expected = [s.loss for s in heard(plain)]
    setups = {}
    for name in ("ddp", "fsdp2"):
        own = tmp_path / name
        own.mkdir()
        write_shards(own)
        layout = replace(MESHES[name], data=2, shard=2 if name == "fsdp2" else 1)
        setups[name] = Setup(own, steps=4, every=100, layout=layout, compute=plan)
    for answers in worlds(2, tmp_path, mixed, setups):
        assert answers.keys() == setups.keys()
        for losses, kinds in answers.values():
            assert losses == pytest.approx(expected, rel=1e-2)
            assert losses != expected
            assert kinds == {"torch.float32"}
