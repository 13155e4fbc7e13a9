"""First step, part by part: read, edit, redact, measure, sign. Everything later works on what this writes."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import IO, Any

import numpy as np
import xxhash

from llmtrain.api.curation import Curation, Filters, PiiAction, PiiType
from llmtrain.storage.store import Store
from llmtrain_jobs.curation.dates import day_of
from llmtrain_jobs.curation.edits import clean, edit
from llmtrain_jobs.curation.language import language_of, model_from, shipped_model
from llmtrain_jobs.curation.layout import Layout
from llmtrain_jobs.curation.lists import Phrases, entries_of
from llmtrain_jobs.curation.minhash import Permutations, shingles_of
from llmtrain_jobs.curation.pii.redact import find, replaced
from llmtrain_jobs.curation.reading.formats import records
from llmtrain_jobs.curation.reading.opened import Part
from llmtrain_jobs.curation.reading.pagelimits import PageLimits
from llmtrain_jobs.curation.reading.record import Record, whole_characters
from llmtrain_jobs.curation.scoring import score_of
from llmtrain_jobs.curation.signals.hashing import Hashes
from llmtrain_jobs.curation.signals.measure import TEXT_SIGNALS, measure
from llmtrain_jobs.curation.signals.words import Words, words_of
from llmtrain_jobs.curation.tables import encoded

SIGNALS = ("removedWordShare", "blockedWords", *TEXT_SIGNALS)
EMPTY_KEY = (0, 0)
SYMBOLS = 1
"""Seed that keeps the keys of texts without words apart from others."""
MOST_ROWS = 8192
"""Of a chunk: what is held beside the texts is a few kilobytes a document."""


@dataclass
class Summary:
    """What a part holds. `size`: bytes of its records, `blank`: of what stands between them, `bad`: of bad records.

    `unread`: bad records that could not be read at all. `lines`: how far its numbers count, blank lines too.
    `skipped`: records and bytes of a web archive that hold no document, by what they are.
    """

    records: list[int] = field(default_factory=list)
    size: int = 0
    blank: int = 0
    problems: int = 0
    bad: int = 0
    unread: int = 0
    lines: int = 0
    damaged: str = ""
    first_problem: str = ""
    first_number: int = 0
    skipped: dict[str, list[int]] = field(default_factory=dict)

    @classmethod
    def load(cls, data: bytes) -> "Summary":
        """From `encoded`."""
        return cls(**json.loads(data))

    def encoded(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self)).encode()


@dataclass(frozen=True)
class Prepared:
    """One document ready to be written."""

    record: Record
    text: str = ""
    numbers: dict[str, float] = field(default_factory=dict)
    language: tuple[str, float] = ("", 0.0)
    pii: Counter[PiiType] = field(default_factory=Counter)
    key: tuple[int, int] = EMPTY_KEY
    signature: Any = None


class Preparer:
    """Holds what is made once a process."""

    def __init__(self, store: Store, curation: Curation) -> None:
        """Models are loaded here."""
        self._curation = curation
        minhash = curation.deduplication.min_hash
        self.permutations = Permutations.make(minhash.permutations, minhash.bands)
        self._shingle = minhash.shingle_words
        self._scores = {c.name: score_of(store, c) for c in curation.filters.classifiers}
        self._languages = _language_model(store, curation.filters)
        blocked = curation.filters.blocked_words
        self._blocked = Phrases(entries_of(store, blocked, "spec.curation.filters.blockedWords"))

    def prepare(self, record: Record) -> Prepared:
        """Edit, redact, measure, sign. The language is that of the text before placeholders, which are English."""
        if record.problem or record.textless:
            return Prepared(record)
        edited = edit(clean(record.text), self._curation.edits)
        language = language_of(self._languages, edited.text)
        findings = find(edited.text, self._curation.pii.types)
        text = replaced(edited.text, findings) if self._curation.pii.action is PiiAction.PLACEHOLDER else edited.text
        words = words_of(text, language[0])
        numbers = {"removedWordShare": edited.removed_word_share} | measure(text, words) | self._judged(text, words)
        shingles = shingles_of(words.normal, self._shingle)
        signature = self.permutations.signature(shingles) if len(shingles) else None
        found = Counter(finding.kind for finding in findings)
        return Prepared(record, text, numbers, language, found, content_key(words), signature)

    def _judged(self, text: str, words: Words) -> dict[str, float]:
        scores = {f"classifier.{name}": score(text) for name, score in self._scores.items()}
        return {"blockedWords": float(self._blocked.count(words.normal))} | scores


def _language_model(store: Store, filters: Filters) -> Any:
    if not filters.language_model:
        return shipped_model()
    with store.open(filters.language_model) as file:
        return model_from(file.read(), f"`spec.curation.filters.languageModel`: `{filters.language_model}`")


def content_key(words: Words) -> tuple[int, int]:
    """128 bits of the text without case, punctuation and spaces; zeros for one of spaces alone.

    Of a text without letters and digits the symbols count, as spaces separate them.
    """
    if len(words.normal):
        return divmod(xxhash.xxh3_128_intdigest(words.normal.tobytes()), 2**64)
    return divmod(xxhash.xxh3_128_intdigest(words.hashes.tobytes(), SYMBOLS), 2**64) if len(words.hashes) else EMPTY_KEY


def prepare_part(store: Store, curation: Curation, layout: Layout, part: Part, preparer: Preparer) -> Summary:
    """Write one part's chunks, then its summary; a part that has one is never read again."""
    summary = Summary()
    with store.open(part.file) as raw:
        for chunk, batch in enumerate(chunked(records_in(raw, curation, part), curation, summary)):
            write_chunk(store, layout, part, chunk, [preparer.prepare(record) for record in batch], preparer)
            summary.records.append(len(batch))
    store.write(layout.part(part.index), summary.encoded())
    return summary


def records_in(raw: IO[bytes], curation: Curation, part: Part) -> Iterator[Record]:
    """A part's records, as the manifest says how to read them."""
    limits = curation.limits
    pages = PageLimits(limits.page_seconds, curation.pages.comments)
    return records(raw, curation.sources[part.source], part, limits.document_bytes, pages)


def chunked(found: Iterator[Record], curation: Curation, summary: Summary) -> Iterator[list[Record]]:
    """Records in lists of about `chunkBytes`; counts on the way."""
    held: list[Record] = []
    size = 0
    for record in found:
        if not counted(record, summary):
            continue
        held.append(record)
        size += max(record.size, len(record.text))
        if size >= curation.limits.chunk_bytes or len(held) >= MOST_ROWS:
            yield held
            held, size = [], 0
    if held:
        yield held


def counted(record: Record, summary: Summary) -> bool:
    """Count a record; whether it stands for a document, a bad one too."""
    summary.lines = record.number
    if not _holds_a_document(record, summary):
        return False
    summary.size += record.size
    _note_problem(record, summary)
    return True


def _holds_a_document(record: Record, summary: Summary) -> bool:
    """Whether a record counts as a document, a bad one too; the bytes of others are counted here."""
    if record.skipped:
        counts = summary.skipped.setdefault(record.skipped, [0, 0])
        counts[0] += 1
        counts[1] += record.size
        return False
    if record.size and not record.text and not record.problem and not record.textless:
        summary.blank += record.size
        return False
    return True


def _note_problem(record: Record, summary: Summary) -> None:
    if record.problem:
        summary.problems += 1
        summary.bad += record.size
        summary.unread += not record.readable
        if not summary.first_problem:
            summary.first_problem, summary.first_number = record.problem, record.number
        if record.fatal:
            summary.damaged = record.problem


def write_chunk(store: Store, layout: Layout, part: Part, chunk: int, rows: list[Prepared], preparer: Preparer) -> None:
    """Three files: texts, signals, bands."""
    name = partial(layout.chunk, part.index, chunk)
    store.write(name("text"), encoded({"text": [row.text for row in rows]}))
    store.write(name("signals"), encoded(signal_columns(rows)))
    store.write(name("bands"), bands_of(rows, preparer.permutations).tobytes())


def signal_columns(rows: list[Prepared]) -> dict[str, Any]:
    """Columns of the table of signals; numbers of a bad record are not numbers."""
    names = [*SIGNALS, *sorted({name for row in rows for name in row.numbers} - set(SIGNALS))]
    columns: dict[str, Any] = {
        "id": [whole_characters(row.record.origin.id) for row in rows],
        "url": [whole_characters(row.record.origin.url) for row in rows],
        "day": np.array([day_of(row.record.origin.date) for row in rows], dtype=np.int32),
        "number": np.array([row.record.number for row in rows], dtype=np.int64),
        "size": np.array([row.record.size for row in rows], dtype=np.int64),
        "read": np.array([len(row.record.text.encode(errors="replace")) for row in rows], dtype=np.int64),
        "kept": np.array([len(row.text.encode()) for row in rows], dtype=np.int64),
        "problem": [whole_characters(row.record.problem) for row in rows],
        "textless": np.array([row.record.textless for row in rows], dtype=np.int8),
        "language": [row.language[0] for row in rows],
        "languageScore": np.array([row.language[1] for row in rows]),
        "keyHigh": np.array([row.key[0] for row in rows], dtype=np.uint64),
        "keyLow": np.array([row.key[1] for row in rows], dtype=np.uint64),
    }
    columns |= {f"pii.{kind.value}": np.array([row.pii[kind] for row in rows], dtype=np.int32) for kind in PiiType}
    return columns | {name: np.array([row.numbers.get(name, np.nan) for row in rows]) for name in names}


def bands_of(rows: list[Prepared], permutations: Permutations) -> Hashes:
    """(bands, documents); 0 for a document without a signature, which is like no other."""
    empty = np.zeros(len(permutations.multipliers), dtype=np.uint32)
    signed = np.array([row.signature is not None for row in rows])
    signatures = np.stack([row.signature if row.signature is not None else empty for row in rows])
    hashes: Hashes = np.where(signed[:, None], permutations.band_hashes(signatures), np.uint64(0))
    return np.ascontiguousarray(hashes.T)
