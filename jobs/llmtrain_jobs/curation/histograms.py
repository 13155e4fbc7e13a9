"""Signals before and after, as counts in bins of equal width between the 1st and the 99th percentile of a sample."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmtrain_jobs.curation.corpus import Chunk
from llmtrain_jobs.curation.flow import Flow
from llmtrain_jobs.curation.prepare import SIGNALS
from llmtrain_jobs.curation.tables import floats, read_table, strings

BINS = 30
SAMPLED_CHUNKS = 16
SHOWN = ("words", "meanWordLength", "alphabeticWordShare", "terminalLineShare", "shortLineShare", "duplicateLineShare",
         "top2GramCharacterShare", "duplicate5GramCharacterShare", "newlinesPerWord", "removedWordShare")  # fmt: skip
SAMPLES_PER_RULE, SAMPLE_CHARACTERS = 3, 300


def sampled_chunks(chunks: list[Chunk]) -> list[Chunk]:
    """Chunks spread evenly over the corpus, the same for the same corpus."""
    if len(chunks) <= SAMPLED_CHUNKS:
        return chunks
    return [chunks[int(place)] for place in np.linspace(0, len(chunks) - 1, SAMPLED_CHUNKS)]


def histograms(flow: Flow, chunks: list[Chunk], kept: NDArray[np.bool_]) -> dict[str, Any]:
    """For every shown signal the edges of its bins and how many documents of the sample fall into each."""
    tables = [read_table(flow.store, flow.layout.chunk(c.part, c.index, "signals"), SHOWN) for c in chunks]
    staying = np.concatenate([kept[c.first : c.first + c.count] for c in chunks])
    found = {}
    for name in (name for name in SIGNALS if name in SHOWN):
        values = np.concatenate([floats(table, name) for table in tables])
        good = np.isfinite(values)
        if good.any():
            low, high = np.percentile(values[good], [1, 99])
            edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
            before = np.histogram(np.clip(values[good], edges[0], edges[-1]), edges)[0]
            after = np.histogram(np.clip(values[good & staying], edges[0], edges[-1]), edges)[0]
            found[name] = {"edges": edges.round(6).tolist(), "before": before.tolist(), "after": after.tolist()}
    return found


def samples(
    flow: Flow, chunks: list[Chunk], fates: NDArray[np.uint8], names: list[str]
) -> dict[str, list[dict[str, Any]]]:
    """The first documents of each fate in the sample, their texts cut: what people read to trust a rule."""
    found: dict[str, list[dict[str, Any]]] = {}
    for chunk in chunks:
        own = [names[fate] for fate in fates[chunk.first : chunk.first + chunk.count]]
        rows = [row for row, name in enumerate(own) if len(found.get(name, [])) < SAMPLES_PER_RULE]
        if not rows:
            continue
        texts = strings(read_table(flow.store, flow.layout.chunk(chunk.part, chunk.index, "text")), "text")
        about = read_table(flow.store, flow.layout.chunk(chunk.part, chunk.index, "signals"), ["id", "problem"])
        ids, problems = strings(about, "id"), strings(about, "problem")
        for row in rows:
            entries = found.setdefault(own[row], [])
            if len(entries) < SAMPLES_PER_RULE:
                shown = texts[row][:SAMPLE_CHARACTERS] or problems[row]
                entries.append({"document": chunk.first + row, "id": ids[row], "text": shown})
    return found
