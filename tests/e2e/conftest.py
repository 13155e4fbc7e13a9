"""A namespace on the real node, the chart installed by Helm, a corpus on its storage, a recorder beside the operator."""

import json
import os
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmtrain.cli.corpus import default_folders, gather
from tests.e2e.kube import NAMESPACE, kubectl, wait
from tests.e2e.recorder import Recorder
from tests.e2e.runtime import RuntimeEvents

ROOT = Path(__file__).resolve().parents[2]
STORAGE = Path(os.environ.get("LLMTRAIN_E2E_STORAGE", "/var/lib/llmtrain-e2e"))


def tool(*arguments: str) -> str:
    return subprocess.run(["python3", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


# The chart's life ends with another Service than Prometheus is told of. The golden job's corpus is curated once; jobs of
# other files find that done.
FIRST = ("test_chart.py", "test_golden.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: FIRST.index(item.path.name) if item.path.name in FIRST else len(FIRST))


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
    for name in ("namespace.yaml", "volume.yaml"):
        text = (ROOT / "demo" / name).read_text().replace("DEMO_STORAGE", str(STORAGE))
        kubectl("apply", "-f", "-", text=text.replace("llmtrain-demo", NAMESPACE))
    kubectl("apply", "-f", str(ROOT / "demo" / "plans.yaml"))
    yield
    kubectl("delete", "llmjob", "--all", "-n", NAMESPACE, "--timeout=120s")


@pytest.fixture(scope="session")
def recorder(namespace: None) -> Iterator[Recorder]:
    recorder = Recorder(NAMESPACE)
    yield recorder
    recorder.close()


@pytest.fixture(scope="session")
def runtime(node: None) -> Iterator[RuntimeEvents]:
    events = RuntimeEvents(Path(os.environ["KUBECONFIG"]).with_name("containerd.sock"))
    yield events
    events.close()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


class StageTargets:
    """The stage pods as Prometheus is to scrape them: what the chart's PodMonitor would discover, written to a file."""

    def __init__(self, file: Path) -> None:
        self._file, self._end = file, threading.Event()
        self.write()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def write(self) -> None:
        found = json.loads(kubectl("get", "pods", "-A", "-l", "llmtrain.dev/job", "-o", "json"))["items"]
        partial = self._file.with_suffix(".partial")
        partial.write_text(json.dumps([self._target(pod) for pod in found if pod["status"].get("podIP")]))
        partial.replace(self._file)

    @staticmethod
    def _target(pod: dict[str, Any]) -> dict[str, Any]:
        labels = pod["metadata"]["labels"]
        own = {
            "namespace": pod["metadata"]["namespace"],
            "pod": pod["metadata"]["name"],
            "name": labels["llmtrain.dev/job"],
        }
        own |= {key: labels[f"llmtrain.dev/{key}"] for key in ("stage", "role", "attempt")}
        return {"targets": [f"{pod['status']['podIP']}:8090"], "labels": own}

    def _follow(self) -> None:
        while not self._end.wait(2):
            self.write()

    def close(self) -> None:
        self._end.set()
        self._thread.join(130)


@pytest.fixture(scope="session")
def prometheus(operator: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prometheus with the chart's rules, which scrapes the operator's Service and every stage pod."""
    folder = tmp_path_factory.mktemp("prometheus")
    address = kubectl(
        "get", "service", "llmtrain-operator", "-n", "llmtrain-system", "-o", "jsonpath={.spec.clusterIP}"
    )
    stages = StageTargets(folder / "stages.json")
    scrapes = [
        {"job_name": "operator", "honor_labels": True, "static_configs": [{"targets": [f"{address}:8080"]}]},
        {"job_name": "stages", "file_sd_configs": [{"files": [str(folder / "stages.json")]}]},
    ]
    config = {
        "global": {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "2s"},
        "rule_files": [str(ROOT / "charts" / "llmtrain" / "files" / "rules.yaml")],
        "scrape_configs": scrapes,
    }
    (folder / "prometheus.json").write_text(json.dumps(config))
    port = 19090
    command = ["prometheus", f"--config.file={folder / 'prometheus.json'}", f"--storage.tsdb.path={folder / 'data'}",
               f"--web.listen-address=127.0.0.1:{port}"]  # fmt: skip
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    wait("Prometheus", lambda: answers(f"{url}/-/ready"), 60)
    yield url
    stages.close()
    process.terminate()
    process.wait(20)
