"""Daemons of the cluster: started detached, remembered by pid and start time, stopped only if they are the same."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class Processes:
    """Daemons whose pids are kept in one folder."""

    def __init__(self, state: Path) -> None:
        """`state` is the cluster's folder."""
        self._pids, self._logs = state / "pids", state / "logs"

    def start(self, name: str, command: list[str], environment: dict[str, str] | None = None) -> bool:
        """Start a daemon unless it runs; whether it was started."""
        if self.alive(name):
            return False
        for folder in (self._pids, self._logs):
            folder.mkdir(parents=True, exist_ok=True)
        with (self._logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        record = {"pid": process.pid, "started": start_time(process.pid)}
        (self._pids / f"{name}.json").write_text(json.dumps(record))
        return True

    def pid(self, name: str) -> int | None:
        """Pid of a daemon that runs and is ours: a pid that was used again has another start time."""
        file = self._pids / f"{name}.json"
        if not file.exists():
            return None
        record = json.loads(file.read_text())
        return int(record["pid"]) if start_time(record["pid"]) == record["started"] is not None else None

    def alive(self, name: str) -> bool:
        """Whether the daemon runs."""
        return self.pid(name) is not None

    def stop(self, name: str, seconds: float = 20) -> None:
        """Stop a daemon and wait until it is gone; kill it after a bound."""
        pid = self.pid(name)
        for sent in (signal.SIGTERM, signal.SIGKILL):
            if pid is not None and self.alive(name):
                os.kill(pid, sent)
                _until(lambda: not self.alive(name), seconds)
        (self._pids / f"{name}.json").unlink(missing_ok=True)

    def names(self) -> list[str]:
        """Daemons that were started."""
        return sorted(file.stem for file in self._pids.glob("*.json"))

    def tail(self, name: str) -> str:
        """The end of a daemon's log."""
        file = self._logs / f"{name}.log"
        return file.read_text(errors="replace")[-1500:] if file.exists() else ""


def start_time(pid: int) -> str | None:
    """Start time of a process in clock ticks since boot; None where it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        reap()
        if condition():
            return True
        time.sleep(0.05)
    return condition()


def reap() -> None:
    """Collect children of ours that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def wait_for(what: str, condition: Callable[[], bool], seconds: float, explain: Callable[[], str]) -> None:
    """Wait, or end the program with what did not happen and why."""
    started = time.monotonic()
    if not _until(condition, seconds):
        sys.exit(f"{what} did not happen within {seconds:.0f} s\n{explain()}")
    print(f"{what} ({time.monotonic() - started:.1f} s)", file=sys.stderr, flush=True)


def succeeds(command: list[str], environment: dict[str, str] | None = None) -> bool:
    """Whether a command ends with 0."""
    try:
        done = subprocess.run(command, capture_output=True, env=environment, timeout=10, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def answers(url: str) -> bool:
    """Whether a daemon says that it is well."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def exclusive(state: Path) -> Iterator[None]:
    """One `up` or `down` of a cluster at a time; a second one waits for the first."""
    while True:
        state.mkdir(parents=True, exist_ok=True)
        with (state / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # `down` removes the folder: whoever waited for it holds a file that is no longer there, and starts over.
            if os.fstat(lock.fileno()).st_nlink:
                yield
                return
