"""`training.compute.compile`: blocks that torch.compile has compiled train as they would without."""

from dataclasses import replace
from pathlib import Path

import pytest
from llmtrain_jobs.training.layout import Layout
from llmtrain_jobs.training.wrap import ComputePlan
from torch._dynamo.utils import counters
from torchao.float8 import Float8LinearConfig

from llmtrain.api.training import Recompute, Sharding
from tests.unit.training.harness import Setup, heard, in_mesh, trainer, worlds, write_shards

STEPS = 6
SHARDED = Layout(data=2, sharding=Sharding.FSDP2, shard=2)
DIVIDED = Layout(context=2, sharding=Sharding.FSDP2)


def setup_in(folder: Path, layout: Layout, compiled: bool) -> Setup:
    """Half of the blocks are recomputed as well; the batch changes its size on the way."""
    folder.mkdir()
    write_shards(folder)
    plan = ComputePlan(micro_batch_sequences=4, compile=compiled, recompute=Recompute.ALTERNATE)
    return Setup(folder, steps=STEPS, every=100, layout=layout, compute=plan, batch_ramp=((512, 12),))


def losses(rank: int, setup: Setup) -> tuple[list[tuple[float, float]], int]:
    """Loss and gradient norm of each step, and how many graphs were compiled."""
    made = in_mesh(setup) if setup.layout.world > 1 else trainer(setup)
    made.run()
    return [(s.loss, s.gradient_norm) for s in heard(made)], int(counters["stats"]["unique_graphs"])


@pytest.mark.parametrize("layout", [Layout(), SHARDED, DIVIDED], ids=["one process", "fsdp2", "context"])
@pytest.mark.timeout(1800)
def test_compiled_blocks_train_as_eager_ones(tmp_path: Path, layout: Layout) -> None:
    """fp32, six steps, relative 1e-4: the compiler fuses and orders sums otherwise."""
    eager, compiled = (setup_in(tmp_path / name, layout, name == "compiled") for name in ("eager", "compiled"))
    (expected, none), *_ = worlds(layout.world, tmp_path, losses, eager)
    (found, graphs), *_ = worlds(layout.world, tmp_path, losses, compiled)
    assert none == 0
    assert graphs > 0
    print(f"{graphs} graphs; loss {found[-1][0]:.6f} compiled, {expected[-1][0]:.6f} eager after {STEPS} steps")
    assert found == [pytest.approx(pair, rel=1e-4) for pair in expected]


@pytest.mark.timeout(1800)
def test_compiled_blocks_multiply_in_fp8_as_eager_ones(tmp_path: Path) -> None:
    """torchao's emulation, for want of an accelerator."""
    eager, compiled = (setup_in(tmp_path / name, Layout(), name == "compiled") for name in ("eager", "compiled"))
    products = Float8LinearConfig(emulate=True)
    setups = [replace(setup, compute=replace(setup.compute, fp8=products)) for setup in (eager, compiled)]
    ((expected, none),), ((found, graphs),) = (worlds(1, tmp_path, losses, setup) for setup in setups)
    assert graphs > none == 0
    print(f"{graphs} graphs; loss {found[-1][0]:.6f} compiled, {expected[-1][0]:.6f} eager after {STEPS} steps")
    assert found == [pytest.approx(pair, rel=1e-3) for pair in expected]
