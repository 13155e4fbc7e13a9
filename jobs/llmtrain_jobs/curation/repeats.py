"""Between deciding and tokenizing: repeated paragraphs leave the documents that stay."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from llmtrain.storage.keys import artifact_key
from llmtrain_jobs.curation import tasks
from llmtrain_jobs.curation.corpus import Corpus
from llmtrain_jobs.curation.decide import Verdicts, staying
from llmtrain_jobs.curation.dedup.paragraphs import PARAGRAPH, Paragraphs, in_order
from llmtrain_jobs.curation.flow import LSH_BYTES, Flow, digest
from llmtrain_jobs.curation.judge import PARAGRAPHS, Judged


@dataclass(frozen=True)
class Repeats:
    """`removed`: bytes that leave every document. `files`: of the parts that lose any. `key`: what all depends on."""

    removed: NDArray[np.int64]
    files: dict[int, str] = field(default_factory=dict)
    key: str = ""

    def file(self, part: int) -> str:
        """Where a part's repeats stand; empty where it has none."""
        return self.files.get(part, "")


def repeated_paragraphs(flow: Flow, corpus: Corpus, survivors: NDArray[np.bool_]) -> Repeats:
    """`survivors`: as if nothing had been taken down, so that no copy steps into the place of what was."""
    spec = flow.curation.deduplication.paragraphs
    if not spec.enabled:
        return Repeats(np.zeros(corpus.count, dtype=np.int64))
    key = artifact_key({"paragraphs": spec.min_words, "survivors": digest(np.packbits(survivors).tobytes())})
    arguments = [
        tasks.ParagraphTask(flow.layout, key, part.index, corpus.chunks[part.index], own)
        for part in corpus.parts
        if (own := survivors[corpus.span(part.index)]).any()
    ]
    counted = list(flow.teller.follow("paragraphs", flow.pool.map(tasks.paragraphs, arguments), len(arguments)))
    divisor = max(1, -(-sum(count for _, count in counted) * PARAGRAPH.itemsize // LSH_BYTES))
    files = [name for name, _ in counted]
    searches = [tasks.RepeatTask(flow.layout, key, files, number, divisor) for number in range(divisor)]
    names = flow.teller.follow("repeats", flow.pool.map(tasks.repeats, searches), divisor, "buckets")
    blocks = [tasks.load_array(flow.store.read(name)) for name in names]
    return _by_part(flow, corpus, in_order(np.concatenate(blocks)), key)


def _by_part(flow: Flow, corpus: Corpus, found: Paragraphs, key: str) -> Repeats:
    files = {}
    for part in corpus.parts:
        span = corpus.span(part.index)
        first, end = np.searchsorted(found["document"], [span.start, span.stop])
        if first < end:
            files[part.index] = flow.layout.step("paragraphs", key, f"removed-{part.index:06d}.npy")
            flow.store.write(files[part.index], tasks.array_bytes(found[first:end]))
    removed = np.zeros(corpus.count, dtype=np.int64)
    np.add.at(removed, found["document"], found["size"])
    return Repeats(removed, files, key)


def without_repeats(flow: Flow, verdicts: Verdicts, judged: Judged, repeats: Repeats) -> Verdicts:
    """A document that consists of repeats, or nearly so, goes as a whole."""
    most = float(flow.curation.deduplication.paragraphs.max_removed_share)
    gone = staying(verdicts) & (repeats.removed > 0) & (repeats.removed > most * judged.kept)
    fate = verdicts.fate.copy()
    fate[gone] = verdicts.names.index(PARAGRAPHS)
    return replace(verdicts, fate=fate)
