"""Records of web archives: every one is read or counted, whatever its neighbours are; sizes add up to the bytes."""

import contextlib
import gzip
import io
import random
import zlib
from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmtrain_jobs.curation.reading.web import archive, tape
from llmtrain_jobs.curation.reading.web.archive import Archive, Entry

from tests.unit.jobs.curation.reading.archives import GOOD, MOST, PAGE, entries, http, members, pages, read, warc

NAMED = [warc(http(), WARC_Target_URI=f"http://a.example/{n}") for n in range(6)]


def kinds(found: list[Entry]) -> list[str]:
    return ["damaged" if entry.fatal else "bad" if entry.problem else entry.kind for entry in found]


def urls(found: list[Entry]) -> list[str]:
    return [entry.headers.get("warc-target-uri").rpartition("/")[2] for entry in found if not entry.problem]


PACKED: dict[str, Callable[[list[bytes]], bytes]] = {
    "plain": b"".join, "members": members, "one member": lambda parts: gzip.compress(b"".join(parts)),
    "members of 700 bytes": lambda parts: members([b"".join(parts)[at : at + 700] for at in range(0, sum(map(len, parts)), 700)]),
    "padded members": lambda parts: b"\0\0".join(gzip.compress(part) for part in parts) + b"\r\n",
    "zstd": lambda parts: b"".join(pa.compress(part, "zstd", asbytes=True) for part in parts),
}  # fmt: skip


@pytest.mark.parametrize("packing", list(PACKED))
def test_every_record_comes_from_every_packing_and_sizes_add_up(packing: str) -> None:
    found = entries(PACKED[packing](NAMED))
    assert urls(found) == [str(n) for n in range(6)]
    assert sum(entry.size for entry in found) == sum(map(len, NAMED))
    assert [entry.number for entry in found] == [1, 2, 3, 4, 5, 6]
    assert all(entry.block == http() for entry in found)


HEADERS = {
    "WARC 0.17": warc(http(), version="0.17"), "WARC 0.18": warc(http(), version="0.18"), "WARC 1.1": warc(http(), version="1.1"),
    "LF only": warc(http(), end="\n"), "no line ends behind": GOOD[:-4], "one line end behind": GOOD[:-2],
    "padding behind": GOOD[:-4] + b"\0\0\r\n", "many line ends behind": GOOD + b"\r\n" * 50_000,
    "a folded header": GOOD.replace(b"WARC-Date: ", b"WARC-Date:\r\n "), "names in lower case": GOOD.replace(b"Content-Length", b"content-length"),
    "blanks around": GOOD.replace(b"Content-Length: ", b"Content-Length :   ").replace(b"WARC/1.0", b"WARC/1.0 "),
}  # fmt: skip


@pytest.mark.parametrize("name", list(HEADERS))
@pytest.mark.parametrize("packing", ["plain", "members"])
def test_headers_are_read_as_they_are_written(name: str, packing: str) -> None:
    found = entries(PACKED[packing]([NAMED[0], HEADERS[name], NAMED[1]]))
    assert [entry.block for entry in found] == [http()] * 3


WRONG = {
    "shorter": warc(http(), length=len(http()) - 100), "shorter by one": warc(http(), length=len(http()) - 1),
    "nothing": warc(http(), length=0), "longer by one record": warc(http(), length=len(http()) + len(GOOD) - 50),
    "longer by a few bytes": warc(http(), length=len(http()) + 7), "beyond the end": warc(http(), length=10**9),
    "absurd": warc(http(), length=10**17), "none": warc(http(), Content_Length=""), "negative": warc(http(), length=-1),
    "a word": warc(http(), length="many"), "no header": b"nothing of this is a record\r\n\r\n",
    "header without an end": b"WARC/1.0\r\nWARC-Type: response\r\nX: " + b"x" * 300_000 + b"\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", list(WRONG))
@pytest.mark.parametrize("packing", ["plain", "members", "one member"])
@pytest.mark.parametrize("vain", [False, True])
def test_a_wrong_length_costs_that_record_alone(
    name: str, packing: str, vain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if vain:  # lengths are no longer believed
        monkeypatch.setattr(archive, "VAIN", -1)
    parts = [NAMED[0], WRONG[name], *NAMED[1:]]
    found = entries(PACKED[packing](parts))
    assert kinds(found) == ["response", "bad"] + ["response"] * 5
    assert urls(found) == [str(n) for n in range(6)]
    assert sum(entry.size for entry in found) == sum(map(len, parts))


@pytest.mark.parametrize("packing", ["plain", "members", "one member"])
def test_what_is_held_no_longer_is_read_again(packing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "STEP", 1 << 15)
    monkeypatch.setattr(archive, "KEPT", 0)
    monkeypatch.setattr(tape, "BLOCK", 512)
    noise = random.Random(1).randbytes(300_000)
    parts = [NAMED[0], warc(noise, "resource", length=10**9), *NAMED[1:4], warc(noise, "resource"), *NAMED[4:]]
    found = entries(PACKED[packing](parts), 1000)
    assert kinds(found) == ["response", "bad", *["response"] * 3, "resource", *["response"] * 2]
    assert [entry.block for entry in found if entry.kind == "resource"] == [noise[:1000]]
    assert sum(entry.size for entry in found) == sum(map(len, parts))


@pytest.mark.parametrize("packing", ["plain", "members"])
def test_the_last_record_with_a_length_beyond_the_end_is_bad_and_the_file_is_whole(packing: str) -> None:
    found = entries(PACKED[packing]([*NAMED, warc(http(), length=5000)]))
    assert kinds(found) == ["response"] * 6 + ["bad"]


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b"\r\n\r\n", b"\xef\xbb\xbf\r\n"])
def test_a_byte_order_mark_or_blank_lines_before_the_first_record_cost_nothing(before: bytes) -> None:
    found = entries(before + b"".join(NAMED))
    assert urls(found) == [str(n) for n in range(6)]
    assert sum(entry.size for entry in found) == len(before) + sum(map(len, NAMED))


def test_an_archive_within_an_archive_is_one_record() -> None:
    inner = b"\r\n\r\n".join(NAMED)
    parts = [NAMED[0], warc(inner, "resource", Content_Type="application/warc"), NAMED[1]]
    found = entries(b"".join(parts))
    assert kinds(found) == ["response", "resource", "response"]
    assert found[1].block == inner


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize("kind", ["data", "checksum", "header"])
def test_a_damaged_member_costs_its_record_alone(place: int, kind: str) -> None:
    packed = [bytearray(gzip.compress(part, mtime=0)) for part in NAMED]
    at = {"data": len(packed[place]) // 2, "checksum": len(packed[place]) - 6, "header": 0}[kind]
    packed[place][at] ^= 0x55
    found = entries(b"".join(packed))
    others = [str(n) for n in range(6) if n != place]
    if kind == "header" and place == 0:  # neither is the file gzip then, nor has it a record
        assert kinds(found) == ["damaged"]
        return
    assert urls(found) == others
    assert kinds(found).count("bad") == 1
    assert not any(entry.fatal for entry in found)


def test_records_before_the_damage_of_a_file_in_one_member_are_kept_and_the_file_is_damaged() -> None:
    noise = [random.Random(n).randbytes(20_000) for n in range(20)]
    parts = [warc(block, "resource", WARC_Target_URI=f"http://a.example/{n}") for n, block in enumerate(noise)]
    packed = bytearray(gzip.compress(b"".join(parts), 0, mtime=0))
    packed[200_000:270_000] = bytes(70_000)
    before = before_damage(bytes(packed))
    found = entries(bytes(packed))
    whole = before.count(b"\r\n\r\nWARC/1.0")
    assert 5 < whole < 15
    assert urls(found) == [str(n) for n in range(whole)]
    assert kinds(found)[-1] == "damaged"
    assert sum(entry.size for entry in found) == len(before)


def before_damage(packed: bytes) -> bytes:
    """What comes of a gzip file up to its damage, byte by byte."""
    inflate, made = zlib.decompressobj(31), bytearray()
    with contextlib.suppress(zlib.error):
        for at in range(len(packed)):
            made += inflate.decompress(packed[at : at + 1])
    return bytes(made)


def test_a_wrong_checksum_of_a_file_in_one_member_costs_its_last_record() -> None:
    packed = bytearray(gzip.compress(b"".join(NAMED), mtime=0))
    packed[-6] ^= 1
    assert kinds(entries(bytes(packed))) == ["response"] * 5 + ["damaged"]


@pytest.mark.parametrize("packing", ["plain", "members", "one member", "zstd"])
@pytest.mark.parametrize("missing", [5, 30, 100])
def test_of_a_file_that_is_cut_what_is_there_is_read_and_it_is_damaged(packing: str, missing: int) -> None:
    data = PACKED[packing](NAMED)[:-missing]
    found = entries(data)
    there = (
        zlib.decompressobj(31).decompress(data).count(b"\r\n\r\nHTTP")
        if packing == "one member"
        else 6 - (packing == "zstd")
    )
    assert urls(found) == [str(n) for n in range(there)]
    assert kinds(found)[-1] == "damaged"


NO_ARCHIVES = {"text": b"this is no archive", "noise": random.Random(3).randbytes(10_000), "one bad record": warc(b"x", length="?"), "a bad member": b"\x1f\x8b\x08\0" + bytes(99)}  # fmt: skip


@pytest.mark.parametrize("name", list(NO_ARCHIVES))
def test_a_file_without_one_good_record_is_damaged(name: str) -> None:
    found = entries(NO_ARCHIVES[name])
    assert kinds(found) == ["damaged"]


@pytest.mark.parametrize(
    "data", [b"", b"\r\n\r\n", bytes(100), gzip.compress(b"")], ids=["none", "blank", "zeros", "gzip"]
)
def test_an_empty_file_holds_nothing(data: bytes) -> None:
    assert not [entry for entry in entries(data) if entry.kind != "blank"]


ABOUT = b"1 0 Crawler\nURL IP-address Archive-date Content-type Archive-length\n"
ARC = (
    b"filedesc://a.arc 127.0.0.1 20140216050221 text/plain %d\n%s\n"
    b"http://a.example/with a space 127.0.0.1 20140216050221 text/html %d\n%s\n"
    b"http://a.example/bad 127.0.0.1 20140216050221 text/html abc\n\n"
    b"http://a.example/2 127.0.0.1 20140216050221 text/html %d\n%s\n"
    % (len(ABOUT), ABOUT, len(http()), http(), len(http()), http())
)


@pytest.mark.parametrize("data", [ARC, gzip.compress(ARC)], ids=["plain", "gzip"])
def test_arc_files_are_read(data: bytes) -> None:
    found = read(data, "a.arc.gz")
    assert pages(found) == ["page", "bad", "page"]
    assert (found[1].origin.url, found[1].origin.date) == ("http://a.example/with a space", "2014-02-16")
    assert sum(record.size for record in found) == len(ARC)


def test_a_storage_error_is_no_damage() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 100_000:
                raise OSError(5, "input/output error")
            return super().read(size)

    data = members([warc(random.Random(n).randbytes(30_000), "resource") for n in range(9)])
    with pytest.raises(OSError, match="input/output"):
        list(Archive(Failing(data), MOST))


MUTATED = b"".join([NAMED[0], warc(b"GET / HTTP/1.1\r\n\r\n", "request"), NAMED[1], warc(PAGE, "resource"), NAMED[2]])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_mutation_loses_a_byte_or_hangs(data: st.DataObject) -> None:
    changed = bytearray(MUTATED)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(changed) - 1))
        what = data.draw(st.sampled_from(["flip", "cut", "insert", "digit"]))
        if what == "flip":
            changed[at] ^= 1 << data.draw(st.integers(0, 7))
        elif what == "cut":
            del changed[at : at + data.draw(st.integers(1, 400))]
        elif what == "insert":
            changed[at:at] = data.draw(st.binary(max_size=50))
        else:
            changed = changed.replace(b"Content-Length: ", b"Content-Length: %d" % data.draw(st.integers(0, 99)), 1)
        changed = changed or bytearray(b"x")
    found = entries(bytes(changed))
    assert sum(entry.size for entry in found) == len(changed)
    packed = gzip.compress(bytes(changed), mtime=0)
    assert [(e.size, e.problem) for e in entries(packed)] == [(e.size, e.problem) for e in found] or any(
        e.fatal for e in found
    )
    broken = bytearray(packed)
    broken[data.draw(st.integers(0, len(broken) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    entries(bytes(broken))
