"""What the loop costs beside the model: tokens a second against a bare loop, data wait, stall of a background save."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from llmtrain_jobs.model.config import ModelConfig
from llmtrain_jobs.model.transformer import Transformer, loss_sum
from llmtrain_jobs.training.loop import Trainer
from llmtrain_jobs.training.wrap import ComputePlan

from tests.unit.training.harness import CONTEXT, Setup, heard, trainer, write_shards

ROUNDS, STEPS, WINDOWS = 11, 3, 256
MODEL = ModelConfig(layers=4, heads=4, embedding=128, feed_forward=512, context=CONTEXT, vocabulary=64)


def bare_loop(folder: Path) -> Callable[[int], None]:
    """The same model, batch and optimizer in the fewest lines of PyTorch."""
    torch.manual_seed(3)
    model = Transformer(MODEL)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
    data = torch.from_numpy(np.fromfile(folder / "a.bin", dtype="<u2").astype(np.int64))
    starts = torch.randint(0, len(data) - CONTEXT - 1, (STEPS * ROUNDS * 2, WINDOWS))

    def run(first: int) -> None:
        for step in range(first, first + STEPS):
            batch = data[starts[step % len(starts)][:, None] + torch.arange(CONTEXT + 1)]
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


def seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def test_tokens_a_second_against_a_bare_loop(tmp_path: Path) -> None:
    """Interleaved, so that what else the machine does hits both alike."""
    torch.set_num_threads(1)
    write_shards(tmp_path, windows=4000)
    bare, ours = bare_loop(tmp_path), our_loop(tmp_path)

    def steps() -> None:
        for _ in range(STEPS):
            ours._one_step()
            ours.step += 1

    bare(0)
    steps()
    times: list[tuple[float, float]] = []
    for number in range(ROUNDS):
        times.append((seconds(lambda number=number: bare(number * STEPS)), seconds(steps)))  # type: ignore[misc]
    ratio = statistics.median(theirs for theirs, _ in times) / statistics.median(mine for _, mine in times)
    done = heard(ours)[STEPS:]
    wait = sum(s.data_seconds for s in done) / sum(s.seconds for s in done)
    speed = STEPS * WINDOWS * CONTEXT / statistics.median(mine for _, mine in times)
    print(f"\ntokens/s {speed:.0f}, {ratio:.3f} of a bare loop (median of {ROUNDS}, interleaved); data wait {wait:.2%}")
    assert len(times) == ROUNDS


def test_stall_of_a_background_save_against_a_memory_copy(tmp_path: Path) -> None:
    """The copy into buffers that exist, of the same tensors; the first save makes its buffers and is not counted."""
    torch.set_num_threads(1)
    write_shards(tmp_path)
    wide = ModelConfig(layers=4, heads=4, embedding=512, feed_forward=2048, context=CONTEXT, vocabulary=64)
    made = trainer(Setup(tmp_path, model=wide))
    tensors = made.tensors()
    buffers = {name: torch.empty_like(tensor) for name, tensor in tensors.items()}
    stalls, copies = [], []
    for number in range(8):
        made.step = number + 1
        made.parts.checkpoints.wait()
        copies.append(seconds(lambda: [buffers[n].copy_(t) for n, t in tensors.items()]))  # type: ignore[arg-type]
        made.parts.checkpoints.save(tensors, made.facts() | {"regular": True})
        stalls.append(made.parts.checkpoints.stall_seconds)
    made.parts.checkpoints.wait()
    size = sum(tensor.nbytes for tensor in tensors.values())
    stall, copy = statistics.median(stalls[1:]), statistics.median(copies[1:])
    print(
        f"\nstate {size / 1e6:.0f} MB: stall {stall * 1e3:.1f} ms, memory copy {copy * 1e3:.1f} ms, ratio {stall / copy:.2f}"
    )
    assert len(stalls) == 8
