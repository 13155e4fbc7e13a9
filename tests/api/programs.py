"""The programs that `hack/cluster build` makes, as the tests run them."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "llmtrain"


@cache
def folder() -> str:
    """Where they are."""
    text = subprocess.run(
        [sys.executable, "hack/cluster", "env"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return next(line for line in text.splitlines() if "PATH=" in line).split('PATH="')[1].split(":")[0]


def run(name: str, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run one; the caller looks at the exit code."""
    command = [os.path.join(folder(), name), *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=120)
