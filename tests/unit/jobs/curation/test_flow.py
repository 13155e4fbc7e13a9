"""The whole of curation: a ledger that adds up, bytes that do not depend on how the work was done, work done once."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llmtrain_jobs.curation import prepare, tasks
from llmtrain_jobs.curation.pool import InProcess
from llmtrain_jobs.errors import StageError
from tokenizers import Tokenizer

from llmtrain.api.stageconfig import FailureClass, Result
from tests.unit.jobs.curation.world import Backwards, World, jsonl, prose

pytestmark = pytest.mark.timeout(300)
SMALL_PARTS = {"limits": {"partBytes": 8000, "chunkBytes": 4000}}


def corpus(root: Path, files: int = 3, each: int = 30) -> None:
    for file in range(files):
        rows = [
            {"id": f"{file}-{i}", "url": f"https://x/{file}/{i}", "text": prose(file * 1000 + i)} for i in range(each)
        ]
        rows[3]["text"] = prose(3)
        rows[4]["text"] = "too short"
        jsonl(root / "in" / f"{file}.jsonl", rows)


def test_every_document_and_byte_has_exactly_one_fate(world: World) -> None:
    corpus(world.root)
    ledger = world.report(world.run({**SMALL_PARTS}))["ledger"]
    files = list((world.root / "in").iterdir())
    assert ledger["read"] == {"documents": 90, "bytes": sum(file.stat().st_size for file in files)}
    assert sum(fate["documents"] for fate in ledger["fates"].values()) == 90
    assert ledger["fates"]["gopher.minWords"]["documents"] == 3
    assert ledger["fates"]["duplicate.exact"]["documents"] == 2


def test_bytes_are_the_same_whatever_the_order_of_the_work(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    corpus(world.root)
    forwards = world.hashes(world.run({**SMALL_PARTS}))
    remove(world.root / "work")
    remove(world.root / "artifacts")
    assert world.hashes(world.run({**SMALL_PARTS}, pool=Backwards)) == forwards


def remove(folder: Path) -> None:
    for file in sorted(folder.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()


class Killed(Exception):
    """Stands for SIGKILL: nothing is cleaned up."""


def test_killed_anywhere_it_goes_on_with_the_same_bytes_and_reads_no_finished_part_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus(world.root)
    whole = world.hashes(world.run({**SMALL_PARTS}))
    remove(world.root / "work")
    remove(world.root / "artifacts")
    prepared: list[int] = []
    original = prepare.prepare_part

    def noted(*arguments: Any) -> prepare.Summary:
        prepared.append(arguments[3].index)
        return original(*arguments)

    monkeypatch.setattr(tasks, "prepare_part", noted)
    for tasks_before_the_kill in range(1, 70, 7):
        with contextlib.suppress(Killed):
            world.run({**SMALL_PARTS}, pool=lambda context, n=tasks_before_the_kill: KilledAfter(context, n))
    assert world.hashes(world.run({**SMALL_PARTS})) == whole
    assert len(prepared) == len(set(prepared)) == 6


class KilledAfter(InProcess):
    """Ends with the process after some tasks."""

    def __init__(self, context: Any, left: int) -> None:
        super().__init__(context)
        self._left = left

    def map(self, task: Any, arguments: Any) -> Any:
        for result in super().map(task, arguments):
            self._left -= 1
            if self._left < 0:
                raise Killed
            yield result


def test_other_thresholds_on_a_second_run_read_no_source(world: World) -> None:
    corpus(world.root)
    first = world.run()
    for file in (world.root / "in").iterdir():  # whoever reads them now gets nothing out of them
        times = file.stat().st_mtime_ns
        file.write_bytes(b"x" * file.stat().st_size)
        os.utime(file, ns=(times, times))
    signals = set((world.root / "work").rglob("*.signals"))
    second = world.run({"filters": {"overrides": {"gopher.minWords": "2"}}})
    assert world.report(second)["counts"]["documents"] == world.report(first)["counts"]["documents"]
    assert world.report(second)["ledger"]["rules"]["gopher.minWords"]["breaking"] == 0
    assert set((world.root / "work").rglob("*.signals")) == signals


def test_what_is_taken_down_goes_with_its_copies_and_changes_nothing_else(world: World) -> None:
    corpus(world.root)
    first = world.run({**SMALL_PARTS})
    (world.root / "gone.txt").write_text("1-7\nhttps://x/0/3\n")
    second = world.run({**SMALL_PARTS, "takedown": {"path": "gone.txt"}})
    fates = world.report(second)["ledger"]["fates"]
    assert fates["takedown"]["documents"] == 4  # one by id, one by URL with its two copies
    tokenizers = [(world.folder(result) / "tokenizer.json").read_bytes() for result in (first, second)]
    assert tokenizers[0] == tokenizers[1]
    assert texts(world, second) == texts(world, first) - {prose(1007), prose(3)}


def texts(world: World, result: Result) -> set[str]:
    """All texts of both splits, from shards, boundaries and tokenizer."""
    folder = world.folder(result)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    index = json.loads((folder / "index.json").read_text())
    found = set()
    for shard in [shard for split in index["splits"].values() for shard in split]:
        tokens = np.fromfile(folder / shard["file"], dtype=index["dtype"])
        ends = np.fromfile(folder / shard["boundaries"], dtype="<u8")
        assert len(tokens) == shard["tokens"] == ends[-1]
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            assert tokens[end - 1] == index["endOfText"]
            found.add(tokenizer.decode(tokens[start : end - 1].tolist()))
    return found


def test_texts_come_back_from_the_shards(world: World) -> None:
    corpus(world.root)
    kept = texts(world, world.run())
    assert kept == {prose(file * 1000 + i) for file in range(3) for i in range(30) if i not in (3, 4)} | {prose(3)}


REQUIREMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "tokens": ({"minTokens": 10**9}, "`spec.curation.require.minTokens` asks for 1000000000"),
    "kept": ({"minKeptShare": "0.99"}, "`spec.curation.require.minKeptShare` asks for 0.99"),
    "duplicates": ({"maxDuplicateShare": "0.01"}, "`spec.curation.require.maxDuplicateShare` allows 0.01"),
}


@pytest.mark.parametrize("name", list(REQUIREMENTS))
def test_a_gate_that_is_not_met_fails_and_everything_is_kept(world: World, name: str) -> None:
    corpus(world.root)
    requirement, message = REQUIREMENTS[name]
    for _ in range(2):  # made, and found made
        with pytest.raises(StageError, match=message) as failure:
            world.run({"require": requirement})
        assert failure.value.failure is FailureClass.BELOW_THRESHOLD
    assert len(list((world.root / "artifacts" / "curation").iterdir())) == 1


def test_the_newest_documents_are_held_out_by_date(world: World) -> None:
    rows = [{"date": f"2024-01-{1 + i // 4:02d}T10:00:00Z", "text": prose(i)} for i in range(80)]
    jsonl(world.root / "in" / "a.jsonl", rows)
    result = world.run({"validation": {"share": "0.1", "by": "Date"}})
    assert world.report(result)["ledger"]["fates"]["heldOut"]["documents"] == 8
    index = json.loads((world.folder(result) / "index.json").read_text())
    folder = world.folder(result)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    held = np.fromfile(folder / index["splits"]["validation"][0]["file"], dtype=index["dtype"])
    assert tokenizer.decode(held.tolist()).startswith(prose(72))
