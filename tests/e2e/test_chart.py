"""The chart's life by real Helm: upgraded from an older one under a running job, tested, uninstalled, installed again.

Helm 3 makes the first and the last installation, Helm 4 upgrades and uninstalls it: users change from one to the other.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ROOT
from tests.e2e.jobs import job
from tests.e2e.kube import NAMESPACE, apply, get, kubectl, pods, stage, status, wait
from tests.e2e.recorder import Recorder

NAME = "lifecycle"
CHART = ROOT / "charts" / "llmtrain"
SYSTEM = ["-n", "llmtrain-system"]


WAIT = {"helm": "--wait=watcher", "helm3": "--wait"}


def helm(*arguments: str, program: str = "helm") -> str:
    done = subprocess.run([program, *arguments, *SYSTEM], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"{program} {' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout


def install(images: dict[str, str], chart: Path, program: str = "helm") -> None:
    repository, tag = images["operator"].rsplit(":", 1)
    values = f"image.repository={repository},image.tag={tag},jobsImage={images['jobs']}"
    command = ("upgrade", "--install", "llmtrain", str(chart), "--set", values, WAIT[program], "--timeout", "120s")
    helm(*command, program=program)


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart as an older version would be: another number, and a CRD that lacks a column."""
    chart = tmp_path_factory.mktemp("older") / "llmtrain"
    shutil.copytree(CHART, chart)
    meta = chart / "Chart.yaml"
    meta.write_text(
        "\n".join("version: 0.0.9" if line.startswith("version:") else line for line in meta.read_text().splitlines())
    )
    crd = chart / "templates" / "crds" / "llmtrainingjobs.yaml"
    assert "- name: Budget\n" in crd.read_text()
    crd.write_text(crd.read_text().replace("- name: Budget\n", "- name: Allowance\n"))
    return chart


def columns() -> list[str]:
    crd = json.loads(kubectl("get", "crd", "llmtrainingjobs.llmtrain.dev", "-o", "json"))
    return [column["name"] for column in crd["spec"]["versions"][0]["additionalPrinterColumns"]]


@pytest.fixture(scope="module")
def running(older: Path, images: dict[str, str], recorder: Recorder) -> Iterator[set[str]]:
    """A job whose curation runs, under the older chart; uids of its pods."""
    install(images, older, "helm3")
    assert "Allowance" in columns()
    apply(job(NAME, seed=99))
    wait("curation", lambda: [p for p in curating() if p["status"].get("phase") == "Running"], 120)
    yield {p["metadata"]["uid"] for p in curating()}
    install(images, CHART)
    kubectl("delete", "llmjob", NAME, "-n", NAMESPACE, "--ignore-not-found", "--timeout=100s")


def curating() -> list[dict[str, Any]]:
    return [p for p in pods(NAME) if p["metadata"]["labels"]["llmtrain.dev/stage"] == "Curation"]


def test_an_upgrade_changes_the_crd_and_leaves_running_pods_alone(running: set[str], images: dict[str, str]) -> None:
    install(images, CHART)
    assert "Budget" in columns()
    now = {p["metadata"]["uid"] for p in curating()}
    assert stage(NAME, "Curation")["attempt"] == 1
    assert now == running or stage(NAME, "Curation")["state"] == "Succeeded"


def test_helm_test_passes(running: set[str]) -> None:
    assert "Phase:          Succeeded" in helm("test", "llmtrain", "--timeout", "120s")


def test_uninstalling_saves_settles_and_leaves_nothing_that_costs_or_hangs(
    running: set[str], images: dict[str, str], recorder: Recorder
) -> None:
    helm("uninstall", "llmtrain", "--timeout", "300s")
    left = kubectl("get", "pods", "-A", "-l", "llmtrain.dev/job", "-o", "name")
    assert left.split() == []
    body = get("llmjob", NAME)
    assert body["spec"]["suspend"] is True
    assert body["metadata"].get("finalizers", []) == []
    assert body["status"]["ledger"]["totalMicroUsd"] == recorder.micro_usd(NAME) > 0
    hooks = kubectl(
        "get", "job,serviceaccount,clusterrole", "-A", "-l", "app.kubernetes.io/name=llmtrain-hook", "-o", "name"
    )
    assert hooks.split() == []
    # A job deleted now is gone at once: nothing waits for an operator that is not there.
    apply(job("orphan", suspend=True))
    kubectl("delete", "llmjob", "orphan", "-n", NAMESPACE, "--timeout=20s")


def test_a_new_installation_goes_on_where_the_job_stood(
    running: set[str], images: dict[str, str], recorder: Recorder
) -> None:
    before = status(NAME)["ledger"]["totalMicroUsd"]
    install(images, CHART, "helm3")
    wait("the finalizer", lambda: get("llmjob", NAME)["metadata"].get("finalizers"), 60)
    kubectl("patch", "llmjob", NAME, "-n", NAMESPACE, "--type=merge", "-p", '{"spec": {"suspend": false}}')
    wait("the next attempt", lambda: [p for p in pods(NAME) if p["status"].get("phase") == "Running"], 90)
    assert stage(NAME, "Preflight")["attempt"] == 1
    assert status(NAME)["ledger"]["totalMicroUsd"] >= before
    kubectl("delete", "llmjob", NAME, "-n", NAMESPACE, "--timeout=100s")
    time.sleep(1)
    assert pods(NAME) == []


def test_helm_3_tests_and_uninstalls_too(running: set[str], images: dict[str, str]) -> None:
    assert "Phase:          Succeeded" in helm("test", "llmtrain", "--timeout", "120s", program="helm3")
    helm("uninstall", "llmtrain", "--timeout", "300s", program="helm3")
    left = kubectl(
        "get", "deployment,job,pod,serviceaccount", *SYSTEM, "-l", "app.kubernetes.io/part-of=llmtrain", "-o", "name"
    )
    assert left.split() == []
