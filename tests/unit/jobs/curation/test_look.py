"""A look at the first records says what curation will make of them, by the same reading and the same rules."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from llmtrain_jobs.curation.look import source
from llmtrain_jobs.curation.look.__main__ import answers, reports

from llmtrain.inspection.findings import findings, nothing_kept
from llmtrain.inspection.report import Request, SourceReport, Stop
from tests.unit.jobs.curation.reading.archives import GOOD, http, members, warc
from tests.unit.jobs.curation.world import World, jsonl, prose

pytestmark = pytest.mark.timeout(300)
GERMAN = "Der schnelle braune Fuchs springt über den faulen Hund, und das Wetter ist heute sehr schön in der Stadt. "
ITEM = "which of the seven rivers of the northern valley carries the most water in the spring of the year"
EXACT_ONLY = {"minHash": {"enabled": False}}


def request(world: World, curation: dict[str, Any], records: int = 1000, seconds: float = 60, **more: Any) -> Request:
    spec = more.pop("spec", {})
    return Request(config=world.context(curation, **spec).config, records=records, seconds=seconds, **more)


def look(world: World, curation: dict[str, Any], records: int = 1000, **more: Any) -> list[SourceReport]:
    return list(reports(request(world, curation, records, **more)))


def mixed(root: Path) -> dict[str, Any]:
    """A corpus that loses documents in every way that one document can be lost; its manifest's curation."""
    texts = [prose(i) for i in range(60)]
    rows = [{"id": f"{i}", "url": f"https://x.org/{i}", "text": text} for i, text in enumerate(texts)]
    rows[3]["text"], rows[4]["text"], rows[5]["text"] = texts[2], "too short", GERMAN * 5
    rows[6]["url"], rows[7]["text"] = "https://ads.evil.com/x", f"{texts[7]} {ITEM} and so on."
    rows[8]["text"], rows[9]["text"] = f"{texts[8]} Write to joan.doe@example.org.", "   "
    jsonl(root / "in" / "a.jsonl", rows)
    with (root / "in" / "a.jsonl").open("a") as file:
        file.write("this is no JSON\n\n")
    (root / "gone.txt").write_text("11\n")
    (root / "domains.txt").write_text("evil.com\n")
    (root / "items.jsonl").write_text(json.dumps({"query": ITEM, "answer": "the seventh"}) + "\n")
    return {
        "maxBadRecordShare": "0.5",
        "filters": {"languages": [{"code": "en", "minScore": "0.01"}], "blockedDomains": "domains.txt"},
        "takedown": {"path": "gone.txt"},
        "pii": {"action": "Drop"},
        "deduplication": EXACT_ONLY,
    }


def evaluation() -> dict[str, Any]:
    tasks = [{"name": "rivers", "task": "arc_easy", "dataFile": "items.jsonl"}]
    return {"evaluation": {"cluster": {"planRef": {"name": "cpu"}}, "tasks": tasks}}


def test_it_gives_each_document_and_byte_the_fate_that_curation_gives_it(world: World) -> None:
    curation = mixed(world.root)
    [found] = look(world, curation, spec=evaluation())
    ledger = world.report(world.run(curation, **evaluation()))["ledger"]
    lost = {name: (fate["documents"], fate["bytes"]) for name, fate in ledger["fates"].items()}
    kept = [lost.pop(name) for name in ("kept", "heldOut")]
    assert {name: (share.records, share.bytes) for name, share in found.lost.items()} == lost
    assert {
        "badRecord",
        "takedown",
        "blockedDomain",
        "pii",
        "gopher.minWords",
        "contaminated",
        "duplicate.exact",
    } < set(lost)
    assert (found.kept.records, found.kept.bytes) == (sum(n for n, _ in kept), sum(size for _, size in kept))
    assert (found.read.records, found.read.bytes) == (ledger["read"]["documents"], ledger["read"]["bytes"])
    assert found.blank_bytes == ledger["blankBytes"] > 0
    assert found.kept_text_bytes == ledger["keptText"]["kept"]
    broken = {name: rule["breaking"] for name, rule in ledger["rules"].items() if rule["breaking"]}
    assert {name: rule.breaking for name, rule in found.rules.items()} == broken
    assert found.lost["badRecord"].share == round(2 / 61, 6)


def test_it_tells_languages_personal_data_and_examples(world: World) -> None:
    jsonl(
        world.root / "in" / "a.jsonl", [{"id": "g", "text": GERMAN * 5}, {"id": "s", "text": "Call +49 30 901820 now."}]
    )
    [found] = look(world, {})
    assert found.languages["de"] == 1
    assert sum(found.languages.values()) == 2
    assert found.pii_found == {"Phone": 1}
    assert found.charsets == {"utf-8": 2}
    short = next(example for example in found.examples if example.fate == "gopher.minWords")
    assert (short.id, short.record, short.file) == ("s", 2, "in/a.jsonl")
    assert "901820" not in short.text


def test_it_reads_web_archives_as_curation_does(world: World) -> None:
    russian = "<article><p>" + "Вода реки течёт мимо города, и люди живут рядом с ней много лет. " * 8
    parts = [
        GOOD, warc(b"GET / HTTP/1.1\r\n\r\n", "request"), warc(http(body=b"<html></html>")),
        warc(http(["Content-Type: text/html; charset=koi8-r"], russian.encode("koi8-r"))), warc(http(), length=7),
    ]  # fmt: skip
    (world.root / "in").mkdir()
    (world.root / "in" / "a.warc.gz").write_bytes(members(parts))
    [found] = look(world, {"sources": [{"name": "web", "path": "in/*"}], "filters": {"presets": []}})
    assert found.charsets == {"koi8_r": 1, "ascii": 2}
    assert set(found.languages) == {"en", "ru"}
    assert found.skipped["request"].records == 1
    assert {name: share.records for name, share in found.lost.items()} == {"noMainText": 1, "badRecord": 1}
    assert "1 of 4 records are bad" in found.unreadable
    assert [finding.message for finding in findings([found])] == [f"source `web`: {found.unreadable}"]


def test_only_the_first_records_are_looked_at(world: World) -> None:
    for file in range(3):
        jsonl(world.root / "in" / f"{file}.jsonl", [{"text": prose(100 * file + i)} for i in range(30)])
    [found] = look(world, {"deduplication": EXACT_ONLY}, records=40)
    assert (found.read.records, found.files_read, found.files, found.stopped) == (40, 2, 3, Stop.RECORDS)
    assert found.read.bytes < sum(file.stat().st_size for file in (world.root / "in").iterdir()) / 2


def test_long_records_are_fewer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MOST_BYTES", 2000)
    jsonl(world.root / "in" / "a.jsonl", [{"text": prose(i)} for i in range(30)])
    [found] = look(world, {})
    assert found.stopped is Stop.BYTES
    assert 2000 <= found.read.bytes < 3000


def test_rows_of_a_table_are_numbered_through_the_file(world: World) -> None:
    (world.root / "in").mkdir()
    pq.write_table(pa.table({"text": [prose(1), prose(2), "short"]}), world.root / "in" / "a.parquet", row_group_size=1)
    [found] = look(world, {"sources": [{"name": "docs", "path": "in/*"}]})
    assert [(e.fate, e.record) for e in found.examples if e.fate != "heldOut"][-1] == ("gopher.minWords", 3)


BAD, FINE = [{"text": "too short"}] * 30, [{"text": prose(1)}]


@pytest.mark.parametrize(
    ("rows", "kept_at_all", "whole", "read_in_all", "certain"),
    [
        (BAD, False, True, 30, True),
        (BAD + FINE + BAD * 10, True, False, 110, False),
        (BAD + BAD * 10, False, True, 330, True),
        (FINE + BAD, True, False, 10, False),
    ],
    ids=["all lost", "one far behind", "all of a longer one lost", "the first stays"],
)
def test_where_all_are_lost_it_reads_on_until_one_is_not(
    world: World, rows: list[dict[str, Any]], kept_at_all: bool, whole: bool, read_in_all: int, certain: bool
) -> None:
    jsonl(world.root / "in" / "a.jsonl", rows)
    found = look(world, {"deduplication": EXACT_ONLY}, records=10)
    assert found[0].read.records == 10
    assert (found[0].kept_at_all, found[0].whole, found[0].read_in_all) == (kept_at_all, whole, read_in_all)
    assert nothing_kept(found) is certain


def test_of_two_sources_one_that_stays_is_enough(world: World) -> None:
    jsonl(world.root / "in" / "a.jsonl", BAD)
    jsonl(world.root / "in" / "b.jsonl", FINE)
    sources = [{"name": name, "path": f"in/{name}.jsonl"} for name in ("a", "b")]
    found = look(world, {"sources": sources})
    assert not nothing_kept(found)
    assert [finding.source for finding in findings(found)] == ["a"]


def test_it_ends_with_its_time(world: World) -> None:
    jsonl(world.root / "in" / "a.jsonl", BAD)
    [found] = look(world, {}, seconds=1e-9)
    assert (found.stopped, found.read.records, found.whole) == (Stop.SECONDS, 0, False)
    assert not nothing_kept([found])
    assert "no document was found in the time there is" in findings([found])[0].message


MODELS: dict[str, dict[str, Any]] = {
    "languageModel": {"languageModel": "big.bin", "languages": [{"code": "xx"}]},
    "classifiers[quality]": {"classifiers": [{"name": "quality", "path": "big.bin"}]},
    "classifiers[edu]": {"classifiers": [{"name": "edu", "path": "edu", "kind": "SequenceClassification"}]},
}


@pytest.mark.parametrize("field", list(MODELS))
def test_models_that_are_too_large_for_where_it_runs_are_left_out_and_told(world: World, field: str) -> None:
    (world.root / "big.bin").write_bytes(b"x" * 101)
    jsonl(world.root / "in" / "a.jsonl", BAD)
    found = look(world, {"filters": MODELS[field]}, model_bytes=100)
    assert found[0].not_applied == [f"filters.{field}"]
    assert nothing_kept(found) is (field != "languageModel")  # its languages have other stop words


@pytest.mark.parametrize(
    ("curation", "said"),
    [
        ({"sources": [{"name": "docs", "path": "nowhere/*.jsonl"}]}, "no file matches `nowhere/*.jsonl`"),
        ({"filters": {"blockedDomains": "domains.txt"}}, "line 1"),
    ],
)
def test_what_cannot_be_looked_at_is_told_by_field(world: World, curation: dict[str, Any], said: str) -> None:
    jsonl(world.root / "in" / "a.jsonl", FINE)
    (world.root / "domains.txt").write_text("0.0.0.0 evil.com\n")
    [answer] = answers(request(world, curation))
    assert answer.refusal is not None
    assert (answer.refusal.failure, said in answer.refusal.message) == ("BadInput", True)
