"""A worker that is taken away: what it trained is saved before it goes, and nothing waits for it in vain."""

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from llmtrain_jobs.entrypoint import main as entrypoint
from llmtrain_jobs.entrypoint.children import Children
from llmtrain_jobs.entrypoint.main import SAVE_SECONDS, Entrypoint
from llmtrain_jobs.entrypoint.notice import Notice
from llmtrain_jobs.entrypoint.scratch import Scratch
from llmtrain_jobs.training.ending import PATIENCE_SECONDS, Ending
from llmtrain_jobs.training.layout import Layout
from llmtrain_jobs.training.loop import Trainer
from llmtrain_jobs.training.stream import Batch
from llmtrain_jobs.training.timeline import StepShape

from llmtrain.api.stageconfig import FailureClass
from llmtrain.api.training import Sharding
from tests.unit.training.harness import Setup, heard, in_mesh, listener, same, trainer, weights, worlds, write_shards


def test_notice_makes_the_run_save_at_once_and_go_on(tmp_path: Path) -> None:
    """The save comes between two regular ones, and the run ends bit by bit as it would have."""
    folders = [tmp_path / "whole", tmp_path / "noticed"]
    for folder in folders:
        folder.mkdir()
        write_shards(folder)
    whole, made = (trainer(Setup(folder, every=100, keep=9)) for folder in folders)
    whole.run()
    notice = Notice(tmp_path)
    seen = given_at_five(made, notice, notice)
    assert made.run()
    assert notice.is_answered
    assert seen == [5]
    assert same(weights(made), weights(whole))


def given_at_five(made: Trainer, notice: Notice, to: Notice | None = None) -> list[int]:
    """Give notice while step 5 is computed; the list will hold the complete checkpoints of the time of step 7."""
    seen: list[int] = []
    made.parts.notice = notice
    take = made._ahead.take

    def taken(shape: StepShape) -> Batch:
        if made.step == 4 and to is not None:
            assert to.give()
        if made.step == 6:
            seen.extend(c.step for c in made.parts.checkpoints.archive.complete())
        return take(shape)

    pytest.MonkeyPatch().setattr(made._ahead, "take", taken)  # for as long as this trainer lives
    return seen


def leaving(rank: int, setup: Setup, scratch: Path) -> tuple[list[int], int]:
    """Each process in a pod of its own; the last one is given notice."""
    made = in_mesh(setup)
    pod = scratch / str(rank)
    pod.mkdir()
    notice = Notice(pod)
    seen = given_at_five(made, notice, notice if rank == 1 else None)
    made.run()
    return seen, len(heard(made))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_notice_to_one_pod_makes_all_processes_save_together(tmp_path: Path) -> None:
    write_shards(tmp_path)
    setup = Setup(tmp_path, every=100, keep=9, layout=Layout(data=2, sharding=Sharding.FSDP2, shard=2))
    assert worlds(2, tmp_path, leaving, setup, tmp_path) == [([5], 12)] * 2


def gone_without(rank: int, setup: Setup, scratch: Path) -> tuple[int, bool, list[int]]:
    """The same where the others go on as another group: how far they got, who is leaving, and what is complete."""
    made = in_mesh(setup)
    made.parts.elastic = True
    pod = scratch / str(rank)
    pod.mkdir()
    notice = Notice(pod)
    given_at_five(made, notice, notice if rank == 1 else None)
    assert not made.run()
    return made.step, listener(made).left, [c.step for c in made.parts.checkpoints.archive.complete()]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_elastic_group_ends_with_its_save_when_a_pod_has_to_go(tmp_path: Path) -> None:
    """No step is computed that would be lost, and only the one that leaves says so."""
    write_shards(tmp_path)
    setup = Setup(tmp_path, every=100, keep=9, layout=Layout(data=2, sharding=Sharding.FSDP2, shard=2))
    assert worlds(2, tmp_path, gone_without, setup, tmp_path) == [(5, False, [5]), (5, True, [5])]


@pytest.fixture
def worker(tmp_path: Path) -> Entrypoint:
    """PID 1 of a worker that was asked to go; signal handlers are the test's own again afterwards."""
    made = object.__new__(Entrypoint)
    made.scratch, made.children, made.stopping = Scratch(tmp_path), Children(), True
    return made


def go(
    worker: Entrypoint, monkeypatch: pytest.MonkeyPatch, head: bool = True, saved_after: float | None = None
) -> float:
    """Seconds that the worker stays, by a clock that its sleeps move; `saved_after`: its training is saved by then."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        if saved_after is not None and now[0] >= saved_after and Notice(worker.scratch.folder).is_given:
            Notice(worker.scratch.folder).answer()

    monkeypatch.setattr(entrypoint, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    monkeypatch.setattr(entrypoint, "answers", lambda _: head)
    worker._let_it_save("head")
    return now[0]


def test_a_worker_in_which_nobody_trains_goes_at_once(worker: Entrypoint, monkeypatch: pytest.MonkeyPatch) -> None:
    assert go(worker, monkeypatch) == 0
    assert not (worker.scratch.folder / "notice-leaving").exists()


def test_a_worker_whose_training_was_ended_with_its_group_goes_at_once(
    worker: Entrypoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    Notice(worker.scratch.folder).listen()
    over = subprocess.Popen(["true"])
    over.wait()
    (worker.scratch.folder / "notice-listening").write_text(str(over.pid))
    assert go(worker, monkeypatch) == 0
    assert not (worker.scratch.folder / "notice-leaving").exists()


def test_a_worker_whose_head_is_gone_goes_at_once(worker: Entrypoint, monkeypatch: pytest.MonkeyPatch) -> None:
    Notice(worker.scratch.folder).listen()
    assert go(worker, monkeypatch, head=False) == 0


def test_a_worker_stays_until_its_training_is_saved(worker: Entrypoint, monkeypatch: pytest.MonkeyPatch) -> None:
    Notice(worker.scratch.folder).listen()
    assert 3 <= go(worker, monkeypatch, saved_after=3) < 3.5


def test_a_worker_goes_within_its_grace_period_all_the_same(
    worker: Entrypoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    Notice(worker.scratch.folder).listen()
    assert SAVE_SECONDS <= go(worker, monkeypatch) < SAVE_SECONDS + 0.5


def state(**changes: Any) -> dict[str, Any]:
    last = {"step": 7, "tokens": 700}
    kept = {"saved": 4, "checkpoint": "checkpoints/step-4"}
    return {"last": last, "failure": None, "fresh": False} | kept | changes


FAILED = state(failure=("StorageFull", "StorageFull", "the volume is full"))


def test_one_process_that_failed_for_good_ends_the_driver_after_ten_seconds() -> None:
    ending = Ending(1000)
    assert ending.look(state(), False, 90.0) is None
    assert ending.look(FAILED, False, 100.0) is None
    assert ending.look(FAILED, False, 100.0 + PATIENCE_SECONDS) is None
    result = ending.look(FAILED, False, 100.1 + PATIENCE_SECONDS)
    assert result is not None
    assert (result.failure_class, result.message) == (FailureClass.STORAGE_FULL, "the volume is full")
    assert result.checkpoint == "checkpoints/step-4"
    assert PATIENCE_SECONDS == 10


def test_a_stop_before_the_first_step_ends_the_driver_at_once() -> None:
    """Of all, and of workers that were started again: what others did before them is saved, or lost already."""
    for fresh in (state(last={}, fresh=True), state(fresh=True)):
        assert Ending(1000).look(fresh, False, 1.0) is None
        result = Ending(1000).look(fresh, True, 1.0)
        assert result is not None
        assert (result.failure_class, result.checkpoint) == (FailureClass.INTERRUPTED, "checkpoints/step-4")


def test_a_stop_that_is_saved_does_not_wait_for_a_worker_that_is_gone() -> None:
    ending, saved = Ending(1000), state(saved=7, checkpoint="checkpoints/step-7")
    assert ending.look(state(), True, 50.0) is None
    assert ending.look(saved, True, 100.0) is None
    result = ending.look(saved, True, 111.0)
    assert result is not None
    assert (result.failure_class, result.checkpoint) == (FailureClass.INTERRUPTED, "checkpoints/step-7")


def test_behind_the_last_token_the_model_is_waited_for() -> None:
    ending = Ending(700)
    assert ending.look(state(saved=7), True, 0.0) is None
    assert ending.look(state(saved=7), True, 1000.0) is None


def test_nobody_gives_notice_to_a_run_without_a_pod() -> None:
    notice = Notice()
    notice.listen()
    notice.answer()
    assert not notice.give()
    assert not notice.is_given
    assert torch.tensor([notice.is_given]).sum() == 0
