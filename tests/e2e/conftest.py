"""A namespace on the real node, the chart installed by Helm, a corpus on its storage, a recorder beside the operator."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmtrain.cli.corpus import default_folders, gather
from tests.e2e.kube import NAMESPACE, apply, kubectl
from tests.e2e.recorder import Recorder

ROOT = Path(__file__).resolve().parents[2]
STORAGE = Path(os.environ.get("LLMTRAIN_E2E_STORAGE", "/var/lib/llmtrain-e2e"))


def tool(*arguments: str) -> str:
    return subprocess.run(["python3", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="session", autouse=True)
def node() -> None:
    """The environment of the running cluster, which `make up` started."""
    for line in tool("hack/cluster", "env").splitlines():
        name, _, value = line.removeprefix("export ").partition("=")
        os.environ[name] = value.strip('"').replace("$PATH", os.environ["PATH"])


@pytest.fixture(scope="session")
def images(node: None) -> dict[str, str]:
    found: dict[str, str] = json.loads(tool("hack/images", "refs"))
    return found


@pytest.fixture(scope="session")
def operator(images: dict[str, str]) -> None:
    repository, tag = images["operator"].rsplit(":", 1)
    values = f"image.repository={repository},image.tag={tag},jobsImage={images['jobs']}"
    command = ["helm", "upgrade", "--install", "llmtrain", str(ROOT / "charts" / "llmtrain"), "-n", "llmtrain-system",
               "--create-namespace", "--set", values, "--wait=watcher", "--timeout", "120s"]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="session")
def namespace(operator: None) -> Iterator[None]:
    """A namespace that enforces restricted pods, with a volume and a small corpus of real prose."""
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=100s")
    kubectl("delete", "pv", NAMESPACE, "--ignore-not-found")
    shutil.rmtree(STORAGE, ignore_errors=True)
    gather(STORAGE / "corpus" / "docs.jsonl.gz", 6_000_000, default_folders())
    (STORAGE / "benchmarks").mkdir()
    lines = [json.dumps({"query": "Question: 1 + 1?\nAnswer:", "choices": ["2", "3"], "gold": 0})] * 60
    (STORAGE / "benchmarks" / "choices.jsonl").write_text("\n".join(lines))
    subprocess.run(["chown", "-R", "1000:1000", str(STORAGE)], check=True)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})
    volume = (ROOT / "demo" / "volume.yaml").read_text().replace("DEMO_STORAGE", str(STORAGE))
    volume = volume.replace("name: llmtrain-demo", f"name: {NAMESPACE}").replace(
        "namespace: llmtrain-demo", f"namespace: {NAMESPACE}"
    )
    kubectl("apply", "-f", "-", text=volume)
    kubectl("apply", "-f", str(ROOT / "demo" / "plans.yaml"))
    yield
    kubectl("delete", "llmjob", "--all", "-n", NAMESPACE, "--timeout=120s")


@pytest.fixture(scope="session")
def recorder(namespace: None) -> Iterator[Recorder]:
    recorder = Recorder(NAMESPACE)
    yield recorder
    recorder.close()
