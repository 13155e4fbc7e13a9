"""What a stage is given: its config, the job's storage, a way to tell how it goes, a flag that asks it to stop."""

import threading
from dataclasses import dataclass, field

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
    workers_done: threading.Event = field(default_factory=threading.Event)
    """Set once the stage needs its workers no more; the operator hears of it with the progress."""
    _said: list[Progress] = field(default_factory=list)
    """What was told last; one at most."""

    def tell(self, done: int, total: int, unit: str, detail: str = "") -> None:
        """Progress of a stage that counts units."""
        said = Progress(done=done, total=total, unit=unit, detail=detail, workers_done=self.workers_done.is_set())
        self._said[:] = [said]
        self.scratch.put_progress(said)

    def tell_part(self, how_far: str) -> None:
        """How far the unit that was told last is: a stage that works on a long one has not come to a stop."""
        for said in self._said:
            self.scratch.put_progress(said.model_copy(update={"detail": f"{said.detail}, {how_far}"}))

    def check_stop(self) -> None:
        """End here if somebody asked to; nothing is lost, the stage starts anew."""
        if self.stop.is_set():
            raise interrupted("stopped on request")
