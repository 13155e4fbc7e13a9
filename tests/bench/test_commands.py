"""Seconds that estimate and compare take, interpreter included: printed, not asserted."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = "from llmtrain.cli.main import main; main()"
REPEATS = 7


@pytest.mark.parametrize(
    "arguments", [("estimate", "-o", "json"), ("compare", "-o", "json"), ("compare", "-o", "html")]
)
def test_seconds_of_a_command(arguments: tuple[str, ...]) -> None:
    files = ("-f", str(ROOT / "demo" / "job.yaml"), "--plans", str(ROOT / "demo" / "plans.yaml"))
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", CODE, *arguments, *files], check=True, capture_output=True)
        seconds.append(time.perf_counter() - started)
    print(
        f"\nllmtrain {' '.join(arguments)}: median {statistics.median(seconds):.2f} s, best {min(seconds):.2f} s of {REPEATS}"
    )
