"""What is wrong ends in a condition that says what to change, with no pod left and the bill still shown."""

import gzip
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmtrain.cli.corpus import default_folders, gather
from tests.e2e.conftest import STORAGE
from tests.e2e.jobs import cluster, job
from tests.e2e.kube import NAMESPACE, apply, condition, ended, kubectl, pods, status, wait
from tests.e2e.recorder import Recorder

ONCE: dict[str, Any] = {"limit": 0, "infrastructureLimit": 0}
S3 = {"endpointUrl": "http://10.88.0.1:7070"}
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "no-image": ({"image": "llmtrain.local/none:1", "startDeadlineSeconds": 20}, "llmtrain.local/none:1"),
    "no-source": (
        {"curation__sources": [{"name": "docs", "path": "nowhere/*.jsonl"}]},
        "no file matches `nowhere/*.jsonl`",
    ),
    "empty-source": ({"curation__sources": [{"name": "docs", "path": "broken/empty.jsonl.gz"}]}, "is empty"),
    "bad-source": ({"curation__sources": [{"name": "docs", "path": "broken/bad.jsonl.gz"}]}, "line 1: no JSON"),
    "no-server": (
        {"storage": {"s3": {"bucket": "llm", "endpointUrl": "http://10.88.0.1:1"}}},
        "storage does not answer",
    ),
    "wrong-key": (
        {"storage": {"s3": S3 | {"bucket": "llm", "credentialsSecretRef": {"name": "wrong"}}}},
        "access denied",
    ),
    "no-bucket": (
        {"storage": {"s3": S3 | {"bucket": "none", "credentialsSecretRef": {"name": "right"}}}},
        "does not exist",
    ),
    "full-volume": (
        {
            "storage": {"persistentVolumeClaim": {"claimName": "small"}},
            "curation__sources": [{"name": "docs", "path": "docs.jsonl.gz"}],
            "curation__require": {},
            "evaluation__tasks": [{"name": "held-out", "perplexity": {}}],
        },
        "storage is full",
    ),
}


@pytest.fixture(scope="module")
def s3(recorder: Recorder) -> Iterator[None]:
    """A real S3 server that pods reach, and two Secrets, one of them wrong."""
    folder = STORAGE.with_name(f"{STORAGE.name}-s3")
    (folder / "llm").mkdir(parents=True, exist_ok=True)
    command = ["versitygw", "--access", "key", "--secret", "right", "--port", "10.88.0.1:7070", "posix", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for name in ("right", "wrong"):
        data = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": name}
        metadata = {"name": name, "namespace": NAMESPACE}
        apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data})
    yield
    process.terminate()
    process.wait(20)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def small_volume(recorder: Recorder) -> Iterator[None]:
    """A volume that the corpus fits on and the tokens do not."""
    folder = STORAGE.with_name(f"{STORAGE.name}-small")
    while folder.is_mount():  # left by a run that was killed
        subprocess.run(["umount", "-l", str(folder)], check=True)
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=560k,uid=1000,gid=1000", "tmpfs", str(folder)], check=True)
    gather(folder / "docs.jsonl.gz", 1_000_000, default_folders())
    subprocess.run(["chmod", "-R", "a+rX", str(folder)], check=True)
    volume = {"capacity": {"storage": "1Mi"}, "accessModes": ["ReadWriteMany"], "storageClassName": "manual"}
    source = {"claimRef": {"namespace": NAMESPACE, "name": "small"}, "hostPath": {"path": str(folder)}}
    kubectl("delete", "pv", "llmtrain-e2e-small", "--ignore-not-found")
    apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": "llmtrain-e2e-small"},
            "spec": volume | source,
        }
    )
    claim = {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "manual",
        "resources": {"requests": {"storage": "1Mi"}},
    }
    metadata = {"name": "small", "namespace": NAMESPACE}
    apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": claim})
    yield
    kubectl("delete", "llmjob", "full-volume", "-n", NAMESPACE, "--ignore-not-found", "--timeout=100s")
    subprocess.run(["umount", "-l", str(folder)], check=True)
    folder.rmdir()


@pytest.fixture(scope="module")
def broken(recorder: Recorder, s3: None, small_volume: None) -> None:
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


def test_a_claim_that_does_not_exist_is_told_and_waited_for_without_a_dollar(recorder: Recorder) -> None:
    name = "no-claim"
    spec = {"storage": {"persistentVolumeClaim": {"claimName": "none"}}, "startDeadlineSeconds": 20, "retry": ONCE}
    apply(job(name, **spec))
    wait("waiting", lambda: '"none" not found' in str(status(name).get("waiting")), 60)
    time.sleep(25)
    waiting = status(name)["waiting"]
    assert (waiting["reason"], waiting.get("heldMicroUsd", 0)) == ("Unschedulable", 0)
    assert (status(name)["state"], status(name)["stages"][0]["attempt"]) == ("Running", 1)
    assert recorder.micro_usd(name) == status(name)["ledger"]["totalMicroUsd"] == 0
    kubectl("delete", "llmjob", name, "-n", NAMESPACE, "--timeout=100s")
    assert pods(name) == []


def test_more_gpus_than_exist_are_told_with_their_number_and_released(recorder: Recorder) -> None:
    name = "too-many"
    # Other tokens than the golden job's, whose model would be taken over without a GPU.
    spec = {"training__cluster": cluster("h100-rented", 2, 16), "training__tokens": 650_000,
            "startDeadlineSeconds": 20, "retry": ONCE}  # fmt: skip
    apply(job(name, **spec))
    wait("waiting", lambda: "Insufficient nvidia.com/gpu" in str(status(name).get("waiting")), 120)
    wait("the release", lambda: status(name).get("waiting", {}).get("reason") == "GivenBack" and not pods(name), 120)
    waiting, record = status(name)["waiting"], status(name)["history"][-1]
    assert "Insufficient nvidia.com/gpu" in waiting["message"]
    assert (record["attempt"], "failureClass" in record, record["heldSeconds"] >= 20) == (1, False, True)
    # The plan prices accelerators alone, and the head, which was placed, has none.
    assert waiting.get("heldMicroUsd", 0) == record.get("heldMicroUsd", 0) == record.get("costMicroUsd", 0)
    assert status(name)["ledger"]["totalMicroUsd"] == recorder.micro_usd(name) > 0
    kubectl("delete", "llmjob", name, "-n", NAMESPACE, "--timeout=100s")
