"""The input as a list of parts, each the work of one task. It depends on the files alone, never on the workers."""

from llmtrain.api.curation import Curation, Source, SourceFormat
from llmtrain.storage.store import GLOB, Store
from llmtrain_jobs.curation.reading.formats import format_of
from llmtrain_jobs.curation.reading.lines import HEAD
from llmtrain_jobs.curation.reading.opened import Part
from llmtrain_jobs.curation.reading.parquet import parquet_file
from llmtrain_jobs.curation.reading.streams import DAMAGE, SourceFile, compression_of
from llmtrain_jobs.curation.reading.values import is_values
from llmtrain_jobs.errors import bad_input

WHOLE = [(0, -1)]


def source_files(store: Store, source: Source, field: str) -> list[str]:
    """Files of a source, sorted; none, and a file whose format nobody knows, is an error that names the field."""
    try:
        files = store.files(source.path)
    except ValueError as error:
        raise bad_input(f"`{field}.path`: `{source.path}` is no glob: {error}", "SourceNotFound") from error
    if not files:
        hint = "; braces are no pattern" if "{" in source.path else ""
        hint += "" if GLOB.search(source.path) else "; a folder's files are `FOLDER/*`, all below it `FOLDER/**`"
        raise bad_input(f"`{field}.path`: no file matches `{source.path}`{hint}", "SourceNotFound")
    for file in files:
        format_of(source, file)
    return files


def parts_of(store: Store, curation: Curation) -> list[Part]:
    """All parts in the order of sources, files and places in the file."""
    parts: list[Part] = []
    for index, source in enumerate(curation.sources):
        for file in source_files(store, source, f"spec.curation.sources[{index}]"):
            rows = format_of(source, file) is SourceFormat.PARQUET
            for start, end in _stretches(store, source, file, curation.limits.part_bytes):
                parts.append(Part(len(parts), index, file, start, end, rows))
    return parts


def _stretches(store: Store, source: Source, file: str, size: int) -> list[tuple[int, int]]:
    kind, total = format_of(source, file), store.info(file)[0]
    if total > size and kind is SourceFormat.JSONL and compression_of(file)[1] is None:
        return _lines(store, file, total, size)
    if total > size and kind is SourceFormat.PARQUET:
        return _row_groups(store, file, size) or WHOLE
    return WHOLE


def _lines(store: Store, file: str, total: int, size: int) -> list[tuple[int, int]]:
    """Stretches of a file of lines; one of a file whose values go over several lines."""
    with store.open(file) as raw:
        if is_values(raw.read(HEAD)):
            return WHOLE
    return [(start, min(start + size, total)) for start in range(0, total, size)]


def _row_groups(store: Store, file: str, size: int) -> list[tuple[int, int]]:
    """Runs of row groups of at least `size` bytes; none for a file that is no Parquet, which its reader will say."""
    with store.open(file) as opened:
        raw = SourceFile(opened)
        try:
            metadata = parquet_file(raw).metadata
        except DAMAGE:
            raw.raise_failure()
            return []
    runs, start, held = [], 0, 0
    for group in range(metadata.num_row_groups):
        held += metadata.row_group(group).total_byte_size
        if held >= size or group == metadata.num_row_groups - 1:
            runs.append((start, group + 1))
            start, held = group + 1, 0
    return runs
