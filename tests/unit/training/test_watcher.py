"""The driver's watcher: a Ray that is slow to answer must not cost the run its ears."""

import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from llmtrain_jobs.entrypoint.scratch import Scratch

from llmtrain.api.stageconfig import FailureClass, Result
from llmtrain.storage.errors import StorageError, StorageProblem

pytestmark = pytest.mark.slow  # importing Ray Train takes seconds


class Slow(Exception):
    """Ray's GetTimeoutError."""


FULL = OSError(28, "No space left on device")


@pytest.mark.parametrize("trouble", [Slow(), StorageError(StorageProblem.UNAVAILABLE, "gone"), FULL])
def test_a_stop_is_passed_on_though_a_look_went_wrong(trouble: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer was late, the storage was away, the pod's own folder was full."""
    from llmtrain_jobs.training import stage

    monkeypatch.setattr(stage, "WATCH_SECONDS", 0.01)
    monkeypatch.setattr(stage.Watcher, "_show", lambda *_: None)
    asked: list[str] = []

    def get(answer: Any, timeout: float) -> Any:
        asked.append(answer)
        if len(asked) < 4:
            raise trouble
        return {"last": {"step": 5, "tokens": 50}, "fresh": False, "failure": None, "saved": 0, "checkpoint": ""}

    control = SimpleNamespace(
        state=SimpleNamespace(remote=lambda: "state"), request_stop=SimpleNamespace(remote=lambda: "stop")
    )
    ray: Any = SimpleNamespace(get=get, exceptions=SimpleNamespace(GetTimeoutError=Slow))
    config = SimpleNamespace(spec=SimpleNamespace(training=SimpleNamespace(tokens=100)))
    context: Any = SimpleNamespace(stop=threading.Event(), config=config)
    beside: Any = SimpleNamespace(below="")
    over = threading.Event()
    watcher = threading.Thread(target=stage.watch, args=(context, ray, control, "key", over, None, beside, None))
    watcher.start()
    context.stop.set()
    end = time.monotonic() + 20
    while asked.count("stop") < 1 or asked[-1] != "state":
        assert time.monotonic() < end, asked
        time.sleep(0.01)
    time.sleep(0.1)
    assert watcher.is_alive()
    over.set()
    watcher.join()
    assert "stop" not in asked[5:], "once it was heard it is not said again"


class Left(BaseException):
    """`os._exit`: nothing catches it."""


def test_a_training_that_failed_ends_though_its_accounts_cannot_be_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What it failed for, a full storage, keeps accounts out as well; the cluster would be paid for on and on."""
    from llmtrain_jobs.training import stage

    def leave(code: int) -> None:
        raise Left(code)

    def full(*_: Any) -> None:
        raise StorageError(StorageProblem.FULL, "the volume is full")

    monkeypatch.setattr("os._exit", leave)
    context: Any = SimpleNamespace(scratch=Scratch(tmp_path), store=SimpleNamespace(write=full))
    result = Result(outcome="Failed", failure_class=FailureClass.STORAGE_FULL, reason="StorageFull", message="full")
    with pytest.raises(Left, match="73"):
        stage.leave(context, "key", {"last": {"step": 5}, "accounts": {}}, result)
    assert context.scratch.result() == result


def test_a_driver_that_cannot_leave_a_result_ends_by_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    from llmtrain_jobs.training import stage

    def full(_: Result) -> None:
        raise FULL

    def leave(code: int) -> None:
        raise Left(code)

    monkeypatch.setattr("os._exit", leave)
    context: Any = SimpleNamespace(scratch=SimpleNamespace(put_result=full))
    result = Result(outcome="Failed", failure_class=FailureClass.DENIED, reason="Denied", message="no right")
    with pytest.raises(Left, match="77"):
        stage.leave(context, "key", {"last": {}}, result)
