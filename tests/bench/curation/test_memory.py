"""Peak memory of a worker as it works on through a corpus: it is bounded by the settings, not by the corpus.

One worker process prepares all parts; its peak is told when it has read so many MB, LLMTRAIN_MEMORY_MB, "500,1000,2000"
by default.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

CHILD = """
import resource, sys
from pathlib import Path
from tests.unit.jobs.curation.world import context_in
from llmtrain_jobs.curation.flow import Flow
from llmtrain_jobs.curation.pool import InProcess
from llmtrain_jobs.curation.telling import Teller
marks = [float(mark) for mark in sys.argv[2].split(",")]
class Watched(Teller):
    def gauge(self, name, value):
        super().gauge(name, value)
        while name == "read_bytes_total" and marks and value >= 0.99 * marks[0] * 1e6:
            print("PEAK", marks.pop(0), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)
context = context_in(Path(sys.argv[1]), {})
Flow(context, InProcess(context), Watched(context)).prepare()
"""


def grown(folder: Path, megabytes: int) -> None:
    """Documents of log-normal length, 490 words in the median, 1,000 in the mean; words by Zipf's law from a million."""
    (folder / "in").mkdir(parents=True)
    generator, written = np.random.default_rng(1), 0
    words = [spelt(number) for number in range(1_000_001)]
    with (folder / "in" / "a.jsonl").open("w") as file:
        while written < megabytes * 1_000_000:
            length = int(min(50_000, generator.lognormal(6.2, 1.2))) + 1
            drawn = np.minimum(generator.zipf(1.2, length), 1_000_000).tolist()
            line = json.dumps({"text": " ".join(map(words.__getitem__, drawn))}) + "\n"
            file.write(line)
            written += len(line)


def spelt(number: int) -> str:
    """A number in letters."""
    letters = ""
    while number:
        number, letter = divmod(number, 26)
        letters += chr(97 + letter)
    return letters or "o"


@pytest.mark.timeout(36_000)
def test_peak_memory_of_a_worker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    marks = os.environ.get("LLMTRAIN_MEMORY_MB", "500,1000,2000")
    grown(tmp_path, max(map(int, marks.split(","))))
    command = [sys.executable, "-c", CHILD, str(tmp_path), marks]
    environment = dict(os.environ) | {"LLMTRAIN_STORAGE": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout
        for line in child.stdout:
            if line.startswith("PEAK"):
                _, read, peak = line.split()
                with capsys.disabled():
                    print(f"\nafter {float(read):.0f} MB of input: peak {float(peak):.0f} MB", flush=True)
    assert child.returncode == 0
