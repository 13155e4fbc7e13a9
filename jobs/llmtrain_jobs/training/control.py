"""Between driver and workers: a small actor on the head that carries "stop" one way and the last step the other."""

from typing import Any


class Control:
    """State of the run; every method is called remotely."""

    def __init__(self) -> None:
        """Nothing happened yet."""
        self._stop = False
        self._last: dict[str, Any] = {}
        self._failure: tuple[str, str] | None = None
        self._working: dict[int, float] = {}
        self._finished = False
        self._saved = 0

    def request_stop(self) -> None:
        """Ask the workers to save and end."""
        self._stop = True

    def step(self, facts: dict[str, Any]) -> bool:
        """Rank 0 reports a step; whether to stop. A step that is done again counts once."""
        self._last = facts
        self._working[facts["step"]] = facts["seconds"]
        return self._stop

    def saved(self, step: int) -> None:
        """A checkpoint is complete."""
        self._saved = step

    def fail(self, reason: str, message: str) -> None:
        """The work itself is at fault: trying again would fail again."""
        self._failure = (reason, message)

    def finish(self) -> None:
        """All tokens are seen and saved."""
        self._finished = True

    def state(self) -> dict[str, Any]:
        """Everything, for the driver."""
        return {"last": self._last, "failure": self._failure, "working": sum(self._working.values()),
                "finished": self._finished, "saved": self._saved}  # fmt: skip
