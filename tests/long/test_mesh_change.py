"""A run that goes through ramps in another mesh ends in one process as it would have there."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from llmtrain_jobs.training.layout import Layout
from llmtrain_jobs.training.wrap import ComputePlan

from llmtrain.api.training import PipelineSchedule, Sharding
from tests.unit.training.harness import DEEP, Setup, heard, in_mesh, trainer, weights, worlds
from tests.unit.training.test_parallel import close
from tests.unit.training.test_resume import change_sizes, ramped

STOP_AFTER, GROW_AFTER = 7, 9
INTERLEAVED = Layout(
    pipeline=2, sharding=Sharding.FSDP2, schedule=PipelineSchedule.INTERLEAVED, virtual=2, micro_batches=4
)

CONTEXT = Layout(context=2, sharding=Sharding.FSDP2)


def through_ramps(folder: Path) -> Setup:
    """A batch ramp, a sequence ramp and a change of phase, in fp64, with z-loss."""
    return replace(
        ramped(folder), model=DEEP, dtype=torch.float64, compute=ComputePlan(micro_batch_sequences=2, z_loss=1e-4)
    )


def part(rank: int, setup: Setup, steps: int) -> list[float]:
    """Some steps of one group; it saves as a group does that is about to be larger or smaller."""
    made = in_mesh(setup)
    calls = iter([False] * (steps - 1) + [True] * 100)
    made._stop = lambda: next(calls)
    made.run()
    return [step.loss for step in heard(made)]


@pytest.mark.timeout(300)
def test_a_run_that_shrinks_and_grows_ends_as_one_that_never_did(tmp_path: Path) -> None:
    """Two sharded processes, then one, then two again, through ramps; the history of sizes is in the checkpoint."""
    whole = trainer(through_ramps(tmp_path / "whole"))
    assert whole.run()
    setup = through_ramps(tmp_path / "parts")
    two = replace(setup, layout=Layout(data=2, sharding=Sharding.FSDP2, shard=2))
    losses = worlds(2, tmp_path, part, two, STOP_AFTER)[0]
    losses += worlds(1, tmp_path, part, setup, GROW_AFTER - STOP_AFTER)[0]
    losses += worlds(2, tmp_path, part, two, 100)[0]
    assert losses == pytest.approx([step.loss for step in heard(whole)], rel=1e-9)
    end = trainer(setup)
    assert end.step == whole.step
    assert end.worlds[:3] == [[0, 2], [STOP_AFTER, 1], [GROW_AFTER, 2]]
    close(weights(end), weights(whole), 1e-9)
    assert end.parts.stream.digest == whole.parts.stream.digest


@pytest.mark.timeout(300)
def test_a_run_may_grow_at_every_resume_and_sees_the_same_tokens(tmp_path: Path) -> None:
    change_sizes(tmp_path, second=2, third=4)


def first_part(rank: int, setup: Setup) -> list[float]:
    made = in_mesh(setup)
    calls = iter([False] * (STOP_AFTER - 1) + [True])
    made._stop = lambda: next(calls)
    assert not made.run()
    return [step.loss for step in heard(made)]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("layout", [INTERLEAVED, CONTEXT], ids=["interleaved pipeline", "context"])
def test_a_run_that_leaves_its_mesh_ends_as_one_that_never_was_in_one(tmp_path: Path, layout: Layout) -> None:
    whole = trainer(through_ramps(tmp_path / "whole"))
    assert whole.run()
    setup = through_ramps(tmp_path / "parts")
    losses = worlds(2, tmp_path, first_part, replace(setup, layout=layout))
    rest = trainer(setup)
    assert rest.step == STOP_AFTER
    assert rest.run()
    expected = [step.loss for step in heard(whole)]
    for found in losses:
        assert found + [step.loss for step in heard(rest)] == pytest.approx(expected, rel=1e-9)
    close(weights(rest), weights(whole), 1e-9)
    assert rest.parts.stream.digest == whole.parts.stream.digest
