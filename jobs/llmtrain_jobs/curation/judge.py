"""Second step, part by part: what the rules say of every document. It reads signals, never texts."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from llmtrain.api.curation import Curation, PiiAction, PiiType
from llmtrain.storage.store import Store
from llmtrain_jobs.curation.corpus import Chunk
from llmtrain_jobs.curation.layout import Layout
from llmtrain_jobs.curation.lists import Gone, from_domain
from llmtrain_jobs.curation.presets import Bound
from llmtrain_jobs.curation.rules import bounds_of, broken_by_language, wrong_language
from llmtrain_jobs.curation.tables import floats, integers, read_table, strings

BAD_RECORD, TAKEDOWN, DOMAIN, EMPTY = "badRecord", "takedown", "blockedDomain", "emptyAfterEdits"
PII, LANGUAGE, NO_TEXT = "pii", "language", "noMainText"
CONTAMINATED, HELD_OUT, KEPT = "contaminated", "heldOut", "kept"
EXACT, NEAR, PARAGRAPHS = "duplicate.exact", "duplicate.near", "duplicate.paragraphs"
FIRST_FATES = (BAD_RECORD, TAKEDOWN, DOMAIN, NO_TEXT, EMPTY, PII, LANGUAGE)


def fates_of(curation: Curation) -> list[str]:
    """All fates in the order in which they apply; a document has the first."""
    rules = [bound.name for bound in bounds_of(curation.filters)]
    return [*FIRST_FATES, *rules, CONTAMINATED, EXACT, NEAR, PARAGRAPHS, HELD_OUT, KEPT]


@dataclass(frozen=True)
class Lists:
    """Ids and URLs that have to go, domains that no document may come from."""

    gone: Gone = field(default_factory=Gone)
    domains: frozenset[str] = frozenset()


@dataclass
class Judged:
    """Of one part's documents: arrays (documents,), and `broken` (documents, fates before CONTAMINATED)."""

    broken: NDArray[np.bool_]
    size: NDArray[np.int64]
    read: NDArray[np.int64]
    kept: NDArray[np.int64]
    day: NDArray[np.int64]
    key_high: NDArray[np.uint64]
    key_low: NDArray[np.uint64]
    pii: dict[str, int]


def judge(store: Store, layout: Layout, curation: Curation, chunks: list[Chunk], lists: Lists) -> Judged:
    """What the rules and the lists say of a part."""
    tables = (read_table(store, layout.chunk(chunk.part, chunk.index, "signals")) for chunk in chunks)
    return joined([judge_table(table, curation, lists) for table in tables]) if chunks else nothing_judged(curation)


def nothing_judged(curation: Curation) -> Judged:
    """Of no document."""
    nothing, empty = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint64)
    rules = np.zeros((0, fates_of(curation).index(CONTAMINATED)), dtype=np.bool_)
    return Judged(rules, nothing, nothing, nothing, nothing, empty, empty, {})


def joined(parts: Sequence[Judged]) -> Judged:
    """All parts' documents, in order."""
    names = [field.name for field in fields(Judged) if field.name != "pii"]
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    kinds = sorted({kind for part in parts for kind in part.pii})
    return Judged(**columns, pii={kind: sum(part.pii.get(kind, 0) for part in parts) for kind in kinds})


def judge_table(table: pa.Table, curation: Curation, lists: Lists) -> Judged:
    """The documents of a table of signals."""
    bounds = bounds_of(curation.filters)
    bad = np.array([bool(problem) for problem in strings(table, "problem")])
    textless = integers(table, "textless") > 0
    unread = bad | textless
    found = {kind.value: integers(table, f"pii.{kind.value}") for kind in PiiType}
    dropped = (
        sum(found.values()) > 0 if curation.pii.action is PiiAction.DROP else np.zeros(table.num_rows, dtype=np.bool_)
    )
    languages = np.array(strings(table, "language"), dtype=np.str_)
    columns = [
        bad,
        taken_down(table, lists.gone),
        blocked(table, lists.domains),
        textless,
        ~unread & (floats(table, "words") == 0) & (integers(table, "kept") == 0),
        dropped,
        ~unread & wrong_language(curation.filters, languages, floats(table, "languageScore")),
    ]
    judged = np.concatenate([np.stack(columns, axis=1), broken_in(table, bounds, languages)], axis=1)
    return Judged(
        judged,
        integers(table, "size"),
        integers(table, "read"),
        integers(table, "kept"),
        integers(table, "day"),
        table.column("keyHigh").to_numpy(),
        table.column("keyLow").to_numpy(),
        {name: int(counts.sum()) for name, counts in found.items()},
    )


def broken_in(table: pa.Table, bounds: list[Bound], languages: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Which document breaks which bound."""
    if not bounds:
        return np.zeros((table.num_rows, 0), dtype=np.bool_)
    names = {bound.signal for bound in bounds} | {"normalWords"}
    return broken_by_language(bounds, {name: floats(table, name) for name in names}, languages)


def taken_down(table: pa.Table, gone: Gone) -> NDArray[np.bool_]:
    """Documents whose id or URL is on the list."""
    if not gone:
        return np.zeros(table.num_rows, dtype=np.bool_)
    pairs = zip(strings(table, "id"), strings(table, "url"), strict=True)
    return np.array([gone.takes(name, url) for name, url in pairs], dtype=np.bool_)


def blocked(table: pa.Table, domains: frozenset[str]) -> NDArray[np.bool_]:
    """Documents from a blocked domain."""
    if not domains:
        return np.zeros(table.num_rows, dtype=np.bool_)
    return np.array([from_domain(url, domains) for url in strings(table, "url")], dtype=np.bool_)
