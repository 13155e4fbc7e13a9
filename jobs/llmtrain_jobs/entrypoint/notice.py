"""A worker pod that is asked to go (SIGTERM: its node is drained, a spot machine is taken back): the training saves first.

PID 1 of the pod and the training process in it know of each other by three files in the pod's scratch folder.
"""

import os
from dataclasses import dataclass
from pathlib import Path

LISTENING, LEAVING, SAVED = "notice-listening", "notice-leaving", "notice-saved"


@dataclass(frozen=True)
class Notice:
    """Both ends of it. `folder` None: a process that nobody gives notice to."""

    folder: Path | None = None

    def listen(self) -> None:
        """The training process takes steps from now on; what an earlier process of the pod left is gone."""
        if self.folder is not None:
            self._file(SAVED).unlink(missing_ok=True)
            self._file(LISTENING).write_text(str(os.getpid()))

    @property
    def is_heard(self) -> bool:
        """A process of the pod trains. One that was ended with its group listens no more."""
        if self.folder is None or not self._file(LISTENING).exists():
            return False
        try:
            os.kill(int(self._file(LISTENING).read_text() or 0), 0)
        except ProcessLookupError:
            return False
        return True

    def give(self) -> bool:
        """PID 1 gives notice; whether anybody listens."""
        if self.folder is None or not self.is_heard:
            return False
        self._file(LEAVING).touch()
        return True

    @property
    def is_given(self) -> bool:
        """Notice was given and not answered yet. One look at a file, at each step."""
        return self.folder is not None and self._file(LEAVING).exists() and not self._file(SAVED).exists()

    def answer(self) -> None:
        """All that this process knows is saved: the pod may go."""
        if self.folder is not None:
            self._file(SAVED).touch()

    @property
    def is_answered(self) -> bool:
        """The pod may go."""
        return self.folder is not None and self._file(SAVED).exists()

    def _file(self, name: str) -> Path:
        assert self.folder is not None, "asked only where there is a folder"
        return self.folder / name
