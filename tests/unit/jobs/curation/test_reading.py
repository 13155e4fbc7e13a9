"""Bad input is counted with its place, or ends with exit code 64 and the file's name; it is never lost silently."""

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from llmtrain_jobs.curation.reading.formats import format_of
from llmtrain_jobs.curation.reading.html import main_text
from llmtrain_jobs.curation.reading.parts import source_files
from llmtrain_jobs.entrypoint.driver import run_stage
from llmtrain_jobs.errors import StageError

from llmtrain.api.curation import Source, SourceFormat
from llmtrain.api.stageconfig import FailureClass
from tests.unit.jobs.curation.world import World, jsonl, prose

pytestmark = pytest.mark.timeout(300)
GOOD = [{"id": str(i), "text": prose(i)} for i in range(40)]
LINES = "".join(json.dumps(row) + "\n" for row in GOOD).encode()
GOOD_LINE = json.dumps({"text": prose(400)}).encode() + b"\n"
LENIENT: dict[str, Any] = {"maxBadRecordShare": "0.2", "maxBadFiles": 1}


def written(name: str, data: bytes) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        (root / "in").mkdir(exist_ok=True)
        (root / "in" / name).write_bytes(data)

    return write


def truncated_gzip(root: Path) -> None:
    rows = b"".join(json.dumps({"text": prose(100 + i, 400)}).encode() + b"\n" for i in range(200))
    written("bad.jsonl.gz", gzip.compress(rows)[:-2000])(root)


def half_a_parquet(root: Path) -> None:
    pq.write_table(pa.table({"text": [prose(i) for i in range(50)]}), root / "whole.parquet")
    written("bad.parquet", (root / "whole.parquet").read_bytes()[:-200])(root)


def other_column(root: Path) -> None:
    pq.write_table(pa.table({"other": ["a"]}), root / "in" / "bad.parquet")


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "invalid UTF-8": (written("bad.jsonl", GOOD_LINE + b'{"text": "\xff\xfe"}\n'), "no UTF-8"),
    "missing field": (written("bad.jsonl", GOOD_LINE + b'{"txt": "abc"}\n'), r"no text in field `text` \(null\)"),
    "null field": (written("bad.jsonl", GOOD_LINE + b'{"text": null}\n'), r"no text in field `text` \(null\)"),
    "number for a text": (written("bad.jsonl", GOOD_LINE + b'{"text": 7}\n'), r"no text in field `text` \(int\)"),
    "empty text": (written("bad.jsonl", GOOD_LINE + b'{"text": " "}\n'), "field `text` is empty"),
    "raw NUL bytes": (written("bad.jsonl", GOOD_LINE + b'{"text": "a\x00b"}\n'), "no JSON"),
    "no object": (written("bad.jsonl", GOOD_LINE + b"[1, 2]\n"), "no text in field"),
    "deep nesting": (written("bad.jsonl", GOOD_LINE + b"[" * 10_000 + b"\n"), "no JSON"),
    "binary named .jsonl": (written("bad.jsonl", GOOD_LINE + bytes(range(256)) * 8), "no JSON|no UTF-8"),
}


@pytest.mark.parametrize("name", list(BROKEN))
def test_a_bad_record_is_counted_under_the_limit_and_refused_over_it(world: World, name: str) -> None:
    write, problem = BROKEN[name]
    jsonl(world.root / "in" / "good.jsonl", GOOD)
    write(world.root)
    sources = [{"name": "docs", "path": "in/*"}]
    report = world.report(world.run({"sources": sources, "maxBadRecordShare": "0.5"}))
    bad = report["ledger"]["fates"]["badRecord"]["documents"]
    assert 1 <= bad == report["counts"]["documents"] - 40 - (name != "page without text")
    with pytest.raises(StageError, match=rf"records are bad.*`in/bad\..*{problem}") as failure:
        world.run({"sources": sources, "maxBadRecordShare": "0.001"})
    assert failure.value.failure is FailureClass.BAD_INPUT


DAMAGED: dict[str, Callable[[Path], None]] = {
    "truncated gzip": truncated_gzip,
    "no gzip at all": written("bad.jsonl.gz", b"this is no gzip"),
    "truncated zstd": lambda root: written("bad.jsonl.zst", pa.compress(LINES, "zstd", asbytes=True)[:-300])(root),
    "half a Parquet": half_a_parquet,
    "text named Parquet": written("bad.parquet", b"no parquet"),
    "Parquet without the column": other_column,
    "lines of which none can be read": written("bad.jsonl", b'{"txt": "abc"}\n' * 3),
    "text that is no UTF-8": written("bad.txt", b"abc \xff def"),
    "an array that is cut": written("bad.json", json.dumps(GOOD[:1])[:-1].encode()),
    "cut web archive": written(
        "bad.warc", b"WARC/1.0\r\nWARC-Type: response\r\nContent-Type: application/http; msgtype=response\r\nContent-Length: 900\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\nabc"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(DAMAGED))
def test_a_damaged_file_is_named_and_what_came_before_the_damage_is_kept_where_that_is_allowed(
    world: World, name: str
) -> None:
    jsonl(world.root / "in" / "good.jsonl", GOOD)
    DAMAGED[name](world.root)
    sources = [{"name": "docs", "path": "in/*"}]
    with pytest.raises(StageError, match=r"`in/bad\..*maxBadFiles") as failure:
        world.run({"sources": sources})
    assert failure.value.failure is FailureClass.BAD_INPUT
    report = world.report(world.run({"sources": sources, **LENIENT}))
    assert len(report["damagedFiles"]) == 1
    assert report["counts"]["documents"] >= 41


def test_a_line_of_200_mb_is_one_bad_record_and_never_whole_in_memory(world: World) -> None:
    jsonl(world.root / "in" / "good.jsonl", GOOD)
    with (world.root / "in" / "long.jsonl").open("wb") as file:
        file.write(b'{"text": "')
        for _ in range(200):
            file.write(b"a" * 1_000_000)
        file.write(b'"}\n' + LINES[: LINES.index(b"\n") + 1])
    report = world.report(
        world.run({"maxBadRecordShare": "1", "limits": {"partBytes": 10**9, "documentBytes": 1_000_000}})
    )
    assert report["ledger"]["fates"]["badRecord"] == {"documents": 1, "bytes": 200_000_013}
    assert report["counts"]["documents"] == 42


def test_empty_files_are_listed_and_blank_lines_are_bytes_but_no_documents(world: World) -> None:
    written("empty.jsonl", b"")(world.root)
    written("good.jsonl", b"\n" + LINES + b"\n\n")(world.root)
    report = world.report(world.run())
    assert report["emptyFiles"] == ["in/empty.jsonl"]
    assert report["ledger"]["blankBytes"] == 3
    assert report["ledger"]["read"] == {"documents": 40, "bytes": len(LINES)}


def test_sources_without_any_document_are_refused(world: World) -> None:
    written("empty.jsonl", b"\n")(world.root)
    with pytest.raises(StageError, match="the sources hold no document"):
        world.run()


def test_no_survivor_is_refused_with_what_to_change(world: World) -> None:
    jsonl(world.root / "in" / "a.jsonl", [{"text": f"short {i}"} for i in range(20)])
    with pytest.raises(
        StageError,
        match=r"leave 0 training and 0 validation documents of 20; most were taken by `gopher.minWords` 20; add sources or",
    ) as failure:
        world.run()
    assert failure.value.failure is FailureClass.BAD_INPUT


def test_the_three_fates_that_took_most_are_told(world: World) -> None:
    texts = ["short"] * 9 + [prose(1)] * 5 + [f"{prose(i)} {'# ' * 60}" for i in range(2, 5)] + ["mail a@b.de"] * 2
    jsonl(world.root / "in" / "a.jsonl", [{"text": text} for text in texts])
    with pytest.raises(
        StageError, match=r"by `gopher.minWords` 9, `duplicate.exact` \d, `gopher.maxHashesPerWord` 3; add"
    ):
        world.run({"pii": {"action": "Drop"}})


def test_a_nul_within_a_text_is_removed_as_an_edit(world: World) -> None:
    rows = [*GOOD, {"text": prose(77) + "\u0000\u0007"}]
    jsonl(world.root / "in" / "a.jsonl", rows)
    report = world.report(world.run())
    assert report["ledger"]["keptText"]["removedByEdits"] == 2


def test_the_same_texts_come_from_every_format_and_from_any_split_of_a_file(world: World) -> None:
    kept, lines = {}, b"".join(LINES.splitlines(keepends=True)[:20])
    for name, data in {
        "list.json": json.dumps(GOOD[:20], indent=1).encode(), "plain.jsonl": lines, "packed.jsonl.gz": gzip.compress(lines), "packed.jsonl.zst": pa.compress(lines, "zstd", asbytes=True),
    }.items():  # fmt: skip
        written(name, data)(world.root)
        for size in (1000, 10**9) if name == "plain.jsonl" else (1000,):
            limits = {"partBytes": size, "chunkBytes": 1500}
            result = world.run({"sources": [{"name": "docs", "path": f"in/{name}"}], "limits": limits})
            kept[name, size] = {
                k: v for k, v in world.hashes(result).items() if k.startswith(("train/", "validation/", "tok"))
            }
    pq.write_table(pa.Table.from_pylist(GOOD[:20]), world.root / "in" / "rows.parquet", row_group_size=7)
    for size in (1000, 10**9):
        result = world.run({"sources": [{"name": "docs", "path": "in/rows.parquet"}], "limits": {"partBytes": size}})
        kept["parquet", size] = {
            k: v for k, v in world.hashes(result).items() if k.startswith(("train/", "validation/", "tok"))
        }
    assert len({json.dumps(hashes) for hashes in kept.values()}) == 1


def test_record_numbers_count_through_the_file_however_it_is_divided(world: World) -> None:
    rows = [json.dumps({"id": str(number), "text": prose(number)}) for number in range(1, 41)]
    rows[19], rows[4] = "no JSON", ""
    written("a.jsonl", "\n".join(rows).encode())(world.root)
    pq.write_table(pa.Table.from_pylist(GOOD), world.root / "in" / "b.parquet", row_group_size=7)
    for size in (1500, 10**9):
        sources = [{"name": "lines", "path": "in/a.jsonl"}, {"name": "rows", "path": "in/b.parquet"}]
        limits, kept = {"partBytes": size}, {"exact": False, "minHash": {"enabled": False}}
        result = world.run({**LENIENT, "sources": sources, "limits": limits, "deduplication": kept})
        rows_of = [
            row
            for file in sorted((world.folder(result) / "provenance").iterdir())
            for row in pq.read_table(file).to_pylist()
        ]
        numbers = [(row["number"], int(row["id"])) for row in rows_of if row["source"] == "lines"]
        assert numbers == [(number, number) for number in range(1, 41) if number not in (5, 20)]
        assert [row["number"] for row in rows_of if row["source"] == "rows"] == [*range(1, 41)]
        [problem] = world.report(result)["firstProblems"].values()
        assert problem.startswith("record 20: no JSON")


def test_bad_records_are_limited_by_their_bytes_as_well(world: World) -> None:
    jsonl(world.root / "in" / "a.jsonl", [*GOOD, {"txt": "a" * 5000}])
    sources = [{"name": "docs", "path": "in/*"}]
    with pytest.raises(
        StageError, match=r"\d+ of \d+ bytes of records are bad.*allows 0\.05; first: `in/a.jsonl` record 41"
    ):
        world.run({"sources": sources, "maxBadRecordShare": "0.05"})
    assert world.report(world.run({"sources": sources, "maxBadRecordShare": "0.5"}))["counts"]["documents"] == 41


def test_a_file_that_is_damaged_in_two_of_its_parts_is_one_damaged_file(world: World) -> None:
    jsonl(world.root / "in" / "a.jsonl", GOOD)
    pq.write_table(pa.Table.from_pylist(GOOD), world.root / "in" / "b.parquet", row_group_size=5, use_dictionary=False)
    data = bytearray((world.root / "in" / "b.parquet").read_bytes())
    for group in (2, 6):
        page = pq.ParquetFile(world.root / "in" / "b.parquet").metadata.row_group(group).column(1).data_page_offset
        data[page : page + 10] = b"\xff" * 10
    written("b.parquet", bytes(data))(world.root)
    limits = {"partBytes": 1000}
    report = world.report(world.run({"sources": [{"name": "docs", "path": "in/*"}], **LENIENT, "limits": limits}))
    assert report["damagedFiles"] == ["in/b.parquet"]
    assert report["ledger"]["fates"]["badRecord"]["documents"] == 2


UNKNOWN = ["a.csv", "a.tsv.gz", ".a.jsonl.swp", "a.jsonl~", "a.pdf", "a.tar.gz", "a.jsonl.partial", ".DS_Store"]


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_name_that_tells_no_format_is_refused_and_read_where_the_manifest_says_how(world: World, name: str) -> None:
    jsonl(world.root / "in" / "good.jsonl", GOOD)
    content = ("text\n" + prose(99)).encode()
    written(name, gzip.compress(content) if name.endswith(".gz") else content)(world.root)
    sources = [{"name": "docs", "path": "in/*"}]
    with pytest.raises(StageError, match=rf"`in/{re.escape(name)}` of source `docs`.*set `format`") as failure:
        world.run({"sources": sources})
    assert failure.value.failure is FailureClass.BAD_INPUT
    both = [{"name": "docs", "path": "in/*.jsonl"}, {"name": "odd", "path": f"in/{name}", "format": "Text"}]
    assert source_files(world.context({}).store, Source.model_validate(both[1]), "field") == [f"in/{name}"]


def test_a_file_whose_name_is_no_utf8_is_read_and_a_refusal_that_names_it_is_a_result(world: World) -> None:
    jsonl(world.root / "in" / "good.jsonl", GOOD)
    written("odd\udcff.txt", prose(90).encode())(world.root)
    written("odd\udcff.jsonl", GOOD_LINE)(world.root)
    result = world.run({"sources": [{"name": "docs", "path": "in/*"}]})
    rows = [
        row
        for file in sorted((world.folder(result) / "provenance").iterdir())
        for row in pq.read_table(file).to_pylist()
    ]
    assert {row["file"] for row in rows} == {"in/good.jsonl", "in/odd\ufffd.txt", "in/odd\ufffd.jsonl"}
    written("odd\udcff.csv", b"")(world.root)
    context = world.context({"sources": [{"name": "docs", "path": "in/*"}]})
    refused = run_stage(context.config, context.scratch, context.stop)
    assert refused.failure_class is FailureClass.BAD_INPUT
    assert "`in/odd\ufffd.csv`" in refused.message


def test_files_of_white_space_are_empty_and_their_bytes_are_counted(world: World) -> None:
    jsonl(world.root / "in" / "good.jsonl", GOOD)
    for name in ("blank.txt", "blank.html"):
        written(name, b" \n\t\n")(world.root)
    report = world.report(world.run({"sources": [{"name": "docs", "path": "in/*"}]}))
    assert (report["emptyFiles"], report["ledger"]["blankBytes"]) == (["in/blank.html", "in/blank.txt"], 8)


FORMATS = {
    "a.jsonl": SourceFormat.JSONL, "a.json.gz": SourceFormat.JSONL, "b.parquet": SourceFormat.PARQUET,
    "c.warc.gz": SourceFormat.WARC, "c.warc.wet.gz": SourceFormat.WET, "d.html": SourceFormat.HTML, "README": SourceFormat.TEXT,
    "e.md.zst": SourceFormat.TEXT, "f.NDJSON.Bz2": SourceFormat.JSONL, "g.Json.XZ": SourceFormat.JSONL,
}  # fmt: skip


@pytest.mark.parametrize("name", list(FORMATS))
def test_the_format_goes_by_the_ending(name: str) -> None:
    assert format_of(Source(name="s", path="x"), f"in/{name}") is FORMATS[name]


ARTICLE = "<p>" + "</p><p>".join(prose(i).replace("\n", " ") for i in range(4)) + "</p>"
PAGE = f"<html><body><nav><a href=/>Home</a> <a href=/b>About us</a></nav><article><h1>Title</h1>{ARTICLE}</article><footer>Imprint and terms</footer></body></html>"


def test_the_main_text_of_a_page_is_without_menu_and_footer() -> None:
    text = main_text(PAGE)
    assert prose(2).replace("\n", " ") in text
    assert "About us" not in text
    assert "Imprint" not in text


TYPES = {
    "response": "application/http; msgtype=response",
    "request": "application/http; msgtype=request",
    "conversion": "text/plain",
}


def warc_record(kind: str, body: bytes, url: str) -> bytes:
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:{abs(hash(url)):032x}>\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2024-05-06T07:08:09Z\r\nContent-Type: {TYPES[kind]}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body + b"\r\n\r\n"


def test_pages_of_a_web_archive_come_with_their_address_and_other_records_do_not_count(world: World) -> None:
    http = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n\r\n"
    records = [warc_record("response", http % b"text/html; charset=utf-8" + PAGE.encode(), "https://a/page"),
               warc_record("response", http % b"image/png" + b"\x89PNG", "https://a/picture"),
               warc_record("request", b"GET / HTTP/1.1\r\n\r\n", "https://a/page")]  # fmt: skip
    written("c.warc.gz", b"".join(gzip.compress(record) for record in records))(world.root)
    written("c.warc.wet", warc_record("conversion", prose(500).encode(), "https://a/text"))(world.root)
    jsonl(world.root / "in" / "good.jsonl", GOOD)
    result = world.run({"sources": [{"name": "docs", "path": "in/*"}], "filters": {"presets": []}})
    assert world.report(result)["counts"]["documents"] == 42
    rows = [
        row
        for file in sorted((world.folder(result) / "provenance").iterdir())
        for row in pq.read_table(file).to_pylist()
    ]
    assert {"https://a/page", "https://a/text"} <= {row["url"] for row in rows}
    assert {row["file"] for row in rows} == {"in/c.warc.gz", "in/c.warc.wet", "in/good.jsonl"}
