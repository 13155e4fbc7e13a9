"""The input as a list of parts, each the work of one task. It depends on the files alone, never on the workers."""

import pyarrow.parquet as pq

from llmtrain.api.curation import Curation, Source, SourceFormat
from llmtrain.storage.store import Store
from llmtrain_jobs.curation.reading.formats import Part, format_of
from llmtrain_jobs.curation.reading.streams import DAMAGE
from llmtrain_jobs.errors import bad_input

COMPRESSED = (".gz", ".zst", ".zstd")


def source_files(store: Store, source: Source, field: str) -> list[str]:
    """Files of a source, sorted; none is an error that names the field."""
    files = store.glob(source.path)
    if not files:
        raise bad_input(f"`{field}.path`: no file matches `{source.path}`", "SourceNotFound")
    return files


def parts_of(store: Store, curation: Curation) -> list[Part]:
    """All parts in the order of sources, files and places in the file."""
    parts: list[Part] = []
    for index, source in enumerate(curation.sources):
        for file in source_files(store, source, f"spec.curation.sources[{index}]"):
            for start, end in _stretches(store, source, file, curation.limits.part_bytes):
                parts.append(Part(len(parts), index, file, start, end))
    return parts


def _stretches(store: Store, source: Source, file: str, size: int) -> list[tuple[int, int]]:
    kind, whole = format_of(source, file), [(0, -1)]
    total = store.info(file)[0]
    if total <= size:
        return whole
    if kind is SourceFormat.JSONL and not file.endswith(COMPRESSED):
        starts = range(0, total, size)
        return [(start, min(start + size, total)) for start in starts]
    if kind is SourceFormat.PARQUET:
        return _row_groups(store, file, size) or whole
    return whole


def _row_groups(store: Store, file: str, size: int) -> list[tuple[int, int]]:
    """Runs of row groups of at least `size` bytes; none for a file that is no Parquet, which its reader will say."""
    with store.open(file) as raw:
        try:
            metadata = pq.ParquetFile(raw).metadata
        except DAMAGE:
            return []
    runs, start, held = [], 0, 0
    for group in range(metadata.num_row_groups):
        held += metadata.row_group(group).total_byte_size
        if held >= size or group == metadata.num_row_groups - 1:
            runs.append((start, group + 1))
            start, held = group + 1, 0
    return runs
