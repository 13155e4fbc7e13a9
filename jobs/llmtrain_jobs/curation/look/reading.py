"""A source's documents in order, over its files, as far as there is time for them."""

import time
from collections.abc import Iterator

from llmtrain.api.curation import Curation, SourceFormat
from llmtrain.inspection.report import Stop
from llmtrain.storage.store import Store
from llmtrain_jobs.curation.corpus import Corpus
from llmtrain_jobs.curation.layout import Layout
from llmtrain_jobs.curation.prepare import Summary, counted, records_in
from llmtrain_jobs.curation.reading.formats import format_of
from llmtrain_jobs.curation.reading.opened import Part
from llmtrain_jobs.curation.reading.parts import source_files
from llmtrain_jobs.curation.reading.record import Record


class Reading:
    """Reads as it is asked to, and counts as curation does."""

    def __init__(self, store: Store, curation: Curation, source: int, until: float) -> None:
        """`source`: its place in the manifest; `until`: monotonic seconds. Raises BadInput where no file matches."""
        self._store, self._curation, self._until = store, curation, until
        self._parts: list[Part] = []
        self._summaries: list[Summary] = []
        self.files = source_files(store, curation.sources[source], f"spec.curation.sources[{source}]")
        self.stopped: Stop | None = None
        self.documents = self._documents(source)

    @property
    def corpus(self) -> Corpus:
        """What was read until now."""
        return Corpus(Layout(""), self._parts, self._summaries)

    @property
    def is_late(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() > self._until

    def _documents(self, source: int) -> Iterator[tuple[str, Record]]:
        """(file, document); it ends at the source's end or with the time."""
        for number, file in enumerate(self.files):
            rows = format_of(self._curation.sources[source], file) is SourceFormat.PARQUET
            part, summary = Part(number, source, file, rows=rows), Summary(records=[0])
            self._parts.append(part)
            self._summaries.append(summary)
            with self._store.open(file) as raw:
                for record in records_in(raw, self._curation, part):
                    if self.is_late:
                        self.stopped = Stop.SECONDS
                        return
                    if counted(record, summary):
                        summary.records[0] += 1
                        yield file, record
        self.stopped = Stop.END
