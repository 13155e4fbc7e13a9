"""Twenty SIGKILLs at random moments of one run: of a process, or of all of them at once, as when the head dies."""

import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from llmtrain_jobs.training.accounts import read_accounts, write_accounts
from llmtrain_jobs.training.layout import Layout
from llmtrain_jobs.training.loop import Step
from llmtrain_jobs.training.stability import StabilityPlan

from llmtrain.api.training import Sharding
from tests.unit.training.harness import KEY, Setup, in_mesh, listener, same, store_in, weights, write_shards

KILLS, STEPS, WORLD = 20, 160, 2


def train(rank: int, setup: Setup, meeting: str, pause: float) -> None:
    """One process of an attempt. The pause stands for work: kills shall come in the middle of it."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=WORLD)
    made = in_mesh(setup)
    accounts = read_accounts(store_in(setup.folder), KEY)

    def account(step: Step) -> None:
        time.sleep(pause)
        accounts.step(step.number, 1.0, 0.0, step.reaction is not None)
        if rank == 0:
            write_accounts(store_in(setup.folder), KEY, accounts)

    listener(made).after_step = account
    made.run()
    if rank == 0:
        torch.save((weights(made), made.parts.stream.digest), setup.folder / "end.pt")
    else:
        weights(made)
    dist.destroy_process_group()


def wait_for_step(setup: Setup, step: int, process: Any) -> None:
    """Until a step is done, and then for a part of the next one."""
    end = time.monotonic() + 300
    while process.is_alive() and read_accounts(store_in(setup.folder), KEY).highest < step:
        assert time.monotonic() < end, "no progress"
        time.sleep(0.02)
    time.sleep(random.uniform(0, 0.2))


def attempt(setup: Setup, kill_at: int | None, everybody: bool, pause: float) -> bool:
    """Run until it ends or is killed; whether it ended well."""
    context: Any = torch.multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.unit.training.harness"])
    meeting = str(setup.folder / f"meeting-{os.urandom(4).hex()}")
    processes = [context.Process(target=train, args=(rank, setup, meeting, pause)) for rank in range(WORLD)]
    for process in processes:
        process.start()
    if kill_at is not None:
        wait_for_step(setup, kill_at, processes[0])
        for process in processes if everybody else random.sample(processes, 1):
            if process.is_alive():
                os.kill(process.pid, signal.SIGKILL)
    end = time.monotonic() + 300
    while any(p.is_alive() for p in processes) and all(p.exitcode in (None, 0) for p in processes):
        assert time.monotonic() < end, "an attempt hangs"
        time.sleep(0.05)
    for process in processes:
        # Ray Train ends the others of a group that has lost one; nobody does it here.
        process.kill()
        process.join()
    return all(process.exitcode == 0 for process in processes)


def setup_in(folder: Path) -> Setup:
    folder.mkdir()
    write_shards(folder)
    layout = Layout(data=WORLD, sharding=Sharding.FSDP2, shard=WORLD)
    return Setup(folder, steps=STEPS, every=5, keep=2, layout=layout, stability=StabilityPlan(sigma=1e9))


@pytest.mark.timeout(1800)
def test_twenty_kills_leave_the_weights_of_the_undisturbed_run(tmp_path: Path) -> None:
    """Steps that are done again are counted as such, and every step is work exactly once."""
    random.seed(20)
    whole, killed = setup_in(tmp_path / "whole"), setup_in(tmp_path / "killed")
    assert attempt(whole, None, False, 0.0)
    number, kills = 1, 0
    while True:
        done = read_accounts(store_in(killed.folder), KEY).highest
        kill_at = done + random.randint(0, 7) if kills < KILLS else None
        ended = attempt(replace(killed, attempt=number), kill_at, random.random() < 0.5, 0.05)
        number += 1
        if ended:
            break
        kills += 1
    assert kills == KILLS, f"{kills} kills before the end"
    expected, found = (torch.load(s.folder / "end.pt", weights_only=False) for s in (whole, killed))
    assert same(found[0], expected[0])
    assert found[1] == expected[1]
    accounts = read_accounts(store_in(killed.folder), KEY)
    assert accounts.working == accounts.highest == STEPS
    print(f"{kills} kills, {number - 1} attempts, {accounts.redone_steps} of {STEPS} steps were done again")
    assert accounts.redone == accounts.redone_steps
