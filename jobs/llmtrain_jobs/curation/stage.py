"""Curation: read, edit, redact, measure; judge; find duplicates and benchmarks; decide; tokenize; report.

Every step is a list of ordered tasks that write files of their own (`pool.py`). What a step makes is named by what it
depends on, so that a run that was killed, or another with other rules, goes on from what is there.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from llmtrain.api.stageconfig import Result
from llmtrain.storage.keys import curation_key
from llmtrain_jobs.context import Context
from llmtrain_jobs.curation.contamination import Hit
from llmtrain_jobs.curation.decide import Verdicts, decide, staying
from llmtrain_jobs.curation.flow import Duplicates, Flow
from llmtrain_jobs.curation.gates import check_readable, check_requirements
from llmtrain_jobs.curation.inputs import benchmark_files, curation_fingerprint
from llmtrain_jobs.curation.judge import (
    CONTAMINATED,
    EXACT,
    FIRST_FATES,
    HELD_OUT,
    KEPT,
    NEAR,
    PARAGRAPHS,
    TAKEDOWN,
    Judged,
)
from llmtrain_jobs.curation.pool import Pool, RayPool
from llmtrain_jobs.curation.publish import (
    counts_of,
    publish,
    read_given,
    write_files,
    write_provenance,
    write_shards,
)
from llmtrain_jobs.curation.repeats import repeated_paragraphs, without_repeats
from llmtrain_jobs.curation.report import Findings, report_files
from llmtrain_jobs.curation.shards import index_of
from llmtrain_jobs.curation.telling import Teller, steps_of


def run(context: Context) -> Result:
    """Make the curated data set, or find it made; then hold it against its requirements."""
    return run_with(context, RayPool)


def run_with(context: Context, make_pool: Callable[[Context], Pool]) -> Result:
    """The same with tasks running elsewhere than on Ray."""
    spec = context.config.spec
    key = curation_key(spec, curation_fingerprint(context.store, spec))
    manifest, working = context.store.manifest("curation", key), 0.0
    if manifest is None:
        pool = make_pool(context)
        teller = Teller(context, steps_of(spec.curation, bool(benchmark_files(spec))))
        try:
            counts = curate(Flow(context, pool, teller), key)
        finally:
            pool.close()
        working = teller.working_seconds
    else:
        counts = manifest["counts"]
    check_requirements(spec.curation.require, counts)
    return result(key, counts).model_copy(update={"working_seconds": working})


def curate(flow: Flow, key: str) -> dict[str, Any]:
    """All steps; the counts of the artifact."""
    read_given(flow)  # What is wrong with a tokenizer is told before the sources are read.
    corpus = flow.prepare()
    check_readable(flow.curation, corpus)
    judged = flow.judged(corpus)
    hits = flow.contaminated(corpus)
    duplicates = flow.duplicates(corpus, judged)
    untouched = verdicts_of(flow, without_takedown(judged), hits, duplicates)
    repeats = repeated_paragraphs(flow, corpus, staying(untouched))
    untouched = without_repeats(flow, untouched, judged, repeats)
    verdicts = without_repeats(flow, verdicts_of(flow, judged, hits, duplicates), judged, repeats)
    published = publish(flow, corpus, judged, verdicts, untouched.fate == untouched.names.index(KEPT), repeats)
    counts = counts_of(flow, corpus, published) | shares(verdicts)
    listed = write_shards(flow, corpus, published, key)
    listed += write_provenance(flow, corpus, verdicts, duplicates.clusters, key)
    index = index_of(listed, published.dtype, published.end)
    findings = Findings(corpus, judged, verdicts, duplicates, hits, repeats, published, counts)
    files = {"tokenizer.json": published.tokenizer, "index.json": json.dumps(index, indent=1).encode()}
    listed += write_files(flow, key, files | report_files(flow, findings))
    flow.store.seal("curation", key, sorted(listed, key=lambda entry: str(entry["name"])), counts)
    return counts


def verdicts_of(flow: Flow, judged: Judged, hits: list[Hit], duplicates: Duplicates) -> Verdicts:
    """The fate of every document."""
    contaminated = np.zeros(len(judged.size), dtype=np.bool_)
    contaminated[[hit.document for hit in hits]] = True
    return decide(flow.curation, judged, contaminated, duplicates.first, duplicates.clusters, flow.spec.seed)


def without_takedown(judged: Judged) -> Judged:
    """As if nothing were taken down: the tokenizer's sample, and with it all other tokens, stay as they were."""
    broken = judged.broken.copy()
    broken[:, FIRST_FATES.index(TAKEDOWN)] = False
    return replace(judged, broken=broken)


def shares(verdicts: Verdicts) -> dict[str, str]:
    """Shares of all documents, for the gates."""

    def share(*fates: str) -> str:
        wanted = [verdicts.names.index(fate) for fate in fates]
        return f"{np.isin(verdicts.fate, wanted).mean():.6f}"

    return {
        "kept_share": share(KEPT, HELD_OUT),
        "duplicate_share": share(EXACT, NEAR, PARAGRAPHS),
        "contaminated_share": share(CONTAMINATED),
    }


def result(key: str, counts: dict[str, Any]) -> Result:
    """The stage's last words."""
    shown = (
        "documents",
        "kept_documents",
        "train_tokens",
        "validation_tokens",
        "validation_bytes",
        "unigram_bits_per_byte",
    )
    scores = {name: str(counts[name]) for name in shown}
    message = f"{counts['train_tokens']} tokens of {counts['kept_documents']} documents"
    return Result(outcome="Succeeded", message=message, artifact=key, scores=scores)
