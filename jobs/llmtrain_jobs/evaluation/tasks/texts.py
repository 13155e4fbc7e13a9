"""Perplexity and bits per byte of given files, by the harness' rolling windows."""

import hashlib
import json
from collections.abc import Callable
from typing import TypeVar

from llmtrain.api.curation import Source, SourceFormat
from llmtrain.api.evaluation import Task
from llmtrain.api.evaluationtasks import Perplexity
from llmtrain.storage.store import Store
from llmtrain_jobs.curation.reading.formats import format_of, records
from llmtrain_jobs.curation.reading.opened import Part as Stretch
from llmtrain_jobs.curation.reading.record import Record
from llmtrain_jobs.evaluation.tasks.catalogue import Part
from llmtrain_jobs.evaluation.tasks.metrics import weighted_perplexity
from llmtrain_jobs.evaluation.tasks.rows import Fields, RowError, check_rows, encodable

T = TypeVar("T")
LONGEST_BYTES = 1 << 26
"""Of one document."""
PAGES = (SourceFormat.WARC, SourceFormat.WET, SourceFormat.HTML)
"""Nobody chose these one by one: a page without a text is passed over."""
METRICS = [
    {"metric": "word_perplexity", "aggregation": weighted_perplexity, "higher_is_better": False},
    {"metric": "byte_perplexity", "aggregation": weighted_perplexity, "higher_is_better": False},
    {"metric": "bits_per_byte", "aggregation": "bits_per_byte", "higher_is_better": False},
]


def text_part(task: Task, perplexity: Perplexity, store: Store) -> Part:
    """All documents of the files as one task of the harness."""
    docs = [doc for file in perplexity.files for doc in documents(store, file, perplexity.text_field)]
    digest = hashlib.sha256(json.dumps(docs).encode()).hexdigest()
    config = {"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "text", "metric_list": METRICS,
              "metadata": {"version": 1.0, "sha256": digest}}  # fmt: skip
    return Part(task.name, config, docs, limit=task.limit)


def documents(store: Store, file: str, field: str) -> list[Fields]:
    """Each document of a file as curation reads it, whatever its format and compression.

    Raises bad input for one that it cannot read.
    """
    return _read(store, file, field, lambda fields: fields)


def check_documents(store: Store, file: str, field: str) -> int:
    """The same without keeping any; how many there are."""
    return len(_read(store, file, field, lambda _: True))


def _read(store: Store, file: str, field: str, keep: Callable[[Fields], T]) -> list[T]:
    source = Source(name="perplexity", path=file, text_field=field)
    pages = format_of(source, file) in PAGES
    with store.open(file) as raw:
        found = ((record.number, record) for record in records(raw, source, Stretch(0, 0, file), LONGEST_BYTES))
        return check_rows(file, found, lambda record: _kept(_document(record, field, pages), keep))


def _kept(fields: Fields | None, keep: Callable[[Fields], T]) -> T | None:
    return None if fields is None else keep(fields)


def _document(record: Record, field: str, is_page: bool) -> Fields | None:
    if is_page and record.readable:
        return None
    if record.problem:
        raise RowError(record.problem)
    return {"text": encodable(record.text, field)} if record.text.strip() else None
