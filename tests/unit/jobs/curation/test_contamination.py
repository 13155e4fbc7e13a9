"""Benchmark items in documents: every planted one is found with its task and line, near misses are not."""

import json
from typing import Any

import pytest
from llmtrain_jobs.curation.contamination import Benchmarks, item_text
from llmtrain_jobs.curation.signals.words import normal_hashes

from tests.unit.jobs.curation.world import World, jsonl, prose

pytestmark = pytest.mark.timeout(300)
"""The first use of a signal on a machine is compiled, beside other tests."""
LONG = "which gas do plants take in from the air when they make sugar from sunlight and water carbon dioxide"
NINE = "the capital of france is the city of paris"
SIX = "two plus two is equal four"
TWO = "hello world"


def hits(document: str) -> list[tuple[str, int, int]]:
    items = [("long", 1, LONG), ("nine", 2, NINE), ("six", 3, SIX), ("two", 4, TWO)]
    found = Benchmarks(iter(items)).hits(7, normal_hashes(document))
    return [(hit.task, hit.item, hit.words) for hit in found]


def window(text: str, start: int, count: int) -> str:
    return " ".join(text.split()[start : start + count])


CASES: dict[str, tuple[str, list[tuple[str, int, int]]]] = {
    "thirteen words of a long item": (f"so {window(LONG, 3, 13)} and", [("long", 1, 13)]),
    "twelve are not enough": (f"so {window(LONG, 3, 12)} or", []),
    "case and punctuation do not hide it": (window(LONG, 0, 13).upper().replace(" ", ", "), [("long", 1, 13)]),
    "an item of nine words needs all nine": (f"we know {NINE}.", [("nine", 2, 9)]),
    "eight of nine are not enough": (f"we know {window(NINE, 0, 8)}.", []),
    "a short item as a whole": (f"as {SIX}!", [("six", 3, 6)]),
    "a part of a short item": (window(SIX, 0, 5), []),
    "two words within a text are no hit": ("he said hello world to all", []),
    "two words that are the whole text": ("Hello, world!", [("two", 4, 2)]),
}


@pytest.mark.parametrize("case", list(CASES))
def test_an_item_is_found_by_its_run_of_words(case: str) -> None:
    text, expected = CASES[case]
    assert hits(text) == expected


SHAPES: dict[str, tuple[dict[str, Any], str]] = {
    "multiple choice": ({"query": "q", "choices": ["a", "b"], "gold": 1}, "q b"),
    "arc": ({"question": "q", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "B"}, "q b"),
    "continuation": ({"context": "c", "continuation": "d"}, "c d"),
    "winograd": ({"context_options": ["x", "y"], "continuation": "z", "gold": 1}, "y z"),
    "gsm8k": ({"context": "c", "answer": "4"}, "c 4"),
    "hellaswag": ({"ctx": "c", "endings": ["a", "b"], "label": "0"}, "c a"),
    "anything else": ({"foo": "bar", "n": 1}, "bar"),
}


@pytest.mark.parametrize("shape", list(SHAPES))
def test_an_item_is_its_query_and_its_right_answer(shape: str) -> None:
    row, text = SHAPES[shape]
    assert item_text(row) == text


SEVEN = "पिता का घर यहाँ से दूर है"


@pytest.mark.parametrize(
    ("document", "found"), [(f"कल {SEVEN} क्या", [7]), ("पीता को घर यहाँ से दूर है", []), ("घर यहाँ से दूर है", [])]
)
def test_an_item_of_seven_words_with_marks_counts_as_a_whole(document: str, found: list[int]) -> None:
    benchmarks = Benchmarks(iter([("task", 1, SEVEN)]))
    assert [hit.words for hit in benchmarks.hits(0, normal_hashes(document))] == found


def test_contaminated_documents_are_dropped_and_every_hit_is_reported(world: World) -> None:
    rows = [{"text": prose(i)} for i in range(60)]
    for place in (5, 17, 40):
        rows[place]["text"] += f"\nAs everyone knows {LONG}."
    jsonl(world.root / "in" / "a.jsonl", rows)
    (world.root / "bench").mkdir()
    item = {
        "question": LONG.removesuffix(" carbon dioxide"),
        "choices": {"text": ["carbon dioxide", "iron"], "label": ["A", "B"]},
        "answerKey": "A",
    }
    (world.root / "bench" / "arc.jsonl").write_text(json.dumps(item) + "\n")
    evaluation = {
        "cluster": {"planRef": {"name": "gpu"}},
        "tasks": [{"name": "arc", "task": "arc_easy", "dataFile": "bench/arc.jsonl"}],
    }
    limits = {"partBytes": 5000, "chunkBytes": 2000}
    result = world.run({"deduplication": {"minHash": {"enabled": False}}, "limits": limits}, evaluation=evaluation)
    report = world.report(result)
    assert [(hit["document"], hit["task"], hit["item"]) for hit in report["contamination"]] == [
        (5, "arc", 1),
        (17, "arc", 1),
        (40, "arc", 1),
    ]
    assert report["ledger"]["fates"]["contaminated"]["documents"] == 3
    assert report["counts"]["contaminated_share"] == "0.050000"
