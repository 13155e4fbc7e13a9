"""How it goes: progress for the operator, gauges for Prometheus, a line in the log."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from llmtrain.api.curation import Curation
from llmtrain.api.status import Progress
from llmtrain_jobs.context import Context

T = TypeVar("T")
LINE_SECONDS = 5.0
STEP_SECONDS: Mapping[str, float] = {
    "prepare": 51.0, "judge": 0.4, "decontaminate": 3.0, "lsh": 0.8, "gather": 0.3, "verify": 0.1, "paragraphs": 0.8,
    "repeats": 0.3, "sample": 0.3, "tokenizer": 3.6, "encode": 4.9, "shards": 0.1, "provenance": 0.2,
}  # fmt: skip
"""Seconds of the steps, in their order, as 16 MB of documentation took on one core; decontamination is an assumption.

Only their ratios count: they say which share of the whole a step is.
"""
READ_BYTES, READ_DOCUMENTS = "llmtrain_curation_read_bytes_total", "llmtrain_curation_read_documents_total"


def steps_of(curation: Curation, decontaminates: bool) -> list[str]:
    """The steps that such a curation has, in their order."""
    near = curation.deduplication.min_hash.enabled
    paragraphs = curation.deduplication.paragraphs.enabled
    left_out = {
        "decontaminate": not decontaminates,
        **dict.fromkeys(("lsh", "gather", "verify"), not near),
        **dict.fromkeys(("paragraphs", "repeats"), not paragraphs),
        "tokenizer": bool(curation.tokenizer.file),
    }
    return [step for step in STEP_SECONDS if not left_out.get(step)]


def share_of(steps: Sequence[str], step: str, done: int, total: int) -> float:
    """Share of the whole that is done, 0 to 1, while a step is: those before it by their measured cost, of itself its parts."""
    if step not in steps:
        return 0.0
    before = sum(STEP_SECONDS[name] for name in steps[: steps.index(step)])
    own = STEP_SECONDS[step] * (done / total if total else 1.0)
    return (before + own) / sum(STEP_SECONDS[name] for name in steps)


@dataclass
class Teller:
    """Progress of a stage whose steps count parts. `began`: from here on the work moves forward."""

    context: Context
    steps: Sequence[str] = tuple(STEP_SECONDS)
    gauges: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    _last_line: float = 0.0
    _share: float = 0.0

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
        self._share = max(self._share, share_of(self.steps, step, done, total))
        told = Progress(
            done=done,
            total=total,
            unit=unit,
            share=f"{self._share:.6f}",
            detail=f"{step}{rate}",
            working_seconds=int(self.working_seconds),
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
