"""Context parallelism: each process has a part of every sequence, and computes what one process alone would."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from llmtrain_jobs.training.engine import DataEngine
from llmtrain_jobs.training.heldout import HeldOut
from llmtrain_jobs.training.layout import Layout
from llmtrain_jobs.training.loop import Trainer
from llmtrain_jobs.training.stream import Ahead, Batch
from llmtrain_jobs.training.wrap import ComputePlan

from llmtrain.api.model import PositionKind
from llmtrain.api.training import OptimizerName, Recompute, Sharding
from tests.unit.training.harness import (
    CONTEXT,
    MODEL,
    Setup,
    heard,
    in_mesh,
    stream_of,
    trainer,
    weights,
    worlds,
    write_shards,
)
from tests.unit.training.test_parallel import close, compute
from tests.unit.training.test_resume import ramped

SHARDED, REPLICATED = Layout(context=2, sharding=Sharding.FSDP2), Layout(context=2, sharding=Sharding.DDP)
PLAN = ComputePlan(micro_batch_sequences=4, recompute=Recompute.ALTERNATE, loss_chunk_tokens=5, z_loss=1e-3)
ROPE = replace(MODEL, positions=PositionKind.ROPE, key_value_heads=2)
BASE = Setup(Path(), steps=3, every=100, dtype=torch.float64, layout=SHARDED, compute=PLAN)
CASES = {
    "documents, rope, grouped heads": replace(BASE, model=ROPE, mask_after=0),
    "window, rope": replace(BASE, model=replace(ROPE, sliding_window=5), compute=ComputePlan()),
    "window, alibi, documents": replace(
        BASE, model=replace(MODEL, positions=PositionKind.ALIBI, sliding_window=9), mask_after=0
    ),
    "muon, replicas": replace(
        BASE, layout=REPLICATED, optimizer=replace(BASE.optimizer, name=OptimizerName.MUON)
    ),
}  # fmt: skip
HALF = 7


def after_a_start_alone(folder: Path) -> Setup:
    """Ramps of batch and length and two phases, in fp64; the first steps are done in one process."""
    setup = replace(ramped(folder), dtype=torch.float64, compute=PLAN)
    calls = iter([False] * (HALF - 1) + [True])
    assert not trainer(setup, stop=lambda: next(calls)).run()
    return replace(setup, layout=SHARDED)


def held_out_loss(made: Trainer) -> float:
    """Mean loss on the first source."""
    engine, parts = made.parts.engine, made.parts
    assert isinstance(engine, DataEngine)
    held_out = HeldOut(parts.stream._sources[0], CONTEXT, 1)
    return held_out.loss(engine, parts.group, parts.compute)


def everything(rank: int, setups: dict[str, Setup], begun: Setup) -> tuple[dict[str, Any], Any]:
    """All cases one after the other in the same processes, then the run that began in one."""
    answers = {}
    for name, setup in setups.items():
        answers[name] = compute(setup, True, in_mesh(setup))
        dist.barrier()
    rest = in_mesh(begun)
    assert rest.step == HALF
    assert rest.run()
    return answers, (rest.parts.stream.digest, weights(rest), held_out_loss(rest))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_parts_of_sequences_are_trained_as_whole_ones_and_a_run_may_go_on_in_them(tmp_path: Path) -> None:
    """fp64: losses, norms and weights to a relative 1e-9; documents, windows and positions go across the parts."""
    setups = {}
    for number, (name, setup) in enumerate(CASES.items()):
        (tmp_path / str(number)).mkdir()
        write_shards(tmp_path / str(number))
        setups[name] = replace(setup, folder=tmp_path / str(number))
    found = worlds(2, tmp_path, everything, setups, after_a_start_alone(tmp_path / "begun"))
    whole = trainer(replace(ramped(tmp_path / "whole"), dtype=torch.float64, compute=PLAN))
    assert whole.run()
    for answers, (digest, ended, loss) in found:
        assert digest == whole.parts.stream.digest
        close(ended, weights(whole), 1e-9)
        assert loss == pytest.approx(held_out_loss(whole), rel=1e-9)
        assert answers.keys() == CASES.keys()
    for name, setup in setups.items():
        alone = trainer(replace(setup, layout=Layout(), folder=fresh(tmp_path / f"{name}, alone")))
        alone.run()
        for answers, _ in found:
            assert answers[name][0] == [pytest.approx((s.loss, s.gradient_norm), rel=1e-9) for s in heard(alone)], name
            close(answers[name][1], weights(alone), 1e-9)


def fresh(folder: Path) -> Path:
    folder.mkdir()
    write_shards(folder)
    return folder


def test_sections_are_the_batch_and_keep_whole_what_attention_needs(setup: Setup) -> None:
    stream = stream_of(replace(setup, mask_after=0))
    whole = stream.share(stream.peek(setup.timeline.shape(0)), setup.timeline.shape(0), 0, 1)
    parts = [whole.section(index, 4) for index in range(4)]
    assert np.array_equal(np.concatenate([part.tokens for part in parts], axis=1), whole.tokens)
    assert np.array_equal(np.concatenate([part.targets for part in parts], axis=1), whole.targets)
    assert sum(part.valid for part in parts) == whole.valid < whole.targets.size
    assert all(part.segments is whole.segments for part in parts)


def test_processes_that_divide_sequences_read_the_same_ones(setup: Setup) -> None:
    shape, following = setup.timeline.shape(0), setup.timeline.shape(1)
    readers = [Ahead(stream_of(setup), 1, 2, section, 2) for section in range(2)]
    plain = Ahead(stream_of(setup), 1, 2)

    def next_of(reader: Ahead, number: int) -> Batch:
        batch = reader.take((shape, following)[number])
        reader.prepare(following)
        return batch

    for number in range(2):
        halves = [next_of(reader, number).tokens for reader in readers]
        assert all(half.shape == (4, CONTEXT // 2) for half in halves)
        assert np.array_equal(np.concatenate(halves, axis=1), next_of(plain, number).tokens)
    assert len({reader._stream.digest for reader in [*readers, plain]}) == 1
    for reader in [*readers, plain]:
        reader.close()
