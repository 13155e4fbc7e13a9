"""Decisions beside datatrove's and dolma's on the same texts, by rule, with the same word splitter.

Each peer's rules are held against the preset that has its definitions: Gopher, C4 and FineWeb for datatrove, Dolma for dolma.
What is left is explained in `tests/unit/jobs/curation/test_disagreements.py`.

The peers are installed by `tests/peers.py`. Texts are those of the machine; of the web as well where LLMTRAIN_WEB_SAMPLES names a folder of
pages (html/*.html.gz) and of their articles' texts (ground-truth.json, `articleBody`).
"""

import gzip
import itertools
import json
import os
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
from llmtrain_jobs.curation.edits import clean, edit
from llmtrain_jobs.curation.presets import PRESETS
from llmtrain_jobs.curation.reading.charset import characters_of
from llmtrain_jobs.curation.reading.html import main_text
from llmtrain_jobs.curation.rules import broken
from llmtrain_jobs.curation.signals.measure import measure
from llmtrain_jobs.curation.signals.words import words_of

from llmtrain.api.curation import Edit
from llmtrain.cli.corpus import default_folders, documents
from tests.peers import python_of

HERE = Path(__file__).parent
WEB = os.environ.get("LLMTRAIN_WEB_SAMPLES", "")
COUNT = int(os.environ.get("LLMTRAIN_PARITY_DOCUMENTS", "2500"))


@pytest.fixture(scope="module", params=["prose", *(["web"] if WEB else [])])
def texts(request: pytest.FixtureRequest) -> list[str]:
    return [clean(text) for text in (prose() if request.param == "prose" else web())]


def prose() -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        # A command's examples are JSON more than prose.
        every = (text for name, text in documents(default_folders()) if "/examples/" not in name)
        found = (text for text in every if 1000 <= len(text) <= 20_000)
        return list(itertools.islice(found, COUNT))


def web() -> list[str]:
    pages = [
        main_text(characters_of(gzip.decompress(file.read_bytes())).text)
        for file in sorted(Path(WEB).glob("html/*.html.gz"))
    ]
    articles = json.loads((Path(WEB) / "ground-truth.json").read_text())
    return [text for text in [*pages, *(entry["articleBody"] for entry in articles.values())] if text.strip()]


@pytest.fixture(scope="module")
def ours(texts: list[str]) -> dict[str, list[bool]]:
    rows = [measure(text, words_of(text)) | {"removedWordShare": 0.0} for text in texts]
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    bounds = {bound.name: bound for preset in PRESETS.values() for bound in preset}
    kept = {name: (~broken([bound], columns)[:, 0]).tolist() for name, bound in bounds.items()}
    symbols = zip(kept["gopher.maxHashesPerWord"], kept["gopher.maxEllipsesPerWord"], strict=True)
    kept["gopher.maxSymbolsPerWord"] = [both and other for both, other in symbols]
    kept["c4.document"] = [c4(edit(text, [Edit.C4_LINES]).text) for text in texts]
    return kept


def c4(text: str) -> bool:
    found = measure(text, words_of(text))
    return not found["loremIpsums"] and not found["curlyBrackets"] and found["sentences"] >= 5


@pytest.mark.parametrize("peer", ["datatrove", "dolma"])
def test_decisions_agree(
    peer: str, texts: list[str], ours: dict[str, list[bool]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    python = python_of(peer)
    command = [str(python), str(HERE / f"peer_{peer}.py"), str(tmp_path / "in.jsonl"), str(tmp_path / "out.json")]
    subprocess.run(command, check=True, capture_output=True, env={"PATH": os.environ["PATH"]})
    theirs: dict[str, list[bool]] = json.loads((tmp_path / "out.json").read_text())
    agreement = {name: float(np.mean(np.array(ours[name]) == np.array(kept))) for name, kept in theirs.items()}
    with capsys.disabled():
        for name, share in agreement.items():
            print(
                f"\n{peer} {name}: {share:.4f}, refuses {kept_out(theirs[name])}, ours {kept_out(ours[name])}", end=""
            )
    assert not {name for name, share in agreement.items() if share < 0.995}


def kept_out(kept: list[bool]) -> int:
    return len(kept) - sum(kept)
