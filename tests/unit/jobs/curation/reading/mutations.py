"""Files that were changed at random, and what a reader that shares no code with ours makes of them.

Each is drawn from a number alone, so that one that fails can be made again: `check(kind, number)`.
"""

import bz2
import gzip
import io
import json
import lzma
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from llmtrain_jobs.curation.reading.streams import zstd

from tests.unit.jobs.curation.reading.files import read

ROWS: list[dict[str, Any]] = [
    {"text": f'Text {n}, "ü" \\ ' + "word " * (n % 30), "id": n, "more": [{"a": [n]}]} for n in range(60)
]
LINES = "".join(json.dumps(row, ensure_ascii=bool(row["id"] % 2)) + "\n" for row in ROWS).encode()
LONGEST = 1 << 20
FAILURES = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zstd.ZstdError, pa.ArrowException)


def mutated(generator: random.Random, data: bytes) -> bytes:
    """Bits flipped, bytes changed, taken out and put in, the end cut off."""
    changed = bytearray(data)
    for _ in range(generator.choice([1, 1, 2, 4, 16])):
        place = generator.randrange(len(changed) + 1)
        match generator.randrange(5):
            case 0 if place < len(changed):
                changed[place] ^= 1 << generator.randrange(8)
            case 1:
                changed[place : place + 1] = bytes(
                    [generator.choice([0, 10, 34, 92, 127, 128, 255, generator.randrange(256)])]
                )
            case 2:
                del changed[place : place + generator.choice([1, 4, 20, 200])]
            case 3:
                changed[place:place] = generator.randbytes(generator.choice([1, 4, 20]))
            case _ if generator.random() < 0.3:
                del changed[place:]
    return bytes(changed)


def lines_of(data: bytes) -> list[str]:
    """Texts of lines that are JSON by themselves."""
    found = []
    for line in data.split(b"\n"):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and isinstance(row.get("text"), str) and row["text"].strip():
            found.append(row["text"])
    return found


def fed(unpacker: Callable[[], Any], data: bytes) -> bytes:
    """What a decompressor of the standard library gives that is fed byte by byte, stream after stream."""
    found, inner = bytearray(), unpacker()
    try:
        for place in range(len(data)):
            found += inner.decompress(data[place : place + 1])
            if inner.eof:
                inner = unpacker()
                if not data.startswith(data[:2], place + 1):
                    break
    except FAILURES:
        pass
    return bytes(found)


def rows_of(data: bytes) -> list[str]:
    """Texts of the row groups before the first of which a column cannot be read."""
    found: list[str] = []
    try:
        file = pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True)
        for group in range(file.num_row_groups):
            found += [
                text
                for text in file.read_row_group(group, columns=["text", "id", "date"]).column(0).to_pylist()
                if isinstance(text, str) and text.strip()
            ]
    except FAILURES:
        pass
    return found


@cache
def parquet_files() -> list[bytes]:
    """The same rows in several ways to write them."""
    table = pa.table(
        {
            "text": [row["text"] for row in ROWS],
            "id": pa.array(range(len(ROWS))),
            "date": pa.array([1_700_000_000_000] * len(ROWS), pa.timestamp("ms", "Europe/Berlin")),
        }
    )
    found = []
    for options in ({}, {"use_dictionary": False}, {"compression": "zstd"}, {"compression": "none", "use_dictionary": False, "data_page_size": 200},
                    {"data_page_version": "2.0", "compression": "gzip"}, {"write_page_checksum": True}):  # fmt: skip
        sink = io.BytesIO()
        pq.write_table(table, sink, row_group_size=20, **options)
        found.append(sink.getvalue())
    return found


@dataclass(frozen=True)
class Kind:
    """`whole`: files of which one is changed; `plain`: the bytes that are its records, `texts`: what has to come out, or None."""

    name: str
    whole: Callable[[], list[bytes]]
    plain: Callable[[bytes], bytes | None]
    texts: Callable[[bytes], list[str]]


def packed(name: str, pack: Callable[[bytes], bytes], unpacker: Callable[[], Any]) -> Kind:
    """Compressed lines, in one stream and in two."""
    whole = [pack(LINES), pack(LINES[:3000]) + pack(LINES[3000:])]
    return Kind(name, lambda: whole, lambda data: fed(unpacker, data), lines_of)


ARRAYS = [json.dumps(ROWS).encode(), json.dumps(ROWS, indent=1).encode()]
KINDS = {
    "lines": Kind("x.jsonl", lambda: [LINES], lambda data: data, lines_of),
    "array": Kind("x.json", lambda: ARRAYS, lambda data: data, lambda _: []),
    "gzip": packed("x.jsonl.gz", lambda data: gzip.compress(data, mtime=0), lambda: zlib.decompressobj(wbits=31)),
    "zstd": packed("x.jsonl.zst", zstd.compress, zstd.ZstdDecompressor),
    "bzip2": packed("x.jsonl.bz2", bz2.compress, bz2.BZ2Decompressor),
    "xz": packed("x.jsonl.xz", lzma.compress, lzma.LZMADecompressor),
    "parquet": Kind("x.parquet", parquet_files, lambda _: None, lambda _: []),
}  # fmt: skip


def check(kind: str, number: int) -> None:
    """One file: no error comes out, bytes add up, and what the other reader gives is there."""
    generator, how = random.Random(f"{kind} {number}"), KINDS[kind]
    data = mutated(generator, generator.choice(how.whole()))
    found = read(how.name, data, LONGEST)
    kept = [record.text for record in found if record.text and not record.problem]
    assert all(not record.fatal for record in found[:-1])
    plain = how.plain(data)
    if plain is not None:
        size = sum(record.size for record in found)
        assert size >= len(plain) if kind in ("gzip", "zstd", "bzip2", "xz") else size == len(plain), (size, len(plain))
    wanted = rows_of(data) if kind == "parquet" else how.texts(plain or b"")
    if kind not in ("lines", "parquet"):
        wanted = wanted[:-1]  # the last one may be half a line that happens to be JSON
    assert set(wanted) <= set(kept), [text for text in wanted if text not in kept]
