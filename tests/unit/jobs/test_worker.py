"""PID 1 of a worker or an evaluator, and a head that is not heard of: by a clock that its sleeps move."""

import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from llmtrain_jobs.entrypoint import main as entrypoint
from llmtrain_jobs.entrypoint.children import Children
from llmtrain_jobs.entrypoint.main import HEAD_ENDED_SECONDS, HEAD_SILENT_SECONDS, Entrypoint
from llmtrain_jobs.entrypoint.scratch import Scratch

from llmtrain.api.stageconfig import RAY_PORT, ExitCode

NAME, ADDRESS = "gpt-trn-1-head", "10.0.0.7"


@dataclass
class World:
    """A cluster whose names and whose head fail from one second to another, and a pod whose child ends at one."""

    names_fail: tuple[float, float] = (-1, -1)
    silent: tuple[float, float] = (-1, -1)
    refuses_from: float = 1e9
    child_ends: float = 1e9
    asked_to_stop: float = 1e9
    now: float = 0.0
    signals: list[int] = field(default_factory=list)
    worker: Entrypoint = field(default_factory=lambda: object.__new__(Entrypoint))

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.worker.stopping = self.now >= self.asked_to_stop

    def reap(self) -> None:
        if self.now >= self.child_ends:
            self.worker.children.codes |= {entrypoint.RAY: 1, entrypoint.DRIVER: 1}

    def getaddrinfo(self, host: str, *_: Any) -> list[Any]:
        if host == NAME and self.names_fail[0] <= self.now < self.names_fail[1]:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ADDRESS, RAY_PORT))]

    def create_connection(self, address: tuple[str, int], timeout: float) -> Any:
        self.getaddrinfo(address[0])
        if self.now >= self.refuses_from:
            raise ConnectionRefusedError
        if self.silent[0] <= self.now < self.silent[1]:
            raise TimeoutError
        return socket.socket()


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, float]]:
    """Exit code of a worker, or of an evaluator, and how many seconds it lived."""

    def run(role: str = "worker", **changes: Any) -> tuple[int, float]:
        world = World(**changes)
        made, children = world.worker, Children()
        made.scratch, made.children, made.stopping = Scratch(tmp_path), children, False
        config: Any = SimpleNamespace(head_address=NAME, wait_for_workers_seconds=600)
        made.config = config
        monkeypatch.setattr(children, "start", lambda *_: None)
        monkeypatch.setattr(children, "signal", lambda _, number: world.signals.append(number))
        monkeypatch.setattr(children, "reap", world.reap)
        monkeypatch.setattr(entrypoint, "time", SimpleNamespace(monotonic=lambda: world.now, sleep=world.sleep))
        monkeypatch.setattr(socket, "getaddrinfo", world.getaddrinfo)
        monkeypatch.setattr(socket, "create_connection", world.create_connection)
        code = int(getattr(made, role)())
        if code == ExitCode.INTERRUPTED:
            assert world.signals == [signal.SIGKILL], "what it ran goes with it"
        return code, world.now

    return run


BOTH = pytest.mark.parametrize("role", ["worker", "evaluator"])


@BOTH
def test_minutes_without_names_end_nobody(live: Callable[..., tuple[int, float]], role: str) -> None:
    """The address that was found is kept; names are away for an hour, and the pod lives until it is asked to go."""
    assert live(role, names_fail=(3, 3603), asked_to_stop=4000) == (ExitCode.INTERRUPTED, 4000)


@BOTH
def test_a_head_that_is_silent_for_minutes_is_waited_for(live: Callable[..., tuple[int, float]], role: str) -> None:
    assert live(role, silent=(3, 250), asked_to_stop=600) == (ExitCode.INTERRUPTED, 600)
    code, seconds = live(role, silent=(3, 1e9))
    assert code == ExitCode.OK
    assert HEAD_SILENT_SECONDS < seconds < HEAD_SILENT_SECONDS + 10


@BOTH
def test_a_head_whose_ray_has_ended_is_left_at_once(live: Callable[..., tuple[int, float]], role: str) -> None:
    """Its pod refuses connections: whoever stays is paid for nothing."""
    code, seconds = live(role, refuses_from=20)
    assert code == ExitCode.OK
    assert 20 + HEAD_ENDED_SECONDS <= seconds <= 20 + HEAD_ENDED_SECONDS + 2


def test_names_that_come_late_delay_a_worker_and_no_more(live: Callable[..., tuple[int, float]]) -> None:
    assert live(names_fail=(0, 400), asked_to_stop=1000) == (ExitCode.INTERRUPTED, 1000)
    assert live(names_fail=(0, 700)) == (ExitCode.UNAVAILABLE, 600)


def test_ray_that_ends_without_its_head_is_no_fault_of_the_worker(live: Callable[..., tuple[int, float]]) -> None:
    """It gives a silent head up after a minute; beside a head that answers its end is an error."""
    assert live(silent=(20, 1e9), child_ends=80)[0] == ExitCode.OK
    assert live(child_ends=80)[0] == ExitCode.INTERNAL


def test_a_real_port_answers_or_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(entrypoint, "RAY_PORT", server.getsockname()[1])
        assert entrypoint.answers("127.0.0.1")
        assert not entrypoint.refuses("127.0.0.1")
    assert entrypoint.refuses("127.0.0.1")
    assert not entrypoint.answers("127.0.0.1")
    assert not entrypoint.refuses("no-such-name.invalid"), "nothing is known of it"
