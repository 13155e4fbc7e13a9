"""The whole stage on Ray: killed with SIGKILL at random moments, resumed with other numbers of workers, same bytes."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llmtrain_jobs.curation.dedup.verify import EDGE

from tests.unit.jobs.curation import planted
from tests.unit.jobs.curation.world import World, jsonl, prose

RUN = """
import json, sys, os
from pathlib import Path
from tests.unit.jobs.curation.world import context_in
from llmtrain_jobs.curation.stage import run
context = context_in(Path(sys.argv[1]), json.loads(sys.argv[2]))
context = type(context)(context.config.model_copy(update={"workers": int(sys.argv[3])}), context.store, context.scratch, context.stop)
print("RESULT", run(context).artifact, flush=True)
"""
LIMITS: dict[str, Any] = {
    "limits": {"partBytes": 400_000, "chunkBytes": 100_000},
    "deduplication": {"paragraphs": {"enabled": True}},
}
KILLS, SEED = 10, 20_261


def command(root: Path, curation: dict[str, Any], workers: int) -> list[str]:
    return [sys.executable, "-c", RUN, str(root), json.dumps(curation), str(workers)]


def started(root: Path, curation: dict[str, Any], workers: int) -> subprocess.Popen[str]:
    environment = dict(os.environ) | {"LLMTRAIN_STORAGE": str(root), "RAY_USAGE_STATS_ENABLED": "0"}
    return subprocess.Popen(
        command(root, curation, workers), stdout=subprocess.PIPE, text=True, start_new_session=True, env=environment
    )


def finished(root: Path, curation: dict[str, Any], workers: int) -> dict[str, str]:
    """Run to the end; hashes of the artifact's files."""
    process = started(root, curation, workers)
    out, _ = process.communicate(timeout=1200)
    assert process.returncode == 0, out
    artifact = next(line.split()[1] for line in out.splitlines() if line.startswith("RESULT"))
    folder = root / "artifacts" / "curation" / artifact
    return {
        str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest()
        for f in sorted(folder.rglob("*"))
        if f.is_file()
    }


def fill(root: Path, documents: int) -> None:
    for file in range(6):
        rows = [{"id": f"{file}-{i}", "text": prose(file * documents + i, 300)} for i in range(documents // 6)]
        rows[::10] = [row | {"text": prose(7, 300)} for row in rows[::10]]
        jsonl(root / "in" / f"{file}.jsonl", rows)


@pytest.mark.timeout(3000)
def test_killed_ten_times_at_random_and_resumed_with_other_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_root, root = tmp_path / "whole", tmp_path / "killed"
    fill(whole_root, 3000)
    began = time.monotonic()
    whole = finished(whole_root, LIMITS, 2)
    took = time.monotonic() - began
    fill(root, 3000)
    for file in (root / "in").iterdir():  # the same marks: keys depend on them
        times = (whole_root / "in" / file.name).stat().st_mtime_ns
        os.utime(file, ns=(times, times))
    generator = random.Random(SEED)
    parts_before: dict[Path, int] = {}
    for kill in range(KILLS):
        process = started(root, LIMITS, 1 + kill % 3)
        time.sleep(generator.uniform(0.2, 1.0) * took)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        for part, written in parts_before.items():
            assert part.stat().st_mtime_ns == written  # a finished part is not made again
        parts_before = {part: part.stat().st_mtime_ns for part in (root / "work").rglob("part.json")}
    assert finished(root, LIMITS, 3) == whole


@pytest.mark.timeout(3000)
def test_planted_duplicates_are_the_same_for_one_two_and_four_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20,000 documents, the members of a pair in different files; recall by level against the formula."""
    made = [(level, pair) for level, count in planted.LEVELS.items() for pair in planted.pairs(level, count, 9)]
    curation = {
        "filters": {"presets": []},
        "pii": {"action": "Keep"},
        "limits": {"partBytes": 2_000_000, "chunkBytes": 500_000},
    }
    found = []
    for workers in (1, 2, 4):
        world = World(tmp_path / str(workers), monkeypatch)
        jsonl(world.root / "in" / "a.jsonl", [{"text": pair.left} for _, pair in made])
        jsonl(world.root / "in" / "b.jsonl", [{"text": pair.right} for _, pair in made])
        for file in (world.root / "in").iterdir():
            os.utime(file, (1, 1))
        hashes = finished(world.root, curation, workers)
        files = sorted((world.root / "work").rglob("candidates-*.npy"))
        candidates = {tuple(row) for file in files for row in np.load(file).tolist()}
        edges = np.concatenate(
            [np.fromfile(file, dtype=EDGE) for file in sorted((world.root / "work").rglob("edges-*.npy"))]
        )
        found.append((hashes, candidates, {(int(e["left"]), int(e["right"])) for e in edges}))
    assert found[0] == found[1] == found[2]
    _, candidates, similar = found[0]
    half = len(made)
    for level in planted.LEVELS:
        numbers = [i for i, (own, _) in enumerate(made) if own == level]
        recall = sum((i, i + half) in candidates for i in numbers) / len(numbers)
        assert recall == pytest.approx(planted.expected_recall(planted.exact(level)), abs=0.02)
    assert all(right - left == half and made[left][1].jaccard >= 0.70 for left, right in similar)
