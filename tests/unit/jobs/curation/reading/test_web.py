"""Web archives through the stage: which records are documents, what becomes of the others, and the sum of it."""

import gzip
import io
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from llmtrain_jobs.curation.reading.formats import records
from llmtrain_jobs.curation.reading.html import main_text
from llmtrain_jobs.curation.reading.opened import Part
from llmtrain_jobs.curation.reading.pagelimits import PageLimits

from llmtrain.api.curation import Source
from tests.unit.jobs.curation.reading.archives import GOOD, HTML, PAGE, SENTENCE, http, members, pages, read, warc
from tests.unit.jobs.curation.world import World, jsonl, prose

pytestmark = pytest.mark.timeout(120)
ROWS = [{"id": str(n), "text": prose(n)} for n in range(60)]
WEB: dict[str, Any] = {"sources": [{"name": "docs", "path": "in/*"}], "filters": {"presets": []}}


def article(seed: int) -> bytes:
    return f"<html><body><article><p>{prose(seed, 120)}</p></article></body></html>".encode()


KINDS = {
    "response": (GOOD, "page"), "resource": (warc(PAGE, "resource", Content_Type="text/html"), "page"),
    "conversion to HTML": (warc(PAGE, "conversion", Content_Type="text/html; charset=utf-8"), "page"),
    "conversion to text": (warc(SENTENCE.encode(), "conversion", Content_Type="text/plain"), "page"),
    "XHTML": (warc(http(["Content-Type: Application/XHTML+XML;charset=utf-8"])), "page"), "a type not told": (warc(http([])), "page"),
    "response without HTTP's type": (warc(http(), Content_Type="application/http"), "page"),
    "response without HTTP": (warc(b"<p>" + PAGE, Content_Type="text/html; charset=utf-8"), "page"),
    "response without HTTP or type": (warc(PAGE, Content_Type=""), "page"),
    "no body": (warc(http(body=b"")), "textless"), "a page without text": (warc(http(body=b"<html><body><img src=a.png></body></html>")), "textless"),
    "an empty gzip body": (warc(http([HTML, "Content-Encoding: gzip"], b"")), "textless"),
    "conversion that is no UTF-8": (warc(b"\xff\xfe\xfd", "conversion", Content_Type="text/plain"), "bad"),
    "a crawler's log": (warc(b"2024 fetched", "resource", Content_Type="text/plain"), ""), "a picture": (warc(http(["Content-Type: image/png"], b"\x89PNG")), ""),
    "a list for robots": (warc(http(["Content-Type: text/plain"], b"Disallow: /")), ""), "a name": (warc(b"a.example 300", Content_Type="text/dns"), ""),
    **{kind: (warc(b"GET / HTTP/1.1\r\n\r\n", kind), "") for kind in ("request", "metadata", "warcinfo", "revisit", "continuation", "unheard-of", "")},
}  # fmt: skip


@pytest.mark.parametrize("name", list(KINDS))
def test_a_record_is_a_document_or_skipped(name: str) -> None:
    data, wanted = KINDS[name]
    found = read(GOOD + data + GOOD)
    assert pages(found) == ["page", *([wanted] if wanted else []), "page"]
    assert bool(found[1].skipped) == (not wanted)
    assert sum(record.size for record in found) == len(GOOD + data + GOOD)


@pytest.mark.parametrize("target", ["<http://a.example/page>", "http://a.example/page"])
def test_an_address_comes_without_brackets(target: str) -> None:
    assert read(warc(http(), WARC_Target_URI=target))[0].origin.url == "http://a.example/page"


@pytest.mark.parametrize(
    ("wanted", "kept"), [(["2xx"], 2), (["2xx", "4xx"], 3), (["3xx"], 1), (["2xx", "3xx", "4xx", "5xx"], 5)]
)
def test_statuses_are_a_setting(wanted: list[str], kept: int) -> None:
    lines = ("200 OK", "206 Partial Content", "301 Moved", "404 Not Found", "503 Service Unavailable")
    found = read(b"".join(warc(http(status=f"HTTP/1.1 {line}")) for line in lines), httpStatuses=wanted)
    assert len(pages(found)) == kept
    assert {record.skipped for record in found if record.skipped} <= {
        "status 2xx",
        "status 3xx",
        "status 4xx",
        "status 5xx",
    }


def test_of_a_page_with_a_short_main_text_the_whole_is_taken() -> None:
    short = "<html><body><nav>All the towns of the valley</nav><article><p>Nothing yet.</p></article></body></html>"
    assert "towns of the valley" in main_text(short)
    long = short.replace("Nothing yet.", SENTENCE * 8)
    assert "towns of the valley" not in main_text(long)


def test_a_tag_left_open_in_a_noscript_does_not_take_the_page_with_it() -> None:
    head = "<html><head></head><body><noscript><div></noscript>"
    assert SENTENCE.strip() in main_text(f"{head}<article><p>{SENTENCE * 8}")
    assert not main_text("<html><body><noscript>Please switch on JavaScript.</noscript></body></html>").strip()


COMMENTED = (
    f"<html><body><article><p>{SENTENCE * 8}</p></article>"
    f"<div id='comments' class='comments'><p>{'As a reader I could not agree more with all of that. ' * 8}</p></div></body></html>"
)


@pytest.mark.parametrize("comments", [False, True])
def test_comments_are_a_setting(comments: bool) -> None:
    text = main_text(COMMENTED, comments)
    assert SENTENCE.strip() in text
    assert ("As a reader" in text) is comments


@pytest.mark.parametrize("element", ["aside", "div class=comments"])
def test_a_page_that_has_no_main_text_is_taken_whole(element: str) -> None:
    assert SENTENCE.strip() in main_text(
        f"<html><body><{element}><p>{SENTENCE * 8}</p></{element.split()[0]}></body></html>"
    )


def test_a_curation_takes_comments_where_it_is_told_to(world: World) -> None:
    archive(world.root, "a.warc", [warc(http(body=COMMENTED.encode()))])
    jsonl(world.root / "in" / "good.jsonl", ROWS)
    taken = {}
    for comments in (False, True):
        report = world.report(world.run(WEB | {"pages": {"comments": comments}}))
        taken[comments] = report["ledger"]["keptText"]["read"]
    assert taken[True] - taken[False] > 400


def archive(root: Path, name: str, parts: list[bytes]) -> int:
    (root / "in").mkdir(exist_ok=True)
    (root / "in" / name).write_bytes(members(parts) if name.endswith(".gz") else b"".join(parts))
    return sum(map(len, parts))


def test_every_byte_of_an_archive_has_one_place_in_the_ledger(world: World) -> None:
    parts = [
        warc(http(body=article(900))), warc(b"GET / HTTP/1.1\r\n\r\n", "request"), warc(b"fetchTimeMs: 1", "metadata"),
        warc(http(body=b"<html></html>")), warc(http(status="HTTP/1.1 404 Not Found")), warc(http(["Content-Type: image/png"], b"\x89PNG" * 99)),
        warc(http(body=article(901)), length=7), warc(http([HTML, "Content-Encoding: gzip"], gzip.compress(article(902)))),
        warc(http([HTML, "Content-Encoding: gzip"], b"\x1f\x8b\x08\0noise of ages")), warc(http(body=article(903)), WARC_Target_URI="<http://a.example/x>"),
    ]  # fmt: skip
    size = archive(world.root, "a.warc.gz", parts)
    jsonl(world.root / "in" / "good.jsonl", ROWS)
    result = world.run(WEB | {"maxBadRecordShare": "0.1"})
    report = world.report(result)
    ledger, lines = report["ledger"], (world.root / "in" / "good.jsonl").stat().st_size
    assert {name: fate["documents"] for name, fate in ledger["fates"].items() if name not in ("kept", "heldOut")} == {
        "badRecord": 2,
        "noMainText": 1,
    }
    assert {name: entry["records"] for name, entry in ledger["skipped"].items()} == {
        "metadata": 1,
        "no page": 1,
        "request": 1,
        "status 4xx": 1,
    }
    assert ledger["read"]["documents"] == 66
    assert (
        ledger["read"]["bytes"] + ledger["blankBytes"] + sum(entry["bytes"] for entry in ledger["skipped"].values())
        == size + lines
    )
    assert report["damagedFiles"] == []
    rows = [
        row
        for file in sorted((world.folder(result) / "provenance").iterdir())
        for row in pq.read_table(file).to_pylist()
    ]
    assert "http://a.example/x" in {row["url"] for row in rows}
    assert "Records of web archives that hold no document" in (world.folder(result) / "report.html").read_text()


def test_pages_without_text_are_no_unreadable_records(world: World) -> None:
    archive(world.root, "a.warc", [warc(http(body=b"<html></html>"))] * 20)
    (world.root / "in" / "b.html").write_bytes(b"<html><body></body></html>")
    jsonl(world.root / "in" / "good.jsonl", ROWS)
    report = world.report(world.run(WEB | {"maxBadRecordShare": "0"}))
    assert report["ledger"]["fates"]["noMainText"]["documents"] == 21
    assert "badRecord" not in report["ledger"]["fates"]


def test_a_page_that_fails_is_a_bad_record_and_the_stage_goes_on() -> None:
    long = b"<article>" + b"<p>A paragraph with <b>words</b> and a <a href=/x>link</a>.</p>" * 60_000
    data = GOOD + warc(http(body=long)) + GOOD
    found = list(
        records(io.BytesIO(data), Source(name="web", path="x"), Part(0, 0, "a.warc"), 1 << 24, PageLimits(0.05))
    )
    assert pages(found) == ["page", "bad", "page"]
    assert "`spec.curation.limits.pageSeconds`" in found[1].problem
