"""What a run tells: names, accounts that count each step once, TensorBoard files that another program reads."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest
from llmtrain_jobs.training.accounts import Accounts, read_accounts, write_accounts
from llmtrain_jobs.training.control import Control
from llmtrain_jobs.training.telemetry import eta_seconds, metrics_of, progress_of
from llmtrain_jobs.training.trackers import TensorBoard, services

from tests.unit.training.harness import KEY, store_in


def facts(step: int, seconds: float = 2.0, skipped: bool = False) -> dict[str, Any]:
    return {"step": step, "tokens": step * 100, "loss": 3.0, "gradient_norm": 1.0, "learning_rate": 1e-3, "seconds": seconds,
            "data_seconds": 0.1, "tokens_per_second": 50.0, "mfu": 0.4, "peak": "plan", "skipped": skipped, "roll_backs": 1,
            "memory": 10}  # fmt: skip


def test_a_step_is_work_once_however_often_it_is_done(tmp_path: Path) -> None:
    """Steps 1 to 5, then again from 3 to 6 by another attempt that starts from what the first one left."""
    first = Accounts()
    for number in range(1, 6):
        first.step(number, 2.0, 0.5, skipped=number == 2)
    write_accounts(store_in(tmp_path), KEY, first)
    second = read_accounts(store_in(tmp_path), KEY)
    for number in range(3, 7):
        second.step(number, 2.0, 0.5, skipped=False)
    assert (second.highest, second.working, second.redone, second.redone_steps, second.skipped_steps) == (
        6,
        12.0,
        6.0,
        3,
        1,
    )
    assert second.waiting_for_data == 4.5
    second.checkpointing = 6.0
    assert second.step_efficiency == 12 / 24


def test_metrics_have_their_names_and_progress_counts_this_attempt_alone() -> None:
    before = Accounts(highest=2, working=4.0)
    control = Control(before.to_dict())
    control.join(1, 4)
    control.join(1, 2)
    for number in (2, 3, 4):
        assert control.step(facts(number)) is False
    control.stalled(1.5)
    control.saved(4, "checkpoints/step-00000004-a1")
    control.took(3.2)
    state = control.state()
    metrics = metrics_of(state, 1000)
    assert metrics["llmtrain_train_tokens_total"] == 400
    assert metrics["llmtrain_train_working_seconds_total"] == 8.0
    assert metrics["llmtrain_train_redone_seconds_total"] == 2.0
    assert metrics["llmtrain_train_checkpoint_stall_seconds_total"] == 1.5
    assert metrics["llmtrain_train_restarts_total"] == 1
    assert metrics["llmtrain_train_world_size"] == 2
    assert metrics["llmtrain_train_rollbacks_total"] == 1
    assert metrics["llmtrain_train_eta_seconds"] == eta_seconds(facts(4), 1000) == 600 / 50
    progress = progress_of(state, 1000, before)
    assert (progress.done, progress.total, progress.save_seconds) == (400, 1000, 4)
    assert progress.checkpoint == "checkpoints/step-00000004-a1"
    assert (progress.working_seconds, progress.redone_seconds, progress.checkpoint_seconds) == (4, 2, 2)


def test_a_stop_reaches_the_workers_with_their_next_step() -> None:
    control = Control(Accounts().to_dict())
    control.request_stop()
    assert control.step(facts(1)) is True


def test_the_first_failure_is_the_one_that_is_told() -> None:
    control = Control(Accounts().to_dict())
    control.fail("StorageFull", "StorageFull", "the volume")
    control.fail("BadInput", "Unstable", "another process")
    assert control.state()["failure"] == ("StorageFull", "StorageFull", "the volume")


def test_tensorboard_files_hold_what_was_logged(tmp_path: Path) -> None:
    """Read back record by record, as TFRecord: length, checksum, data, checksum."""
    store = store_in(tmp_path)
    board = TensorBoard(store, "artifacts/training/k/tensorboard", tmp_path / "local")
    board.log(7, {"loss": 2.5})
    board.flush()
    file = next((tmp_path / "artifacts/training/k/tensorboard").iterdir())
    from tensorboardX.proto.event_pb2 import Event

    data, events = file.read_bytes(), []
    while data:
        length = int.from_bytes(data[:8], "little")
        events.append(Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    values = [(event.step, value.tag, value.simple_value) for event in events for value in event.summary.value]
    assert values == [(7, "train/loss", 2.5)]


def test_services_are_told_where_they_are_asked_for_and_said_where_they_cannot_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[Any] = []
    fake = types.ModuleType("mlflow")
    for name in ("start_run", "log_params", "log_metrics"):
        setattr(fake, name, lambda *args, name=name, **more: told.append((name, args, more)))
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert list(services("run", {}, {})) == []
    (only,) = services("run", {"seed": "1"}, {"MLFLOW_TRACKING_URI": "http://x", "WANDB_API_KEY": "k"})
    only.log(3, {"loss": 1.0})
    assert told == [("start_run", (), {"run_name": "run"}), ("log_params", ({"seed": "1"},), {}),
                    ("log_metrics", ({"loss": 1.0},), {"step": 3})]  # fmt: skip
    assert "WANDB_API_KEY is set, but `wandb` is not installed" in capsys.readouterr().out
