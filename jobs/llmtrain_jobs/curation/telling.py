"""How it goes: progress for the operator, gauges for Prometheus, a line in the log."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from llmtrain.api.status import Progress
from llmtrain_jobs.context import Context

T = TypeVar("T")
LINE_SECONDS = 5.0
READ_BYTES, READ_DOCUMENTS = "llmtrain_curation_read_bytes_total", "llmtrain_curation_read_documents_total"


@dataclass
class Teller:
    """Progress of a stage whose steps count parts. `began`: from here on the work moves forward."""

    context: Context
    gauges: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    _last_line: float = 0.0

    @property
    def working_seconds(self) -> float:
        """Seconds since the workers were there."""
        return time.monotonic() - self.began

    def follow(self, step: str, results: Iterable[T], total: int, unit: str = "parts") -> Iterator[T]:
        """Pass results on and tell how many there are; a line at the end and every few seconds."""
        began = time.monotonic()
        self._tell(step, 0, total, unit, began)
        for done, result in enumerate(results, start=1):
            self._tell(step, done, total, unit, began)
            yield result

    def gauge(self, name: str, value: float) -> None:
        """A number on port 8090: `llmtrain_curation_NAME`."""
        self.gauges[f"llmtrain_curation_{name}"] = value

    def _tell(self, step: str, done: int, total: int, unit: str, began: float) -> None:
        seconds, now = max(1e-9, time.monotonic() - began), time.monotonic()
        rate = self._rate(step, seconds)
        told = Progress(
            done=done, total=total, unit=unit, detail=f"{step}{rate}", working_seconds=int(self.working_seconds)
        )
        self.context.scratch.put_progress(told)
        self.gauge(f"step_{step}_done", done)
        self.gauge(f"step_{step}_parts", total)
        self.context.scratch.put_metrics(self.gauges)
        if done == total or now - self._last_line > LINE_SECONDS:
            self._last_line = now
            filled = round(20 * done / max(1, total))
            bar = "#" * filled + "." * (20 - filled)
            print(f"curation {step} [{bar}] {done}/{total} {unit}, {seconds:.1f} s{rate}", flush=True)

    def _rate(self, step: str, seconds: float) -> str:
        """Of reading; what was found prepared counts as read now."""
        read = self.gauges.get(READ_BYTES)
        if step != "prepare" or not read:
            return ""
        return f", {read / seconds / 1e6:.2f} MB/s, {self.gauges[READ_DOCUMENTS] / seconds:.0f} documents/s"
