"""The report: its numbers are those of the documents, its page stands alone."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from llmtrain.api.stageconfig import Result
from tests.unit.jobs.curation.world import World, jsonl, prose

pytestmark = pytest.mark.timeout(300)
CURATION: dict[str, Any] = {
    "sources": [
        {"name": "a", "path": "in/a.jsonl", "licence": "CC0-1.0", "group": "first"},
        {"name": "b", "path": "in/b.jsonl", "licence": "MIT"},
    ],
    "deduplication": {"minHash": {"enabled": False}},
}
MARKUP = "<script>alert(1)</script> & more"


@pytest.fixture
def result(world: World) -> Result:
    """Source a: 40 documents, 5 of them short, one with markup; source b: 20, one short, 4 the same as others of a."""
    rows = [{"text": prose(i) if i >= 5 else f"short {i}"} for i in range(40)]
    rows[1]["text"] = MARKUP
    jsonl(world.root / "in" / "a.jsonl", rows)
    rows = [{"text": prose(i if i < 10 else 1000 + i)} for i in range(6, 26)]
    rows[-1]["text"] = "the last"
    jsonl(world.root / "in" / "b.jsonl", rows)
    return world.run(CURATION)


def test_sources_have_their_licence_and_what_was_read_and_kept(world: World, result: Result) -> None:
    found = world.report(result)["sources"]
    assert {name: (s["licence"], s["group"], s["documents"], s["keptDocuments"]) for name, s in found.items()} == {
        "a": ("CC0-1.0", "first", 40, 35),
        "b": ("MIT", "default", 20, 15),
    }
    for source in found.values():  # exact for what is kept, estimated at its rate for what is dropped
        dropped = source["textBytes"] - source["keptTextBytes"]
        assert source["estimatedTokensDropped"] == round(dropped * source["tokensPerByte"])


def test_a_rule_tells_whom_it_refuses_first_and_at_all(world: World, result: Result) -> None:
    rules = world.report(result)["ledger"]["rules"]
    assert (rules["gopher.minWords"]["first"], rules["gopher.minWords"]["breaking"]) == (6, 6)
    assert (rules["gopher.minStopWords"]["first"], rules["gopher.minStopWords"]["breaking"]) == (0, 6)
    assert rules["gopher.minStopWords"]["alone"] == 0


def test_histograms_count_every_document_before_and_those_that_stay_after(world: World, result: Result) -> None:
    report = world.report(result)
    for histogram in report["histograms"].values():
        assert sum(histogram["before"]) == 60
        assert sum(histogram["after"]) == 50
        assert len(histogram["edges"]) == len(histogram["before"]) + 1
    words = report["histograms"]["words"]
    assert (words["before"][0], words["after"][0]) == (6, 0)  # the short ones


def test_there_are_samples_of_every_fate(world: World, result: Result) -> None:
    report = world.report(result)
    assert set(report["samples"]) == set(report["ledger"]["fates"])
    assert [sample["text"] for sample in report["samples"]["gopher.minWords"]] == ["short 0", MARKUP, "short 2"]


class Tags(HTMLParser):
    """Every tag and all that could fetch something."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "srcset", "action")]


def test_the_page_has_plots_fetches_nothing_and_runs_nothing(world: World, result: Result) -> None:
    page = (world.folder(result) / "report.html").read_text()
    tags = Tags()
    tags.feed(page)
    assert tags.fetched == []
    assert not {"script", "iframe", "link", "img", "object"} & set(tags.tags)
    assert not re.search(r"url\(|@import", page)
    assert tags.tags.count("svg") == 1 + len(world.report(result)["histograms"])
    assert "60 documents read" in page
