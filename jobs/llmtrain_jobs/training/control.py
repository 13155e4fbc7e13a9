"""Between driver and workers: a small actor on the head that carries "stop" one way and what happened the other."""

import re
from typing import Any

from llmtrain.api.failure import FailureClass
from llmtrain_jobs.training.accounts import Accounts


class Control:
    """State of the run; every method is called remotely."""

    def __init__(self, accounts: dict[str, float]) -> None:
        """`accounts` of the attempts before."""
        self._stop, self._pause, self._fresh = False, False, True
        self._last: dict[str, Any] = {}
        self._failure: tuple[str, str, str] | None = None
        self._crashes: set[tuple[int, int, str, str]] = set()
        self._accounts = Accounts.from_dict(accounts)
        self._counts = {"roll_backs": 0, "restarts": -1}
        self._model: dict[str, Any] | None = None
        self._saved, self._save_seconds = 0, 0.0
        self._folder, self._world = "", 0
        self._left: list[str] = []
        self._validation_loss: float | None = None

    def request_stop(self) -> None:
        """Ask the workers to save and end."""
        self._stop = True

    def pause(self) -> None:
        """Ask the workers to save and end, for another group of them to go on."""
        self._pause = True

    def begin(self) -> None:
        """A group of workers is about to be started."""
        self._pause, self._fresh = False, True

    def leave(self, node: str) -> None:
        """A worker has saved and is being taken away; Ray's id of its node."""
        self._left.append(node)

    def join(self, roll_backs: int, world: int) -> None:
        """The workers have started, for the first time or after a loss; `world` is the number of their processes."""
        self._fresh, self._world = True, world
        self._counts["restarts"] += 1
        self._counts["roll_backs"] = roll_backs

    def step(self, facts: dict[str, Any]) -> bool:
        """Rank 0 reports a step; whether to stop."""
        self._last, self._fresh = facts, False
        self._accounts.step(facts["step"], facts["seconds"], facts["data_seconds"], facts["skipped"])
        self._counts["roll_backs"] = facts["roll_backs"]
        return self._stop or self._pause

    def saved(self, step: int, folder: str) -> None:
        """A checkpoint is complete."""
        self._saved, self._folder = step, folder

    def evaluated(self, loss: float) -> None:
        """Loss on held-out text."""
        self._validation_loss = loss

    def took(self, seconds: float) -> None:
        """A complete save, from its start until it is whole."""
        self._save_seconds = max(self._save_seconds, seconds)

    def stalled(self, seconds: float) -> None:
        """The steps stood still for a checkpoint."""
        self._accounts.checkpointing += seconds

    def fail(self, failure: str, reason: str, message: str) -> None:
        """The work itself is at fault, or storage is; starting the workers again would not help."""
        self._failure = self._failure or (failure, reason, message)

    def crashed(self, rank: int, step: int, reason: str, message: str) -> bool:
        """A process raised what is nobody else's fault. True: it did so before, and a third time would be no different.

        Each process raises once in its life, so that the same of one rank comes from two starts. Numbers in the text
        (addresses, sizes, times) do not make it another.
        """
        crash = rank, step, reason, re.sub(r"0x[0-9a-f]+|\d+", "#", message)
        if crash in self._crashes:
            self.fail(
                FailureClass.INTERNAL.value, reason, f"{message}; the same again after a restart, in process {rank}"
            )
            return True
        self._crashes.add(crash)
        return False

    def finish(self, model: dict[str, Any]) -> None:
        """All tokens are seen and saved; `model` is the written file's name, size and sha256."""
        self._model = model

    def state(self) -> dict[str, Any]:
        """Everything, for the driver."""
        return {"last": self._last, "failure": self._failure, "accounts": self._accounts.to_dict(),
                "counts": dict(self._counts), "model": self._model, "saved": self._saved, "checkpoint": self._folder, "save_seconds": self._save_seconds,
                "validation_loss": self._validation_loss, "fresh": self._fresh, "stopping": self._stop,
                "left": list(self._left), "world": self._world}  # fmt: skip
