"""A real kube-apiserver and etcd with the generated CRDs, on free loopback ports."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmtrain.api.crd import crds
from tests.api.direct import Direct

ROOT = Path(__file__).resolve().parents[2]
# Files whose one or two tests take longest: started last, one process would end alone with them.
FIRST = (
    "test_rights.py",
    "test_exactness.py",
    "test_hostile.py",
    "test_updates.py",
    "test_budgets.py",
    "test_generated.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: FIRST.index(item.path.name) if item.path.name in FIRST else len(FIRST))


class Api:
    """kubectl against the test apiserver."""

    def __init__(self, kubeconfig: str, kubectl: str) -> None:
        self.command = [kubectl, f"--kubeconfig={kubeconfig}"]
        self.kubeconfig = kubeconfig
        self.direct = Direct(kubeconfig)

    def run(self, *arguments: str, body: Any = None) -> subprocess.CompletedProcess[str]:
        text = None if body is None else json.dumps(body)
        return subprocess.run(
            [*self.command, *arguments], input=text, capture_output=True, text=True, timeout=60, check=False
        )

    def apply(self, body: Any) -> None:
        done = self.run("apply", "-f", "-", body=body)
        assert done.returncode == 0, done.stderr

    def set_status(self, kind: str, name: str, body: Any) -> None:
        done = self.run("patch", kind, name, "--subresource=status", "--type=merge", "-p", json.dumps(body))
        assert done.returncode == 0, done.stderr

    def refusal(self, body: Any) -> str:
        """What a user reads at `kubectl apply`."""
        done = self.run("apply", "-f", "-", "--dry-run=server", body=body)
        return done.stderr if done.returncode else ""

    def get(self, *arguments: str) -> Any:
        done = self.run("get", *arguments, "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def cluster(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "hack/cluster", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    state = str(tmp_path_factory.mktemp("apiserver"))
    kubeconfig = cluster("up", "--only", "control-plane", "--state", state).strip().splitlines()[-1]
    folder = next(line for line in cluster("env", "--state", state).splitlines() if "PATH=" in line)
    kubectl = os.path.join(folder.split('PATH="')[1].split(":")[0], "kubectl")
    api = Api(kubeconfig, kubectl)
    for crd in crds():
        api.apply(crd)
    waited = api.run(
        "wait",
        "--for=jsonpath={.status.conditions[?(@.type=='Established')].status}=True",
        "crd",
        "--all",
        "--timeout=30s",
    )
    assert waited.returncode == 0, waited.stderr
    yield api
    api.direct.close()
    cluster("down", "--state", state)


@pytest.fixture(scope="session")
def demo_job() -> dict[str, Any]:
    """The demo's job, in a namespace that exists."""
    body: dict[str, Any] = yaml.safe_load((ROOT / "demo" / "job.yaml").read_text())
    body["metadata"]["namespace"] = "default"
    return body
