"""The children of PID 1: started, signalled, and all reaped, also those that others left behind."""

import os
import signal
import subprocess
import time


class Children:
    """Processes by name."""

    def __init__(self) -> None:
        """None yet."""
        self._pids: dict[int, str] = {}
        self.codes: dict[str, int] = {}

    def start(self, name: str, command: list[str]) -> None:
        """Start a child."""
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self._pids[process.pid] = name
        # PID 1 waits for every process there is; Popen must not wait for this one as well.
        process.returncode = 0

    def signal(self, name: str, number: signal.Signals) -> None:
        """Signal a child that still runs."""
        for pid, own in self._pids.items():
            if own == name:
                os.kill(pid, number)

    def reap(self) -> None:
        """Collect what has ended; codes of our own children are kept, -n for signal n."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            name = self._pids.pop(pid, None)
            if name is not None:
                self.codes[name] = os.waitstatus_to_exitcode(status)

    def wait(self, name: str, seconds: float) -> int | None:
        """Exit code of a child, or None where it outlives the bound."""
        end = time.monotonic() + seconds
        while name not in self.codes and time.monotonic() < end:
            time.sleep(0.05)
            self.reap()
        return self.codes.get(name)
