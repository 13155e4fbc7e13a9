"""`kubectl llmtrain` and its completion, by a real kubectl over a real apiserver."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llmtrain.api.status import JobStatus
from llmtrain.cli.inside import pod
from tests.api.conftest import Api
from tests.api.programs import folder

pytestmark = pytest.mark.timeout(120)
PROGRAMS = {
    "kubectl-llmtrain": "llmtrain.cli.main",
    "kubectl_complete-llmtrain": "llmtrain.cli.completion",
}


@pytest.fixture(scope="module")
def environment(api: Api, demo_job: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What pip puts on the PATH, kubectl, and a job to complete."""
    bin_folder = tmp_path_factory.mktemp("bin")
    for name, module in PROGRAMS.items():
        file = bin_folder / name
        file.write_text(f"#!{sys.executable}\nfrom {module} import main\n\nmain()\n")
        file.chmod(0o755)
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "plugin"}})
    metadata = {"name": "to-complete", "namespace": "plugin"}
    api.apply({**demo_job, "metadata": metadata})
    path = f"{bin_folder}:{folder()}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "KUBECONFIG": api.kubeconfig}


def kubectl(environment: dict[str, str], *arguments: str) -> list[str]:
    done = subprocess.run(
        ["kubectl", *arguments], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_kubectl_runs_the_plugin(environment: dict[str, str]) -> None:
    assert any("to-complete" in line for line in kubectl(environment, "llmtrain", "list", "-n", "plugin"))


def test_kubectl_completes_commands_jobs_and_namespaces(environment: dict[str, str]) -> None:
    def completed(*words: str) -> list[str]:
        return [line.split("\t")[0] for line in kubectl(environment, "__complete", "llmtrain", *words)]

    assert completed("wa") == ["watch", ":4"]
    assert completed("watch", "-n", "plugin", "to-") == ["to-complete", ":4"]
    assert completed("watch", "-n", "plu") == ["plugin", ":4"]
    assert completed("submit", "") == [":0"]


def test_the_reports_pod_is_admitted_where_pods_must_be_restricted(api: Api, demo_job: dict[str, Any]) -> None:
    """On a volume and on S3; nothing of it is pruned, and no warning is given."""
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "restricted", "labels": labels}})
    account = {"name": "default", "namespace": "restricted"}
    api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
    s3 = {"s3": {"bucket": "llm", "credentialsSecretRef": {"name": "keys"}}}
    volume = {"persistentVolumeClaim": {"claimName": "llm", "subPath": "job"}}
    for storage in (volume, s3):
        job = {
            "metadata": {"name": "x" * 40, "namespace": "restricted"},
            "spec": {**demo_job["spec"], "storage": storage},
        }
        body = pod(job, JobStatus(), "llmtrain/jobs:1")
        arguments = ("create", "--dry-run=server", "--validate=strict", "-n", "restricted", "-f", "-")
        done = api.run(*arguments, body=body)
        assert (done.returncode, done.stderr) == (0, "")
