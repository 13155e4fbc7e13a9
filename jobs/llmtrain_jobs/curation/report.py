"""What came of it: the ledger, rules, sources, duplicates, personal data and benchmarks, as JSON."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from llmtrain_jobs.curation.contamination import Hit
from llmtrain_jobs.curation.corpus import Corpus
from llmtrain_jobs.curation.decide import Verdicts
from llmtrain_jobs.curation.flow import Duplicates, Flow
from llmtrain_jobs.curation.judge import Judged
from llmtrain_jobs.curation.ledger import by_source, ledger_of
from llmtrain_jobs.curation.publish import Published


@dataclass(frozen=True)
class Findings:
    """All that the steps found."""

    corpus: Corpus
    judged: Judged
    verdicts: Verdicts
    duplicates: Duplicates
    hits: list[Hit]
    published: Published
    counts: dict[str, Any]


def report_files(flow: Flow, found: Findings) -> dict[str, bytes]:
    """Files of the report by name."""
    return {"report.json": json.dumps(report_of(flow, found), sort_keys=True, indent=1).encode()}


def report_of(flow: Flow, found: Findings) -> dict[str, Any]:
    """The report for machines."""
    summaries = found.corpus.summaries
    ledger = ledger_of(found.judged, found.verdicts, sum(s.size for s in summaries), sum(s.blank for s in summaries))
    names = [source.name for source in flow.curation.sources]
    return {
        "ledger": ledger,
        "counts": found.counts,
        "sources": by_source(found.corpus.sources(), names, found.judged, found.verdicts),
        "piiFound": found.judged.pii,
        "contamination": [asdict(hit) for hit in found.hits],
        "duplicates": {
            "candidates": found.duplicates.candidates,
            "verified": len(found.duplicates.edges),
            "clusters": found.duplicates.shape.clusters,
            "members": found.duplicates.shape.members,
            "largest": found.duplicates.shape.largest,
            "diameters": found.duplicates.shape.diameters,
        },
        "damagedFiles": [p.file for p, s in zip(found.corpus.parts, summaries, strict=True) if s.damaged],
        "emptyFiles": sorted(
            {p.file for p, s in zip(found.corpus.parts, summaries, strict=True) if not s.records and not s.blank}
        ),
        "meanJaccard": float(np.mean(found.duplicates.edges["jaccard"])) if len(found.duplicates.edges) else None,
    }
