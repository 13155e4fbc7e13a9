"""CPU time that the money commands take, interpreter included, beside an older commit's: printed, not asserted.

`OLDER=10d6fb5 pytest tests/bench/test_commands.py -s`; PAIRS (seven or more) is how often both run, each in turn first.
Both read the same files. `decide` is set beside this commit's own `compare`, which the older commit had already.
"""

import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.bench.scale.older import SOURCES, checkout

ROOT = Path(__file__).resolve().parents[2]
CODE = "from llmtrain.cli.main import main; main()"
OLDER = os.environ.get("OLDER", "10d6fb5")
PAIRS = max(7, int(os.environ.get("PAIRS", "11")))
JOB = ("-f", str(ROOT / "demo" / "job.yaml"), "--plans", str(ROOT / "demo" / "plans.yaml"))
DECISION = ("decide", "-f", str(ROOT / "examples" / "decide" / "decision.yaml"))
OWNED = """{"owned": {"accelerators": 64, "serverPerAcceleratorUsd": "32000", "sparesShare": "0.03",
 "networkShare": "0.19", "powerKwPerAccelerator": "1.275", "kwhUsd": "0.0826", "colocationKwMonthUsd": "184"},
 "rent": {"acceleratorHourUsd": "2.35"}, "utilization": "0.70"}"""


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with checkout(OLDER, tmp_path_factory.mktemp("source") / "older") as folder:
        yield folder


@pytest.fixture
def owned(tmp_path: Path) -> Path:
    file = tmp_path / "owned.json"
    file.write_text(OWNED)
    return file


@pytest.mark.parametrize("words", [("estimate", "-o", "json"), ("compare", "-o", "json"), ("compare", "-o", "html")])
def test_cpu_time_of_a_command(older: Path, words: tuple[str, ...]) -> None:
    _told(f"llmtrain {' '.join(words)}, now / {OLDER}", *_pairs((ROOT, [*words, *JOB]), (older, [*words, *JOB])))


def test_cpu_time_of_npv(older: Path, owned: Path) -> None:
    words = ["npv", "-f", str(owned), "-o", "json"]
    _told(f"llmtrain npv, now / {OLDER}", *_pairs((ROOT, words), (older, words)))


@pytest.mark.parametrize("output", ["json", "html"])
def test_cpu_time_of_a_decision(output: str) -> None:
    ours, compare = (ROOT, [*DECISION, "-o", output]), (ROOT, ["compare", "-o", output, *JOB])
    _told(f"llmtrain decide / compare, -o {output}", *_pairs(ours, compare))


def _pairs(one: tuple[Path, list[str]], other: tuple[Path, list[str]]) -> tuple[list[float], list[float]]:
    """CPU seconds of both, in turn."""
    taken: tuple[list[float], list[float]] = ([], [])
    for pair in range(PAIRS):
        for index in (0, 1) if pair % 2 else (1, 0):
            taken[index].append(_cpu_seconds(*(one, other)[index]))
    return taken


def _cpu_seconds(tree: Path, words: list[str]) -> float:
    """User and system seconds of one command of a checkout."""
    path = os.pathsep.join(str(tree / part) for part in SOURCES)
    # Without -P the folder it starts in comes first: an older command would run with this commit's package.
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", CODE, *words],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
        cwd=tree,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime


def _told(what: str, one: Sequence[float], other: Sequence[float]) -> None:
    """Medians, and median and quartiles of the ratios of pairs."""
    ratios = [mine / theirs for mine, theirs in zip(one, other, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    print(f"\n{what}: {statistics.median(one):.2f} s / {statistics.median(other):.2f} s of CPU time, "
          f"{middle:.2f} (quartiles {low:.2f} to {high:.2f}, {len(ratios)} pairs; lower is better)")  # fmt: skip
