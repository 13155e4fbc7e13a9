"""A compressed file gives what its own tool gives, to the byte before the damage; storage's errors are never damage."""

import bz2
import errno
import gzip
import io
import itertools
import json
import lzma
import random
import subprocess
import zlib
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from llmtrain_jobs.curation.reading.formats import records
from llmtrain_jobs.curation.reading.opened import Part
from llmtrain_jobs.curation.reading.streams import GzipMember, SourceFile, plain, zstd

from llmtrain.api.curation import Source
from tests.unit.jobs.curation.reading.files import problems, read, texts

TEXTS = [f"text {number} " + "x" * (number % 7) for number in range(200)]
LINES = b"".join(json.dumps({"text": text}).encode() + b"\n" for text in TEXTS)
NOISE = bytes(random.Random(0).choices(range(33, 127), k=300_000))


def checked_zstd(data: bytes) -> bytes:
    """With a checksum, as the tool writes it."""
    return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1})


PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": lambda data: gzip.compress(data, mtime=0), ".zst": checked_zstd, ".zstd": zstd.compress,
    ".bz2": bz2.compress, ".xz": lzma.compress,
}  # fmt: skip


def unpacked(name: str, data: bytes, size: int = -1) -> tuple[bytes, Exception | None]:
    raw = SourceFile(io.BytesIO(data))
    return plain(raw, name).read(size), raw.damage


@pytest.mark.parametrize(
    ("ending", "packed"), [*itertools.product([".jsonl", ".JSONL", ".NdJson"], [*PACK, ".GZ", ".Bz2"])]
)
def test_endings_count_in_any_case(ending: str, packed: str) -> None:
    assert texts(read("in/x" + ending + packed, PACK[packed.lower()](LINES))) == TEXTS


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :]


ONE, TWO = gzip.compress(NOISE, mtime=0), gzip.compress(LINES, mtime=0)
GZIPS = {
    "one member": ONE, "two members": ONE + TWO, "an empty member between": ONE + gzip.compress(b"") + TWO,
    "a line end behind": TWO + b"\r\n", "zeros behind": TWO + bytes(600),
    "half a magic number behind": TWO + b"\x1f", "other bytes behind": ONE + b"not gzip" * 20000,
    "a header that is cut": ONE[:7], "cut early": ONE[:100], "cut late": ONE[:-100_000], "without its checksum": ONE[:-8],
    "the second member cut": ONE + TWO[:-40], "a wrong checksum": flipped(TWO, -6), "a wrong length": flipped(TWO, -1),
    "no gzip": LINES,
}  # fmt: skip


@pytest.mark.parametrize("case", list(GZIPS))
def test_gzip_gives_what_gzip_d_gives(case: str) -> None:
    tool = subprocess.run(["gzip", "-dc"], input=GZIPS[case], capture_output=True, check=False)
    found, damage = unpacked("x.gz", GZIPS[case])
    damaged = tool.returncode == 1  # 2 is a warning: bytes behind that are passed over
    assert (damage is not None) == damaged
    assert found.startswith(tool.stdout)  # of the byte that a cut goes through gzip drops what stands in its first bits
    assert len(found) - len(tool.stdout) <= (2 if damaged else 0)


def test_zeros_between_members_are_padding() -> None:
    assert unpacked("x.gz", ONE + bytes(100_000) + TWO) == (NOISE + LINES, None)


def before_the_damage(unpacker: Any, data: bytes, most: int = 1) -> bytes:
    """What a decompressor gives that is fed byte by byte and asked for byte after byte, or block after block (-1)."""
    found = bytearray()
    try:
        for place in range(len(data)):
            given = data[place : place + 1]
            while not unpacker.eof and (given or not unpacker.needs_input):
                made = unpacker.decompress(given, most)
                found += made
                given = b""
                if not made:
                    break
    except (OSError, lzma.LZMAError, zstd.ZstdError, zlib.error):
        pass
    return bytes(found)


UNPACKERS: dict[str, Callable[[], Any]] = {
    ".bz2": bz2.BZ2Decompressor, ".xz": lzma.LZMADecompressor, ".zst": zstd.ZstdDecompressor
}  # fmt: skip


@pytest.mark.parametrize(("ending", "change"), [*itertools.product(UNPACKERS, ["cut", "flipped"])])
def test_nothing_before_the_damage_is_lost(ending: str, change: str) -> None:
    whole = (
        bz2.compress(NOISE[:150_000], 1)
        if ending == ".bz2"
        else PACK[ending](NOISE[: 150_000 if ending == ".zst" else 40_000])
    )
    data = whole[:-9000] if change == "cut" else flipped(whole, len(whole) * 3 // 4)
    expected = before_the_damage(UNPACKERS[ending](), data, -1 if ending == ".bz2" else 1)
    assert len(expected) > 20_000
    for size in (777, 1 << 20):
        raw = SourceFile(io.BytesIO(data))
        stream, found = plain(raw, "x" + ending), b""
        while more := stream.read(size):
            found += more
        assert found == expected
        assert raw.damage is not None


def test_a_flipped_byte_in_gzip_costs_nothing_before_it() -> None:
    data = flipped(gzip.compress(NOISE, mtime=0), 150_000)
    found, damage = unpacked("x.gz", data)
    expected = before_the_damage(GzipMember(), data)
    assert damage is not None
    assert len(expected) > 100_000
    assert found == expected


def test_streams_one_after_the_other_are_one_file_in_every_compression() -> None:
    for ending, pack in PACK.items():
        assert unpacked("x" + ending, pack(LINES) + pack(NOISE)) == (LINES + NOISE, None)


@pytest.mark.parametrize("ending", [".zst", ".xz"])
def test_other_bytes_behind_are_damage_where_the_tool_says_so(ending: str) -> None:
    found, damage = unpacked("x" + ending, PACK[ending](LINES) + b"\r\n")
    assert found == LINES
    assert damage is not None


def test_bytes_that_are_passed_over_are_told() -> None:
    found = read("x.jsonl.gz", TWO + LINES)
    assert texts(found) == TEXTS
    assert (found[-1].skipped, found[-1].size) == ("behind the compressed bytes", len(LINES))
    assert not problems(found)


def test_zstd_with_a_window_of_256_mb_is_read() -> None:
    packer = zstd.ZstdCompressor(
        options={zstd.CompressionParameter.window_log: 28, zstd.CompressionParameter.compression_level: 1}
    )
    data = packer.compress(LINES) + packer.flush()
    assert zstd.get_frame_info(data).decompressed_size is None
    with pytest.raises(zstd.ZstdError, match="too much memory"):
        zstd.decompress(data)
    assert unpacked("x.zst", data) == (LINES, None)


def test_the_line_that_a_cut_goes_through_is_the_damage_and_those_before_it_are_kept() -> None:
    found = read("x.jsonl.gz", TWO[:-40])
    kept = texts(found)
    assert kept == TEXTS[: len(kept)]
    assert len(kept) > 100
    assert [(record.number, record.fatal) for record in found if record.problem] == [(len(kept) + 1, True)]
    assert sum(record.size for record in found) == len(unpacked("x.gz", TWO[:-40])[0])


def test_of_a_text_that_is_cut_what_is_there_is_kept() -> None:
    whole = "Grüße aus Köln. " * 3000
    data = zlib.compressobj(wbits=31)
    packed = data.compress(whole.encode()[:401]) + data.flush(zlib.Z_SYNC_FLUSH)
    found = read("x.txt.gz", packed)
    assert texts(found) == [whole.encode()[:401].decode(errors="ignore")]
    assert ["damaged file" in problem for problem in problems(found)] == [True]


class Broken(io.BytesIO):
    """Storage that stops answering."""

    def __init__(self, data: bytes, at: int) -> None:
        super().__init__(data)
        self.at = at

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() + (size or 0) > self.at:
            raise OSError(errno.EIO, "AWS Error NETWORK_CONNECTION")
        return super().read(size)


def parquet_bytes() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": [NOISE[:1000].decode()] * 2000}), sink, use_dictionary=False, compression="none")
    return sink.getvalue()


BREAKS = {
    "x.jsonl": LINES * 100,
    "x.jsonl.gz": ONE,
    "x.jsonl.bz2": bz2.compress(NOISE),
    "x.parquet": parquet_bytes(),
    "x.txt": LINES * 100,
}


@pytest.mark.parametrize("name", list(BREAKS))
def test_storage_that_stops_answering_is_no_damage(name: str) -> None:
    raw = Broken(BREAKS[name], 70_000 if name != "x.parquet" else 0)
    with pytest.raises(OSError, match="NETWORK_CONNECTION"):
        list(records(raw, Source(name="s", path="x"), Part(0, 0, name), 1 << 20))
