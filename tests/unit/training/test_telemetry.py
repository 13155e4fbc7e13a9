"""What a run tells: names, accounts that count each step once, TensorBoard files that another program reads."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest
from llmtrain_jobs.training.accounts import Accounts, read_accounts, write_accounts
from llmtrain_jobs.training.control import Control
from llmtrain_jobs.training.telemetry import eta_seconds, metrics_of, progress_of
from llmtrain_jobs.training.trackers import Spared, TensorBoard, WeightsAndBiases, services

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


def test_an_exception_that_comes_twice_at_a_step_is_the_work_s() -> None:
    """Of one process: each raises once in a start. Another step, another process or another text is another exception."""
    control = Control(Accounts().to_dict())
    for rank in range(4):
        assert not control.crashed(rank, 7, "IndexError", "step 7: IndexError: 300 of 256 at 0x7f12")
    assert not control.crashed(0, 8, "IndexError", "step 8: IndexError: 300 of 256 at 0x7f12")
    assert not control.crashed(0, 7, "IndexError", "step 7: IndexError: another")
    assert control.state()["failure"] is None
    assert control.crashed(2, 7, "IndexError", "step 7: IndexError: 301 of 256 at 0x55aa")
    text = "step 7: IndexError: 301 of 256 at 0x55aa; the same again after a restart, in process 2"
    assert control.state()["failure"] == ("Internal", "IndexError", text)


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


class Run:
    """A run of Weights & Biases: its own count of steps only rises, and what is logged for an earlier one is dropped."""

    def __init__(self) -> None:
        self.history: list[dict[str, float]] = []
        self.axes: dict[str, str | None] = {}
        self._step = -1

    def define_metric(self, name: str, step_metric: str | None = None) -> None:
        self.axes[name] = step_metric

    def log(self, values: dict[str, float], step: int | None = None) -> None:
        step = self._step + 1 if step is None else step
        if step >= self._step:
            self._step = step
            self.history.append(values)


def test_weights_and_biases_keeps_the_steps_after_a_roll_back() -> None:
    """Also the loss on held-out text, which comes after the step's own numbers; all over our count of steps."""
    run, steps = Run(), [(9, "loss"), (10, "loss"), (10, "validation_loss"), (5, "loss"), (6, "loss"), (11, "loss")]
    library: Any = types.SimpleNamespace(init=lambda **_: run)
    tracker = WeightsAndBiases(library, "run", {"seed": "1"})
    for step, name in steps:
        tracker.log(step, {name: float(step)})
    assert run.axes == {"step": None, "*": "step"}
    assert run.history == [{name: float(step), "step": step} for step, name in steps]


def test_a_service_that_cannot_be_reached_costs_training_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Not even its start: names are away for ten minutes, and it is tried again every five."""
    now, tries, told = 0.0, list[float](), list[int]()

    def make() -> Any:
        tries.append(now)
        if now < 600:
            raise ConnectionError("mlflow.team.svc: Temporary failure in name resolution")
        return types.SimpleNamespace(log=lambda step, _: told.append(step), flush=lambda: told.append(-1))

    spared = Spared("mlflow", make, lambda: now)
    for step in range(13):
        now = step * 60.0
        spared.log(step, {"loss": 1.0})
        spared.flush()
    assert tries == [0, 300, 600]
    assert told == [10, -1, 11, -1, 12, -1]
    said = capsys.readouterr().out.splitlines()
    assert (
        said
        == [
            "`mlflow` is not told anything for 300 s: ConnectionError: mlflow.team.svc: Temporary failure in name resolution"
        ]
        * 2
    )


def test_services_are_told_where_they_are_asked_for_and_said_where_they_cannot_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[Any] = []
    fake: Any = types.ModuleType("mlflow")
    fake.active_run = lambda: None
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
