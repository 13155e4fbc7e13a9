"""Curation beside its peers: one core, the same documents, interleaved; medians and ratios of CPU time.

datatrove is installed by `tests/peers.py`.
"""

import json
import os
import statistics
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from llmtrain_jobs.curation.presets import FINE_WEB, GOPHER
from llmtrain_jobs.curation.rules import broken
from llmtrain_jobs.curation.signals.measure import measure
from llmtrain_jobs.curation.signals.words import words_of

from llmtrain.cli.corpus import default_folders, documents
from tests.peers import python_of

HERE = Path(__file__).parent
ROUNDS, COUNT = 3, 600


@pytest.fixture(scope="module")
def prose(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents of 1 to 20 kB that Gopher and FineWeb keep, so that no peer leaves its chain early."""
    file, kept = tmp_path_factory.mktemp("bench") / "prose.jsonl", list[str]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        for _, text in documents(default_folders()):
            if 1000 <= len(text) <= 20_000 and passes(text):
                kept.append(text)
            if len(kept) == COUNT:
                break
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in kept))
    return file


def passes(text: str) -> bool:
    found = {name: np.array([value]) for name, value in measure(text, words_of(text)).items()}
    return not broken([*GOPHER, *FINE_WEB], found).any()


def peer(kind: str, file: Path) -> float:
    python = python_of("datatrove")
    return last_number([str(python), str(HERE / "peer_speed.py"), kind, str(file)], {"PATH": os.environ["PATH"]})


def ours(kind: str, file: Path) -> float:
    return last_number([sys.executable, str(HERE / "our_speed.py"), kind, str(file)], dict(os.environ))


def last_number(command: list[str], environment: dict[str, str]) -> float:
    fixed = environment | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=fixed)
    return float(done.stdout.split()[-1])


COMPARISONS = [
    ("chain", "shipped"),
    ("chain", "whitespace"),
    ("minhash", "datasketch"),
    ("minhash", "datatrove-minhash"),
]


@pytest.mark.parametrize(("own", "other"), COMPARISONS)
def test_documents_a_second(own: str, other: str, prose: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = [(ours(own, prose), peer(other, prose)) for _ in range(ROUNDS)]
    mine, theirs = (statistics.median(side) for side in zip(*figures, strict=True))
    with capsys.disabled():
        print(f"\n{own}: {mine:.0f} documents/s/core, {other}: {theirs:.0f}, ratio {mine / theirs:.1f}")


def test_megabytes_a_second_of_the_stage(prose: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure = statistics.median(ours("stage", prose) for _ in range(ROUNDS))
    with capsys.disabled():
        print(f"\nwhole stage without tokenizing: {figure:.2f} MB/s/core of {prose.stat().st_size / 1e6:.1f} MB")
