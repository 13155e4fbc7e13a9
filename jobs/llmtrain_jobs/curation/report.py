"""What came of it: the ledger, rules, sources, duplicates, personal data and benchmarks, as JSON."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from llmtrain_jobs.curation.contamination import Hit
from llmtrain_jobs.curation.corpus import Corpus
from llmtrain_jobs.curation.decide import Verdicts, staying
from llmtrain_jobs.curation.flow import Duplicates, Flow
from llmtrain_jobs.curation.histograms import histograms, sampled_chunks, samples
from llmtrain_jobs.curation.judge import Judged
from llmtrain_jobs.curation.ledger import by_source, ledger_of, text_sizes
from llmtrain_jobs.curation.page import page
from llmtrain_jobs.curation.publish import Published
from llmtrain_jobs.curation.repeats import Repeats


@dataclass(frozen=True)
class Findings:
    """All that the steps found."""

    corpus: Corpus
    judged: Judged
    verdicts: Verdicts
    duplicates: Duplicates
    hits: list[Hit]
    repeats: Repeats
    published: Published
    counts: dict[str, Any]


def report_files(flow: Flow, found: Findings) -> dict[str, bytes]:
    """Files of the report by name."""
    report = report_of(flow, found)
    title = f"Curation of {flow.context.config.namespace}/{flow.context.config.job}"
    return {"report.json": json.dumps(report, sort_keys=True, indent=1).encode(), "report.html": page(report, title)}


def report_of(flow: Flow, found: Findings) -> dict[str, Any]:
    """The report for machines."""
    summaries, verdicts = found.corpus.summaries, found.verdicts
    chunks = sampled_chunks(list(found.corpus.all_chunks()))
    kept = staying(verdicts)
    texts = text_sizes(found.judged, kept, found.repeats.removed)
    ledger = ledger_of(found.judged, verdicts, sum(s.size for s in summaries), sum(s.blank for s in summaries), texts)
    ledger["skipped"] = skipped_of(found.corpus)
    return {
        "ledger": ledger,
        "counts": found.counts,
        "sources": sources_of(flow, found),
        "piiFound": found.judged.pii,
        "contamination": [asdict(hit) for hit in found.hits],
        "duplicates": duplicates_of(found.duplicates),
        "damagedFiles": sorted(found.corpus.damaged),
        "emptyFiles": empty_files(found.corpus),
        "firstProblems": found.corpus.first_problems,
        "histograms": histograms(flow, chunks, kept),
        "samples": samples(flow, chunks, verdicts.fate, verdicts.names),
    }


def skipped_of(corpus: Corpus) -> dict[str, dict[str, int]]:
    """Records of web archives that hold no document, by what they are."""
    found: dict[str, dict[str, int]] = {}
    for summary in corpus.summaries:
        for reason, (records, size) in summary.skipped.items():
            entry = found.setdefault(reason, {"records": 0, "bytes": 0})
            entry["records"] += records
            entry["bytes"] += size
    return dict(sorted(found.items()))


def sources_of(flow: Flow, found: Findings) -> dict[str, Any]:
    """By source: what was read and kept, tokens exact for what is kept and estimated for what is dropped."""
    names = [source.name for source in flow.curation.sources]
    result = by_source(found.corpus.sources(), names, found.judged, found.verdicts, found.repeats.removed)
    for source in flow.curation.sources:
        entry, tokens = result[source.name], found.counts["sources"][source.name]
        dropped = entry["textBytes"] - entry["keptTextBytes"]
        rate = tokens["tokens_per_byte"]
        entry |= {
            "group": source.group,
            "licence": source.licence,
            "tokens": tokens["tokens"],
            "tokensPerByte": rate,
            "estimatedTokensDropped": round(dropped * rate) if rate else 0,
        }
    return result


def duplicates_of(found: Duplicates) -> dict[str, Any]:
    """Counts of candidates, verified pairs and clusters."""
    shape = found.shape
    return {
        "candidates": found.candidates,
        "verified": len(found.edges),
        "clusters": shape.clusters,
        "members": shape.members,
        "largest": shape.largest,
        "diameters": shape.diameters,
    }


def empty_files(corpus: Corpus) -> list[str]:
    """Files without any record."""
    filled = {part.file for part, summary in zip(corpus.parts, corpus.summaries, strict=True) if summary.records}
    return sorted({part.file for part in corpus.parts} - filled)
