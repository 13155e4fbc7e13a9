"""Repeated paragraphs: the first one stays, whatever the order of the work; the ledger tells what left."""

from typing import Any

import pytest
from tokenizers import Tokenizer

from tests.unit.jobs.curation.test_flow import remove, texts
from tests.unit.jobs.curation.world import Backwards, World, jsonl, prose

pytestmark = pytest.mark.timeout(300)
BOILER = "Subscribe to our letter, and never miss a story about the things that matter to you and yours."
CURATION: dict[str, Any] = {
    "limits": {"partBytes": 4000, "chunkBytes": 2000},
    "deduplication": {"minHash": {"enabled": False}, "paragraphs": {"enabled": True}},
    "filters": {"presets": []},
}
SHORT = "Read more here."


def corpus(world: World) -> None:
    """Two files of 30; every fifth document ends with the same paragraph, in letters of another case or not; 7 is nothing else."""
    for file in range(2):
        rows = [{"id": f"{file}-{i}", "text": f"{prose(100 * file + i)}\n{SHORT}"} for i in range(30)]
        for i in range(0, 30, 5):
            rows[i]["text"] += "\n" + (BOILER.upper() if i == 10 else BOILER)
        rows[7]["text"] = f"Title {file}\n{BOILER}\n{BOILER}"
        jsonl(world.root / "in" / f"{file}.jsonl", rows)


def expected() -> set[str]:
    every = {f"{prose(100 * file + i)}\n{SHORT}" for file in range(2) for i in range(30) if i != 7}
    return every - {f"{prose(0)}\n{SHORT}"} | {f"{prose(0)}\n{SHORT}\n{BOILER}"}


def test_the_first_of_equal_paragraphs_stays_and_short_ones_all_do(world: World) -> None:
    corpus(world)
    result = world.run(CURATION)
    assert texts(world, result) == expected()
    report = world.report(result)
    assert report["ledger"]["fates"]["duplicate.paragraphs"]["documents"] == 2
    kept = report["ledger"]["keptText"]
    assert kept["removedAsRepeats"] == 11 * len(f"\n{BOILER}")
    assert kept["read"] == kept["removedByEdits"] + kept["removedAsRepeats"] + kept["kept"]
    assert kept["kept"] == sum(len(text.encode()) for text in expected())
    assert report["counts"]["sources"]["docs"]["bytes"] + report["counts"]["validation_bytes"] == kept["kept"]


def test_it_does_not_depend_on_the_order_of_the_work(world: World) -> None:
    corpus(world)
    forwards = world.hashes(world.run(CURATION))
    remove(world.root / "work")
    remove(world.root / "artifacts")
    assert world.hashes(world.run(CURATION, pool=Backwards)) == forwards


def test_no_copy_steps_into_the_place_of_what_was_taken_down(world: World) -> None:
    corpus(world)
    first = world.run(CURATION)
    (world.root / "gone.txt").write_text("0-0\n")
    second = world.run({**CURATION, "takedown": {"path": "gone.txt"}})
    assert texts(world, second) == expected() - {f"{prose(0)}\n{SHORT}\n{BOILER}"}
    tokenizers = [Tokenizer.from_file(str(world.folder(r) / "tokenizer.json")).to_str() for r in (first, second)]
    assert tokenizers[0] == tokenizers[1]


def test_a_document_may_lose_as_much_as_the_manifest_allows(world: World) -> None:
    corpus(world)
    paragraphs = {"enabled": True, "maxRemovedShare": "1", "minWords": 3}
    result = world.run({**CURATION, "deduplication": {"minHash": {"enabled": False}, "paragraphs": paragraphs}})
    assert "duplicate.paragraphs" not in world.report(result)["ledger"]["fates"]
    kept = texts(world, result)
    assert {"Title 0", "Title 1"} <= kept
    assert sum(SHORT in text for text in kept) == 1  # three words are enough now
