"""What is wrong ends in a condition that says what to change, with no pod left and the bill still shown."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import STORAGE
from tests.e2e.jobs import cluster, job
from tests.e2e.kube import apply, condition, ended, pods, status, wait
from tests.e2e.recorder import Recorder

ONCE: dict[str, Any] = {"limit": 0, "infrastructureLimit": 0}
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "no-image": ({"image": "llmtrain.local/none:1", "startDeadlineSeconds": 20}, "llmtrain.local/none:1"),
    "no-source": (
        {"curation__sources": [{"name": "docs", "path": "nowhere/*.jsonl"}]},
        "no file matches `nowhere/*.jsonl`",
    ),
    "empty-source": ({"curation__sources": [{"name": "docs", "path": "broken/empty.jsonl.gz"}]}, "is empty"),
    "bad-source": ({"curation__sources": [{"name": "docs", "path": "broken/bad.jsonl.gz"}]}, "line 1: no JSON"),
    "no-claim": (
        {"storage": {"persistentVolumeClaim": {"claimName": "none"}}, "startDeadlineSeconds": 20},
        '"none" not found',
    ),
    "wrong-key": (
        {"storage": {"s3": {"bucket": "llm", "endpointUrl": "http://10.88.0.1:1", "region": "us-east-1"}}},
        "storage",
    ),
}


@pytest.fixture(scope="module")
def broken(recorder: Recorder) -> None:
    folder = Path(STORAGE, "broken")
    folder.mkdir(exist_ok=True)
    (folder / "empty.jsonl.gz").write_bytes(gzip.compress(b""))
    (folder / "bad.jsonl.gz").write_bytes(gzip.compress(b"this is no JSON\n"))
    for name, (changes, _) in CASES.items():
        apply(job(name, retry=ONCE, **changes))


@pytest.mark.parametrize("name", list(CASES))
def test_it_fails_with_a_message_that_says_what_to_change(name: str, broken: None, recorder: Recorder) -> None:
    wait(f"end of {name}", lambda: ended(name) and not pods(name), 180)
    succeeded = condition(name, "Succeeded")
    assert succeeded["status"] == "False"
    assert CASES[name][1] in succeeded["message"]
    assert status(name)["ledger"]["totalMicroUsd"] == recorder.micro_usd(name)


def test_more_gpus_than_exist_are_told_with_their_number_and_released(recorder: Recorder) -> None:
    name = "too-many"
    spec = {"training__cluster": cluster("h100-rented", 2, 16), "startDeadlineSeconds": 20, "retry": ONCE}
    apply(job(name, seed=7, **spec))
    wait("waiting", lambda: "Insufficient nvidia.com/gpu" in str(status(name).get("waiting")), 120)
    wait("the end", lambda: ended(name) and not pods(name), 120)
    assert "Insufficient nvidia.com/gpu" in condition(name, "Succeeded")["message"]
    assert status(name)["ledger"]["totalMicroUsd"] == recorder.micro_usd(name) > 0
