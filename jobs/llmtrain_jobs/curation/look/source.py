"""The first records of one source: read, prepared, judged, and what came of each."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from llmtrain.inspection.report import Amount, Example, RuleLoss, Share, SourceReport, Stop
from llmtrain.storage.store import Store
from llmtrain_jobs.curation.decide import Verdicts, decide, most_taken, staying
from llmtrain_jobs.curation.dedup.clusters import clusters_of, exact_pairs
from llmtrain_jobs.curation.gates import check_readable
from llmtrain_jobs.curation.judge import Judged, joined, judge_table, nothing_judged
from llmtrain_jobs.curation.ledger import ledger_of, text_sizes
from llmtrain_jobs.curation.look.reading import Reading
from llmtrain_jobs.curation.look.tools import Tools
from llmtrain_jobs.curation.prepare import Prepared, signal_columns
from llmtrain_jobs.curation.reading.record import Record, whole_characters
from llmtrain_jobs.curation.signals.words import normal_hashes
from llmtrain_jobs.errors import StageError

BATCH_ROWS, BATCH_CHARACTERS = 100, 1_000_000
"""Documents that are held with their texts, until they are judged."""
MOST_BYTES = 64_000_000
"""Of a source's first records."""
EXAMPLES, EXAMPLE_CHARACTERS = 2, 300
UTF8 = "utf-8"


@dataclass
class Seen:
    """What is kept of the documents that were judged, the beginning of each text among it."""

    judged: list[Judged] = field(default_factory=list)
    contaminated: list[bool] = field(default_factory=list)
    beginnings: list[Example] = field(default_factory=list)
    languages: Counter[str] = field(default_factory=Counter)
    charsets: Counter[str] = field(default_factory=Counter)

    @property
    def any_kept(self) -> bool:
        """Whether a document breaks no rule. Of those that repeat each other the first stays."""
        broken = np.concatenate([part.broken for part in self.judged]).any(axis=1) if self.judged else np.ones(0)
        return bool((~(broken.astype(np.bool_) | np.array(self.contaminated, dtype=np.bool_))).any())


class Batch:
    """Documents that wait for being judged together."""

    def __init__(self, tools: Tools, seen: Seen) -> None:
        """`seen`: what they are added to."""
        self._tools, self._seen = tools, seen
        self._rows: list[Prepared] = []
        self._characters = 0

    def add(self, file: str, record: Record) -> None:
        """Prepare a document."""
        row = self._tools.preparer.prepare(record)
        self._rows.append(row)
        self._characters += len(row.text)
        self._note(file, row)
        if len(self._rows) >= BATCH_ROWS or self._characters >= BATCH_CHARACTERS:
            self.judge()

    def judge(self) -> None:
        """Judge what waits."""
        if self._rows:
            table = pa.table(signal_columns(self._rows))
            self._seen.judged.append(judge_table(table, self._tools.curation, self._tools.lists))
        self._rows, self._characters = [], 0

    def _note(self, file: str, row: Prepared) -> None:
        record, seen = row.record, self._seen
        hits = self._tools.benchmarks.hits(0, normal_hashes(row.text)) if row.text else []
        seen.contaminated.append(bool(hits))
        if row.text:
            seen.languages[row.language[0]] += 1
        if not record.problem:
            seen.charsets[record.charset or UTF8] += 1
        shown = whole_characters((row.text or record.problem)[:EXAMPLE_CHARACTERS])
        name = whole_characters(record.origin.id)
        seen.beginnings.append(Example(fate="", file=whole_characters(file), record=record.number, id=name, text=shown))


def look_at(store: Store, tools: Tools, source: int, records: int, until: float) -> SourceReport:
    """Report of a source's first `records` documents. `until`: monotonic seconds."""
    reading, seen = Reading(store, tools.curation, source, until), Seen()
    stopped = _first(reading, Batch(tools, seen), records)
    report = _report(reading, seen, tools, source, stopped)
    if report.kept.records or not report.read.records:
        return report
    found, read = _further(reading, tools)
    changed = {"kept_at_all": found, "read_in_all": read, "whole": reading.stopped is Stop.END}
    return report.model_copy(update=changed)


def _first(reading: Reading, batch: Batch, records: int) -> Stop:
    """Judge so many documents; why no more."""
    size, stop = 0, None
    for count, (file, record) in enumerate(reading.documents, start=1):
        batch.add(file, record)
        size += record.size
        if count == records or size >= MOST_BYTES:
            stop = Stop.RECORDS if count == records else Stop.BYTES
            break
    batch.judge()
    return stop or reading.stopped or Stop.END


def _further(reading: Reading, tools: Tools) -> tuple[bool, int]:
    """Read on until a document would be kept; whether one was found, and how many were read in all."""
    while True:
        seen = Seen()
        batch = Batch(tools, seen)
        for file, record in islice(reading.documents, BATCH_ROWS):
            batch.add(file, record)
        batch.judge()
        if seen.any_kept or not seen.contaminated:
            return seen.any_kept, reading.corpus.count


def _report(reading: Reading, seen: Seen, tools: Tools, source: int, stopped: Stop) -> SourceReport:
    judged = joined(seen.judged) if seen.judged else nothing_judged(tools.curation)
    verdicts = _verdicts(seen, judged, tools)
    stays, none = staying(verdicts), np.zeros(len(judged.size), dtype=np.int64)
    summaries, corpus = reading.corpus.summaries, reading.corpus
    texts = text_sizes(judged, stays, none)
    ledger = ledger_of(judged, verdicts, sum(s.size for s in summaries), sum(s.blank for s in summaries), texts)
    kept = Amount(records=int(stays.sum()), bytes=int(judged.size[stays].sum()))
    own = tools.curation.sources[source]
    return SourceReport(
        name=own.name,
        path=own.path,
        files=len(reading.files),
        files_read=len(corpus.parts),
        stopped=stopped,
        read=Amount(records=ledger["read"]["documents"], bytes=ledger["read"]["bytes"]),
        text_bytes=int(judged.read.sum()),
        blank_bytes=ledger["blankBytes"],
        kept=_share(kept, len(stays)),
        kept_text_bytes=texts["kept"],
        lost=_lost(ledger, verdicts, stays),
        rules=_rules(ledger),
        skipped=_skipped(reading),
        languages=dict(seen.languages.most_common()),
        charsets=dict(seen.charsets.most_common()),
        pii_found={kind: count for kind, count in judged.pii.items() if count},
        damaged_files=corpus.damaged,
        first_problems=corpus.first_problems,
        unreadable=_unreadable(reading, tools),
        most_taken=most_taken(verdicts),
        examples=_examples(seen, verdicts),
        kept_at_all=bool(kept.records),
        whole=stopped is Stop.END,
        read_in_all=len(stays),
        not_applied=tools.not_applied,
    )


def _verdicts(seen: Seen, judged: Judged, tools: Tools) -> Verdicts:
    """The fate of each, near copies aside: these are looked for over the whole corpus."""
    count = len(judged.size)
    exact = (
        exact_pairs(judged.key_high, judged.key_low) if tools.curation.deduplication.exact else np.zeros((0, 2), int)
    )
    first = np.arange(count)
    first[exact[:, 1]] = exact[:, 0]
    contaminated = np.array(seen.contaminated, dtype=np.bool_)
    return decide(tools.curation, judged, contaminated, first, clusters_of(count, exact), tools.seed)


def _share(amount: Amount, count: int) -> Share:
    share = round(amount.records / count, 6) if count else 0.0
    return Share(records=amount.records, bytes=amount.bytes, share=share)


def _lost(ledger: dict[str, Any], verdicts: Verdicts, stays: Any) -> dict[str, Share]:
    """Fates of what does not stay, those that took most first."""
    remaining = {verdicts.names[fate] for fate in np.unique(verdicts.fate[stays]).tolist()}
    lost = {name: fate for name, fate in ledger["fates"].items() if name not in remaining}
    ordered = sorted(lost.items(), key=lambda item: -item[1]["documents"])
    return {name: _share(Amount(records=f["documents"], bytes=f["bytes"]), len(stays)) for name, f in ordered}


def _rules(ledger: dict[str, Any]) -> dict[str, RuleLoss]:
    found = ledger["rules"].items()
    return {
        name: RuleLoss(breaking=rule["breaking"], alone=rule["alone"], first=rule["first"])
        for name, rule in found
        if rule["breaking"]
    }


def _skipped(reading: Reading) -> dict[str, Amount]:
    counts: dict[str, list[int]] = {}
    for summary in reading.corpus.summaries:
        for reason, (records, size) in summary.skipped.items():
            entry = counts.setdefault(reason, [0, 0])
            entry[0], entry[1] = entry[0] + records, entry[1] + size
    return {reason: Amount(records=records, bytes=size) for reason, (records, size) in sorted(counts.items())}


def _unreadable(reading: Reading, tools: Tools) -> str:
    try:
        check_readable(tools.curation, reading.corpus)
    except StageError as error:
        return error.message
    return ""


def _examples(seen: Seen, verdicts: Verdicts) -> list[Example]:
    """The first documents of each fate."""
    counts: Counter[str] = Counter()
    found = []
    for fate, beginning in zip(verdicts.fate.tolist(), seen.beginnings, strict=True):
        name = verdicts.names[fate]
        counts[name] += 1
        if counts[name] <= EXAMPLES:
            found.append(beginning.model_copy(update={"fate": name}))
    return found
