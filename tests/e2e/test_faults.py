"""Kills and interruptions in the middle of training: the job succeeds, the bill stays exact."""

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import STORAGE
from tests.e2e.jobs import job
from tests.e2e.kube import apply, kubectl, pods, stage, status, wait, wait_succeeded
from tests.e2e.recorder import Recorder

NAME = "faults"
NAMESPACE = "llmtrain-e2e"


def steps() -> int:
    progress = stage(NAME, "Training").get("progress") or {}
    return int(progress.get("done", 0)) // 8192


def checkpoints() -> set[Path]:
    """Those of all jobs that are complete."""
    return set(Path(STORAGE, "artifacts", "training").glob("*/checkpoints/step-*/COMPLETE"))


def kill_container(pod: dict[str, Any]) -> None:
    """SIGKILL by the runtime, as a kernel would."""
    container = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    socket = Path(
        subprocess.run(["python3", "hack/cluster", "kubeconfig"], capture_output=True, text=True, check=True).stdout
    )
    command = [
        "ctr",
        "-a",
        str(socket.with_name("containerd.sock")),
        "-n",
        "k8s.io",
        "tasks",
        "kill",
        "-s",
        "SIGKILL",
        container,
    ]
    subprocess.run(command, check=True, capture_output=True)


def pod_named(part: str) -> dict[str, Any]:
    return next(p for p in pods(NAME) if part in p["metadata"]["name"])


@pytest.fixture(scope="module")
def training(recorder: Recorder) -> None:
    """A job in the middle of training, with a complete checkpoint behind it."""
    before = checkpoints()
    apply(job(NAME, training__tokens=1_600_000, training__checkpoint={"interval": {"seconds": 8}}))
    wait("the first checkpoint", lambda: steps() > 5 and checkpoints() - before, 240)


@pytest.fixture(scope="module")
def end(training: None, recorder: Recorder) -> dict[str, Any]:
    """The status after all that happens below."""
    kill_the_operator()
    kill_a_worker()
    kill_the_head()
    suspend_and_resume()
    wait_succeeded(NAME, 600)
    time.sleep(2)
    return status(NAME)


def kill_the_operator() -> None:
    before = {p["metadata"]["uid"] for p in pods(NAME)}
    text = kubectl(
        "get", "pods", "-n", "llmtrain-system", "-l", "app.kubernetes.io/name=llmtrain-operator", "-o", "json"
    )
    kill_container(json.loads(text)["items"][0])
    kubectl("rollout", "status", "deploy/llmtrain-operator", "-n", "llmtrain-system", "--timeout=60s")
    time.sleep(5)
    assert {p["metadata"]["uid"] for p in pods(NAME)} == before


def kill_a_worker() -> None:
    kill_container(pod_named("-w1-1"))
    wait("the worker's replacement", lambda: any("-w1-2" in p["metadata"]["name"] for p in pods(NAME)), 60)
    at = steps()
    wait("training beyond the kill", lambda: steps() > at + 3, 240)
    assert stage(NAME, "Training")["attempt"] == 1


def kill_the_head() -> None:
    kill_container(pod_named("-head"))
    wait("the second attempt", lambda: stage(NAME, "Training")["attempt"] == 2, 90)
    wait("training in the second attempt", lambda: stage(NAME, "Training").get("progressTime") and steps() > 0, 240)


def suspend_and_resume() -> None:
    patch = ["patch", "llmjob", NAME, "-n", NAMESPACE, "--type=merge", "-p"]
    kubectl(*patch, '{"spec": {"suspend": true}}')
    wait("suspension", lambda: status(NAME).get("state") == "Suspended" and not pods(NAME), 120)
    spent = status(NAME)["ledger"]["totalMicroUsd"]
    time.sleep(5)
    assert status(NAME)["ledger"]["totalMicroUsd"] == spent
    kubectl(*patch, '{"spec": {"suspend": false}}')


def test_the_bill_is_the_recorders_to_the_microdollar(end: dict[str, Any], recorder: Recorder) -> None:
    assert end["ledger"]["totalMicroUsd"] == recorder.micro_usd(NAME) > 0


def test_no_second_cluster_of_the_job_was_ever_alive(end: dict[str, Any], recorder: Recorder) -> None:
    assert NAME not in recorder.together


def test_every_attempt_went_on_from_a_checkpoint_and_repeated_the_same_losses(end: dict[str, Any]) -> None:
    """Steps that were done twice had the same loss, and no step is missing."""
    losses: dict[int, list[float]] = {}
    key = next(s["artifact"] for s in end["stages"] if s["name"] == "Training")
    for file in sorted(Path(STORAGE, "artifacts", "training", key, "loss").glob("*.jsonl")):
        for line in file.read_text().splitlines():
            record = json.loads(line)
            losses.setdefault(record["step"], []).append(record["loss"])
    first_of_each = [json.loads(f.read_text().splitlines()[0])["step"]
                     for f in Path(STORAGE, "artifacts", "training", key, "loss").glob("*.jsonl")]  # fmt: skip
    assert sum(step > 1 for step in first_of_each) >= 2
    assert sorted(losses) == list(range(1, max(losses) + 1))
    assert all(max(same) - min(same) < 1e-3 for same in losses.values())


def test_a_suspended_head_saved_before_it_went(end: dict[str, Any], recorder: Recorder) -> None:
    """Its own last words, and a checkpoint of that step that is complete."""
    asked = next(record for record in end["history"] if record["reason"] == "Suspended")
    labels = {"llmtrain.dev/stage": "Training", "llmtrain.dev/attempt": str(asked["attempt"])}
    head = next(p for p in recorder.pods(NAME) if labels.items() <= p["metadata"]["labels"].items()
                and p["metadata"]["name"].endswith("-head"))  # fmt: skip
    told = json.loads(head["status"]["containerStatuses"][0]["state"]["terminated"]["message"])
    saved, kept = re.fullmatch(r"saved at step (\d+)", told["message"]), re.search(r"/step-(\d+)-a", told["checkpoint"])
    assert saved, told
    assert kept, told
    assert int(saved[1]) == int(kept[1]) > 0
