"""Where every kept document comes from: one Parquet file a part, so that a person can ask what a model was trained on."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmtrain.storage.store import Store
from llmtrain_jobs.curation.corpus import Chunk
from llmtrain_jobs.curation.encode import OUT, TRAIN
from llmtrain_jobs.curation.layout import Layout
from llmtrain_jobs.curation.reading.record import whole_characters
from llmtrain_jobs.curation.tables import encoded, integers, read_table, strings


@dataclass(frozen=True)
class Origins:
    """A part's file and source, and of its documents the split and the cluster. `before`: lines of the file before it."""

    file: str
    source: str
    licence: str
    splits: NDArray[np.uint8]
    clusters: NDArray[np.int64]
    before: int = 0


def provenance(store: Store, layout: Layout, chunks: list[Chunk], origins: Origins) -> bytes:
    """document, split, source, licence, file, number in the file, id, url, cluster of every kept document."""
    columns: dict[str, list[Any]] = {
        name: [] for name in ("document", "split", "source", "licence", "file", "number", "id", "url", "cluster")
    }
    row = 0
    for chunk in chunks:
        splits = origins.splits[row : row + chunk.count]
        clusters = origins.clusters[row : row + chunk.count]
        row += chunk.count
        kept = np.flatnonzero(splits != OUT)
        about = read_table(store, layout.chunk(chunk.part, chunk.index, "signals"), ["id", "url", "number"])
        ids, urls, numbers = strings(about, "id"), strings(about, "url"), integers(about, "number")
        for place in kept.tolist():
            values = (
                chunk.first + place, "train" if splits[place] == TRAIN else "validation", origins.source, origins.licence,
                whole_characters(origins.file), origins.before + int(numbers[place]), ids[place], urls[place], int(clusters[place]),
            )  # fmt: skip
            for name, value in zip(columns, values, strict=True):
                columns[name].append(value)
    return encoded(columns)
