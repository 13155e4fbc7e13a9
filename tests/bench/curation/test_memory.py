"""Peak memory of a worker at two sizes of input: it is bounded by the settings, not by the corpus.

Sizes in MB from LLMTRAIN_MEMORY_MB, "500,2000" by default; one worker process prepares all parts.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = """
import os, resource, sys
from pathlib import Path
from tests.unit.jobs.curation.world import context_in
from llmtrain_jobs.curation.flow import Flow
from llmtrain_jobs.curation.pool import InProcess
from llmtrain_jobs.curation.telling import Teller
context = context_in(Path(sys.argv[1]), {})
Flow(context, InProcess(context), Teller(context)).prepare()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def grown(folder: Path, megabytes: int) -> None:
    """A corpus of so many MB: sentences of words that are drawn by Zipf's law from a million."""
    import numpy as np

    (folder / "in").mkdir(parents=True)
    generator, written = np.random.default_rng(1), 0
    with (folder / "in" / "a.jsonl").open("w") as file:
        while written < megabytes * 1_000_000:
            drawn = np.minimum(generator.zipf(1.2, 500), 1_000_000)
            line = json.dumps({"text": " ".join(f"w{number:x}" for number in drawn)}) + "\n"
            file.write(line)
            written += len(line)


@pytest.mark.timeout(36_000)
def test_peak_memory_of_a_worker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for size in map(int, os.environ.get("LLMTRAIN_MEMORY_MB", "500,2000").split(",")):
        root = tmp_path / str(size)
        grown(root, size)
        environment = dict(os.environ) | {"LLMTRAIN_STORAGE": str(root)}
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(root)], capture_output=True, text=True, check=True, env=environment
        )
        with capsys.disabled():
            print(f"\n{size} MB of input: peak {float(done.stdout.split()[-1]):.0f} MB")
