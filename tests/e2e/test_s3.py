"""A full job on a real S3 server that is killed for 30 s in the middle of curation and of training."""

import json
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmtrain.cli.corpus import default_folders, gather
from tests.e2e.conftest import STORAGE
from tests.e2e.jobs import job
from tests.e2e.kube import NAMESPACE, apply, get, kubectl, pods, stage, status, wait, wait_succeeded
from tests.e2e.recorder import Recorder

NAME = "on-s3"
ADDRESS = "10.88.0.1:7071"
AWAY_SECONDS = 30
TOKENS = 320_000


class Server:
    """versitygw over a folder, on the address that pods reach."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.outages: list[str] = []
        self.start()

    def start(self) -> None:
        command = ["versitygw", "--access", "key", "--secret", "right", "--port", ADDRESS, "posix", str(self.folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def away(self, what: str) -> None:
        """Killed now, back in half a minute."""
        self.outages.append(what)
        self.kill()
        time.sleep(AWAY_SECONDS)
        self.start()


@pytest.fixture(scope="module")
def server(recorder: Recorder) -> Iterator[Server]:
    folder = STORAGE.with_name(f"{STORAGE.name}-s3-faults")
    shutil.rmtree(folder, ignore_errors=True)
    gather(folder / "llm" / "job" / "corpus" / "docs.jsonl.gz", 3_000_000, default_folders())
    server = Server(folder)
    data = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "right"}
    metadata = {"name": "s3-faults", "namespace": NAMESPACE}
    apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data})
    yield server
    server.kill()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def finished(server: Server, recorder: Recorder, prometheus: str) -> dict[str, Any]:
    s3 = {
        "bucket": "llm",
        "prefix": "job",
        "endpointUrl": f"http://{ADDRESS}",
        "credentialsSecretRef": {"name": "s3-faults"},
    }
    held_out = [{"name": "held-out", "perplexity": {}}]
    # Of this job alone: what the dashboards show of a TrainingBudget is looked at in test_watching.
    limit = {"limitUsd": "50.00", "period": "Total", "jobSelector": {"matchLabels": {"budget": "s3"}}}
    metadata = {"name": "s3", "namespace": NAMESPACE}
    apply({"apiVersion": "llmtrain.dev/v1alpha1", "kind": "TrainingBudget", "metadata": metadata, "spec": limit})
    body = job(NAME, storage={"s3": s3}, budget={"limitUsd": "20.00"}, evaluation__tasks=held_out, training__tokens=TOKENS,
               training__checkpoint={"interval": {"seconds": 5}})  # fmt: skip
    body["metadata"]["labels"] = {"budget": "s3"}
    apply(body)
    wait("curation", lambda: running("Curation"), 120)
    server.away("curation")
    wait("training beyond its first checkpoint", lambda: checkpoints(server), 300)
    outage = threading.Thread(target=server.away, args=("training",))
    outage.start()
    outage.join()
    wait_succeeded(NAME, 600)
    wait("last pod gone", lambda: not pods(NAME), 30)
    time.sleep(2)
    return status(NAME)


def running(which: str) -> bool:
    mine = [p for p in pods(NAME) if p["metadata"]["labels"]["llmtrain.dev/stage"] == which]
    return bool(mine) and all(p["status"].get("phase") == "Running" for p in mine)


def checkpoints(server: Server) -> list[Path]:
    return list((server.folder / "llm" / "job" / "artifacts" / "training").glob("*/checkpoints/step-*/COMPLETE"))


def test_no_stage_needed_a_second_attempt(finished: dict[str, Any], server: Server) -> None:
    assert server.outages == ["curation", "training"]
    assert [(s["name"], s["attempt"]) for s in finished["stages"]] == [
        ("Preflight", 1), ("Curation", 1), ("Training", 1), ("Evaluation", 1),
    ]  # fmt: skip


def test_nothing_was_paid_twice(finished: dict[str, Any], recorder: Recorder) -> None:
    """The recorder's sum to the microdollar, and no pod beyond those that the job needs.

    Curation's workers are left out: Ray gives one up on a machine that is starved of CPU, and it is replaced in place.
    """
    assert finished["ledger"]["totalMicroUsd"] == recorder.micro_usd(NAME) > 0
    labels = [pod["metadata"]["labels"] for pod in recorder.pods(NAME)]
    used = Counter((each["llmtrain.dev/stage"], each["llmtrain.dev/role"]) for each in labels)
    del used["Curation", "worker"]
    assert used == {("Preflight", "head"): 1, ("Curation", "head"): 1, ("Training", "head"): 1, ("Training", "worker"): 2,
                    ("Evaluation", "head"): 1, ("Evaluation", "worker"): 1}  # fmt: skip


def test_the_namespaces_budget_holds_what_the_job_spent_and_nothing_is_reserved(finished: dict[str, Any]) -> None:
    def settled() -> bool:
        told = get("trainingbudget", "s3")["status"]
        return not any(each["reservedMicroUsd"] for each in told["reservations"])

    wait("the reservation to be given back", settled, 30)
    told = get("trainingbudget", "s3")["status"]
    assert sum(each["spentMicroUsd"] for each in told["reservations"]) == finished["ledger"]["totalMicroUsd"]


def test_no_step_was_lost_or_done_again(finished: dict[str, Any], server: Server) -> None:
    steps = []
    for file in (
        server.folder / "llm" / "job" / "artifacts" / "training" / stage(NAME, "Training")["artifact"] / "loss"
    ).glob("*.jsonl"):
        steps += [json.loads(line)["step"] for line in file.read_text().splitlines()]
    assert sorted(steps) == list(range(1, max(steps) + 1))
    assert max(steps) == -(-TOKENS // 8192)


def test_the_report_is_made_from_within_the_storage(finished: dict[str, Any], tmp_path: Path) -> None:
    """By a pod with the job's own credentials: the machine that asks has none."""
    page = tmp_path / "page.html"
    command = [sys.executable, "-c", "from llmtrain.cli.main import main; main()", "report", NAME, "-n", NAMESPACE]
    done = subprocess.run([*command, "--artifacts", "pod", "-o", str(page)], capture_output=True, text=True, check=False, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert "Not on this page" not in text
    assert "documents were read" in text
    assert f"${finished['ledger']['totalMicroUsd'] / 1e6:.6f}" in text
    wait("the pod to be gone", lambda: not json.loads(kubectl("get", "pods", "-n", NAMESPACE, "-l",
         "app.kubernetes.io/name=llmtrain-report", "-o", "json"))["items"], 30)  # fmt: skip


def test_every_artifact_is_whole(finished: dict[str, Any], server: Server) -> None:
    for name, kind in (("Curation", "curation"), ("Training", "training"), ("Evaluation", "evaluation")):
        folder = server.folder / "llm" / "job" / "artifacts" / kind / stage(NAME, name)["artifact"]
        for file in json.loads((folder / "manifest.json").read_text())["files"]:
            assert (folder / file["name"]).stat().st_size == file["size"], file["name"]
