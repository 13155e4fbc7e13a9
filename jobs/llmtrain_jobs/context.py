"""What a stage is given: its config, the job's storage, a way to tell how it goes, a flag that asks it to stop."""

import threading
from dataclasses import dataclass

from llmtrain.api.stageconfig import StageConfig
from llmtrain.api.status import Progress
from llmtrain.storage.store import Store
from llmtrain_jobs.entrypoint.scratch import Scratch
from llmtrain_jobs.errors import interrupted


@dataclass(frozen=True)
class Context:
    """Passed to every stage's `run`."""

    config: StageConfig
    store: Store
    scratch: Scratch
    stop: threading.Event

    def tell(self, done: int, total: int, unit: str, detail: str = "") -> None:
        """Progress of a stage that counts units."""
        self.scratch.put_progress(Progress(done=done, total=total, unit=unit, detail=detail))

    def check_stop(self) -> None:
        """End here if somebody asked to; nothing is lost, the stage starts anew."""
        if self.stop.is_set():
            raise interrupted("stopped on request")
