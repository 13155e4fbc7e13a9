"""A run that was interrupted ends bit by bit like one that was not."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from llmtrain_jobs.training.layout import Layout
from llmtrain_jobs.training.loop import Step, Trainer

from llmtrain.api.training import Sharding
from tests.unit.training.harness import (
    CONTEXT,
    Setup,
    heard,
    in_mesh,
    listener,
    same,
    trainer,
    weights,
    worlds,
    write_shards,
)


def ramped(folder: Path) -> Setup:
    """A batch ramp, a sequence ramp and two phases."""
    folder.mkdir(exist_ok=True)
    write_shards(folder)
    return Setup(
        folder,
        batch_ramp=((8 * 3 * CONTEXT, 12),),
        length_ramp=((0, 8), (8 * 2 * CONTEXT, 16)),
        phases=((8 * 6 * CONTEXT, (3, 1)), (8 * 8 * CONTEXT, (1, 4))),
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    """A run that nothing interrupted."""
    made = trainer(ramped(tmp_path_factory.mktemp("whole")))
    assert made.run()
    return made


@pytest.mark.parametrize("kill_after", [1, 4, 6, 9])
def test_a_stopped_run_goes_on_bit_by_bit(tmp_path: Path, whole: Trainer, kill_after: int) -> None:
    setup = ramped(tmp_path / "parts")
    calls = iter([False] * (kill_after - 1) + [True])
    first = trainer(setup, stop=lambda: next(calls))
    assert not first.run()
    second = trainer(setup)
    assert second.step == kill_after
    assert second.run()
    assert [s.loss for s in heard(first) + heard(second)] == [s.loss for s in heard(whole)]
    assert second.parts.stream.digest == whole.parts.stream.digest
    assert same(weights(second), weights(whole))


def test_a_killed_run_repeats_the_steps_since_the_last_checkpoint_with_the_same_losses(
    tmp_path: Path, whole: Trainer
) -> None:
    class Killed(Exception):
        pass

    def kill_at_seven(step: Step) -> None:
        if step.number == 7:
            raise Killed

    setup = ramped(tmp_path / "parts")
    first = trainer(setup)
    listener(first).after_step = kill_at_seven
    with pytest.raises(Killed):
        first.run()
    first.parts.checkpoints.wait()
    second = trainer(setup)
    assert second.step == 4
    second.run()
    assert [s.loss for s in heard(second)] == [s.loss for s in heard(whole)][4:]
    assert same(weights(second), weights(whole))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_run_may_change_its_size_at_every_resume_and_sees_the_same_tokens(tmp_path: Path) -> None:
    """1 -> 2 -> 1 processes; `tests/long` grows to four."""
    change_sizes(tmp_path, second=2, third=1)


def change_sizes(folder: Path, second: int, third: int) -> None:
    """One process, then so many, then so many, stopped in between; the stream's digest is that of one process alone."""
    whole = trainer(replace(ramped(folder / "whole"), dtype=torch.float64))
    whole.run()
    setup = replace(ramped(folder / "parts"), dtype=torch.float64)
    calls = iter([False] * 3 + [True])
    trainer(setup, stop=lambda: next(calls)).run()
    for world, start, stop_at in ((second, 4, 8), (third, 8, 99)):
        layout = Layout(data=world, sharding=Sharding.FSDP2, shard=world) if world > 1 else Layout()
        answers = worlds(world, folder, run_until, replace(setup, layout=layout), stop_at)
        assert {answer[1] for answer in answers} == {start}
    digests = {answer[0] for answer in answers}
    assert digests == {whole.parts.stream.digest.hex()}
    for name, value in answers[0][3].items():
        torch.testing.assert_close(value, weights(whole)[name], rtol=1e-9, atol=1e-12)


def run_until(rank: int, setup: Setup, stop_at: int) -> tuple[str, int, list[float], dict[str, torch.Tensor]]:
    made = in_mesh(setup)
    start = made.step
    made._stop = lambda: made.step + 1 >= stop_at
    made.run()
    return made.parts.stream.digest.hex(), start, [s.loss for s in heard(made)], weights(made)
