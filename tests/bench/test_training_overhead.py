"""What the loop costs beside the model: tokens a second against a bare loop, data wait, stall of a background save."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from llmtrain_jobs.model.config import ModelConfig
from llmtrain_jobs.model.transformer import Transformer, loss_sum
from llmtrain_jobs.training.loop import Trainer
from llmtrain_jobs.training.wrap import ComputePlan

from tests.unit.training.harness import CONTEXT, Setup, heard, trainer, write_shards

ROUNDS, WARM_UP, SAVES, WINDOWS = 43, 3, 16, 256
MODEL = ModelConfig(layers=4, heads=4, embedding=128, feed_forward=512, context=CONTEXT, vocabulary=64)


def bare_loop(folder: Path) -> Callable[[int], None]:
    """The same model, batch and optimizer in the fewest lines of PyTorch."""
    torch.manual_seed(3)
    model = Transformer(MODEL)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
    data = torch.from_numpy(np.fromfile(folder / "a.bin", dtype="<u2").astype(np.int64))
    starts = torch.randint(0, len(data) - CONTEXT - 1, (ROUNDS, WINDOWS))

    def run(step: int) -> None:
        batch = data[starts[step][:, None] + torch.arange(CONTEXT + 1)]
        loss = loss_sum(model, batch) / (WINDOWS * CONTEXT)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()

    return run


def our_loop(folder: Path) -> Trainer:
    setup = Setup(folder, steps=10_000, windows=WINDOWS, every=10**9, model=MODEL,
                  compute=ComputePlan(micro_batch_sequences=WINDOWS, loss_chunk_tokens=0))  # fmt: skip
    return trainer(setup)


@dataclass(frozen=True)
class Spent:
    """Seconds of the wall clock and of all of the process's threads on the CPU: the latter hold on a shared machine."""

    wall: float
    cpu: float


def spent(work: Callable[[], object]) -> Spent:
    started, used = time.perf_counter(), time.process_time()
    work()
    return Spent(time.perf_counter() - started, time.process_time() - used)


def ratio(theirs: list[float], mine: list[float]) -> str:
    """Median of the pairs, with the quartiles: a pair is measured within a second, so both meet the same machine."""
    pairs = [a / b for a, b in zip(theirs, mine, strict=True)]
    low, middle, high = statistics.quantiles(pairs, n=4)
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def test_tokens_a_second_against_a_bare_loop(tmp_path: Path) -> None:
    """Step by step in turn, and each first in every other round, so that what else the machine does hits both alike."""
    torch.set_num_threads(1)
    write_shards(tmp_path, windows=4000)
    bare, ours = bare_loop(tmp_path), our_loop(tmp_path)

    def step() -> None:
        ours._one_step()
        ours.step += 1

    rounds: list[tuple[Spent, Spent]] = []
    for number in range(ROUNDS):
        first = spent(step) if number % 2 else None
        theirs = spent(partial(bare, number))
        rounds.append((theirs, first or spent(step)))
    bares, mine = zip(*rounds[WARM_UP:], strict=True)
    done = heard(ours)[WARM_UP:]
    wait = statistics.median(s.data_seconds / s.seconds for s in done)
    speed = WINDOWS * CONTEXT / statistics.median(m.cpu for m in mine)
    print(
        f"\ntokens/s of CPU time {speed:.0f}; of a bare loop: {ratio([b.cpu for b in bares], [m.cpu for m in mine])} by CPU "
        f"time, {ratio([b.wall for b in bares], [m.wall for m in mine])} by the clock (median and quartiles of "
        f"{len(mine)} pairs of steps); data wait {wait:.2%} of a step"
    )
    assert len(mine) == ROUNDS - WARM_UP


def test_stall_of_a_background_save_against_a_memory_copy(tmp_path: Path) -> None:
    """The copy into buffers that exist, of the same tensors; the first save makes its buffers and is not counted."""
    torch.set_num_threads(1)
    write_shards(tmp_path)
    wide = ModelConfig(layers=4, heads=4, embedding=512, feed_forward=2048, context=CONTEXT, vocabulary=64)
    made = trainer(Setup(tmp_path, model=wide))
    tensors = made.tensors()
    buffers = {name: torch.empty_like(tensor) for name, tensor in tensors.items()}
    stalls, copies = [], []
    for number in range(SAVES):
        made.step = number + 1
        made.parts.checkpoints.wait()
        facts = made.facts() | {"regular": True}
        copies.append(spent(lambda: [buffers[n].copy_(t) for n, t in tensors.items()]).wall)
        made.parts.checkpoints.save(tensors, facts)
        stalls.append(made.parts.checkpoints.stall_seconds)
    made.parts.checkpoints.wait()
    size = sum(tensor.nbytes for tensor in tensors.values())
    stall, copy = statistics.median(stalls[1:]), statistics.median(copies[1:])
    print(
        f"\nstate {size / 1e6:.0f} MB: stall {stall * 1e3:.1f} ms, memory copy {copy * 1e3:.1f} ms; ratio of a pair "
        f"{ratio(stalls[1:], copies[1:])}"
    )
    assert len(stalls) == SAVES
