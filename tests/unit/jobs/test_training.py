"""Model, data order and loop, without Ray."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from llmtrain_jobs.model.config import ModelConfig
from llmtrain_jobs.model.transformer import Transformer
from llmtrain_jobs.training.data import Windows, samples_of
from llmtrain_jobs.training.loop import Group, NonFiniteLoss, Plan, Step, Trainer
from llmtrain_jobs.training.schedule import learning_rate

TINY = ModelConfig(layers=2, heads=2, embedding=16, feed_forward=64, context=8, vocabulary=64)
PLAN = Plan(
    total_tokens=640, batch_sequences=4, context=8, peak_learning_rate=1e-2, warmup_tokens=64, weight_decay=0.1,
    gradient_clip=1.0, checkpoint_seconds=1e9,
)  # fmt: skip


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    file = tmp_path / "00000.bin"
    np.random.default_rng(0).integers(0, 64, 1001).astype("<u2").tofile(file)
    return file


def trainer(
    shard: Path, stop: Callable[[], bool] = lambda: False, **changes: Any
) -> tuple[Trainer, list[Step], list[Any]]:
    torch.manual_seed(0)
    steps: list[Step] = []
    saved: list[Any] = []
    windows = Windows([shard], "uint16", 8, seed=1)
    plan = Plan(**{**PLAN.__dict__, **changes})
    made = Trainer(
        Transformer(TINY), plan, windows, Group(), stop, steps.append, lambda _, state: saved.append(_copy(state))
    )
    return made, steps, saved


def _copy(state: Any) -> Any:
    import io

    buffer = io.BytesIO()
    torch.save(state, buffer)
    return torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_the_samples_of_a_step_do_not_depend_on_the_number_of_workers(world: int) -> None:
    seen = [sample for rank in range(world) for sample in samples_of(3, 8, rank, world)]
    assert seen == list(range(24, 32))


def test_a_pass_sees_every_window_once_and_the_next_in_another_order(shard: Path) -> None:
    windows = Windows([shard], "uint16", 8, seed=1)
    assert windows.count == 125
    first = windows.batch(range(125))
    second = windows.batch(range(125, 250))
    assert {tuple(w) for w in first} == {tuple(w) for w in second}
    assert not np.array_equal(first, second)


def test_resuming_from_a_checkpoint_repeats_the_undisturbed_run_bit_by_bit(shard: Path) -> None:
    undisturbed, all_steps, _ = trainer(shard)
    assert undisturbed.run()
    calls = iter([False] * 7 + [True])
    stopped, first, saved = trainer(shard, stop=lambda: next(calls))
    assert not stopped.run()
    resumed, rest, _ = trainer(shard)
    resumed.restore(saved[-1])
    assert resumed.run()
    assert [s.loss for s in first + rest] == [s.loss for s in all_steps]
    assert len(all_steps) == 20


def test_the_loss_falls_on_text_that_repeats(tmp_path: Path) -> None:
    file = tmp_path / "00000.bin"
    np.tile(np.arange(16, dtype="<u2"), 100).tofile(file)
    made, steps, _ = trainer(file, total_tokens=3200)
    made.run()
    assert steps[0].loss == pytest.approx(math.log(64), abs=0.2)
    assert steps[-1].loss < 1.0


def test_a_loss_that_is_no_number_ends_the_run_and_names_the_step(shard: Path) -> None:
    made, _, _ = trainer(shard)
    with torch.no_grad():
        made.model.get_parameter("norm.weight").fill_(math.nan)
    with pytest.raises(NonFiniteLoss, match="step 1"):
        made.run()


def test_the_rate_warms_up_and_ends_at_a_tenth() -> None:
    assert learning_rate(0, 1000, 100, 1.0) == pytest.approx(0.01)
    assert learning_rate(100, 1000, 100, 1.0) == pytest.approx(1.0)
    assert learning_rate(1000, 1000, 100, 1.0) == pytest.approx(0.1)
