"""A real etcd, apiserver and scheduler over KWOK nodes, whose pods start, work and end by themselves."""

import asyncio
import itertools
import json
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp

from llmtrain.api.crd import crds
from tests.kwok import stages

ROOT = Path(__file__).resolve().parents[2]
JOBS = "/apis/llmtrain.dev/v1alpha1"
PLANS: dict[str, Any] = {
    "cpu": {"tenure": "Rented", "rented": {"cpuHourUsd": "0.031611", "memoryGibHourUsd": "0.004237"}},
    "gpu": {
        "tenure": "Rented",
        "accelerator": {"product": "H100-SXM-80GB", "resourceName": "nvidia.com/gpu"},
        "rented": {"acceleratorHourUsd": "3.99", "minimumSeconds": 7},
    },
}


class Plane:
    """The programs, by pid; the administrator's way in. `definitions` are CustomResourceDefinitions, this commit's if not given."""

    def __init__(
        self, state: Path, nodes: int, timing: stages.Timing, definitions: Sequence[dict[str, Any]] | None = None
    ) -> None:
        self.state, self._nodes, self._timing = state, nodes, timing
        self._definitions = crds() if definitions is None else definitions
        self.numbers = itertools.count(1)
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start all of it; the nodes are there when this returns."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        _tool("build", "--only", "etcd,kube-apiserver,kubectl,kube-scheduler,kwok")
        self.kubeconfig = _tool("up", "--only", "control-plane", "--state", str(self.state)).strip().splitlines()[-1]
        self.binaries = Path(_tool("env", "--state", str(self.state)).split('PATH="')[1].split(":")[0])
        config = json.loads(Path(self.kubeconfig).read_text())
        self.server: str = config["clusters"][0]["cluster"]["server"]
        self.run_program("kube-scheduler", f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", "--secure-port=0",
                  "--kube-api-qps=500", "--kube-api-burst=1000")  # fmt: skip
        (self.state / "stages.yaml").write_text(stages.render(self._timing, self._nodes))
        self.run_program("kwok", f"--kubeconfig={self.kubeconfig}", f"--config={self.state / 'stages.yaml'}",
                  "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake", "--node-ip=127.0.0.1",
                  "--cidr=127.0.0.1/24", "--node-lease-duration-seconds=0")  # fmt: skip
        for crd in self._definitions:
            self.kubectl("apply", "-f", "-", body=crd)
        self.kubectl(
            "wait",
            "--for=jsonpath={.status.conditions[?(@.type=='Established')].status}=True",
            "crd",
            "--all",
            "--timeout=30s",
        )
        bodies = [node(f"fake-{number:03d}") for number in range(self._nodes)] + [plan(name) for name in PLANS]
        self.kubectl("create", "-f", "-", body={"apiVersion": "v1", "kind": "List", "items": bodies})
        # Admission marks every new node as not ready; what takes that back is a controller that does not run here.
        self.kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=60s")
        self.kubectl("taint", "nodes", "--all", "node.kubernetes.io/not-ready-")

    def stop(self) -> None:
        """Stop what was started."""
        for process in reversed(self._processes):
            process.terminate()
            process.wait(20)
        _tool("down", "--state", str(self.state))

    def kubectl(self, *arguments: str, body: Any = None) -> str:
        """kubectl as administrator."""
        command = [str(self.binaries / "kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments]
        text = None if body is None else json.dumps(body)
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def tls(self) -> ssl.SSLContext:
        """The administrator's certificate."""
        pki = self.state / "pki"
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(str(pki / "admin.crt"), str(pki / "admin.key"))
        return context

    def run_program(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a program beside the others; `stop` ends it."""
        with (self.state / f"{name}.log").open("wb") as log:
            command = [str(self.binaries / name), *arguments]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._processes.append(process)
        return process


def node(name: str) -> dict[str, Any]:
    """A node that KWOK plays, with eight accelerators."""
    amounts = {"cpu": "100000", "memory": "100Ti", "pods": "100000", "nvidia.com/gpu": "8",
               "example.com/rdma": "20k"}  # fmt: skip
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "annotations": {"kwok.x-k8s.io/node": "fake"}},
        "status": {"capacity": amounts, "allocatable": amounts},
    }


def plan(name: str) -> dict[str, Any]:
    """A ComputePlan."""
    return {
        "apiVersion": "llmtrain.dev/v1alpha1",
        "kind": "ComputePlan",
        "metadata": {"name": name},
        "spec": PLANS[name],
    }


class Admin:
    """The administrator's requests, and the count of what they cost nobody."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    async def __aenter__(self) -> "Admin":
        connector = aiohttp.TCPConnector(ssl=self._plane.tls(), limit=200)
        self.session = aiohttp.ClientSession(self._plane.server, connector=connector)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()
        await asyncio.sleep(0.25)  # aiohttp closes TLS connections a little later

    async def get(self, path: str) -> Any:
        """The object, or None."""
        async with self.session.get(path) as answer:
            return None if answer.status == 404 else await _checked(answer)

    async def post(self, path: str, body: Any) -> Any:
        """Create."""
        async with self.session.post(path, json=body) as answer:
            return await _checked(answer)

    async def put(self, path: str, body: Any) -> Any:
        """Replace."""
        async with self.session.put(path, json=body) as answer:
            return await _checked(answer)

    async def patch(self, path: str, body: Any) -> Any:
        """Merge."""
        headers = {"Content-Type": "application/merge-patch+json"}
        async with self.session.patch(path, data=json.dumps(body), headers=headers) as answer:
            return await _checked(answer)

    async def delete(self, path: str, grace: int | None = None) -> None:
        """Delete."""
        query = "" if grace is None else f"?gracePeriodSeconds={grace}"
        async with self.session.delete(path + query) as answer:
            assert answer.status in (200, 202, 404), await answer.text()

    async def namespace(self, name: str) -> None:
        """A namespace with the service account that admission asks for: no controller manager makes it here."""
        await self.post("/api/v1/namespaces", {"metadata": {"name": name}})
        await self.post(f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "default"}})


async def _checked(answer: aiohttp.ClientResponse) -> Any:
    assert answer.status < 300, f"{answer.status} {await answer.text()}"
    return await answer.json()


async def follow(
    admin: Admin, path: str, version: str, accept: str = "application/json", fields: str = ""
) -> AsyncGenerator[dict[str, Any], None]:
    """Every event after `version`, without end: an apiserver that is short of time ends the watches that lag."""
    while True:
        query = urlencode({"watch": "1", "resourceVersion": version, "fieldSelector": fields})
        url, timeout = f"{path}?{query}", aiohttp.ClientTimeout(total=None)
        async with admin.session.get(url, headers={"Accept": accept}, timeout=timeout, read_bufsize=2**24) as answer:
            async for line in answer.content:
                event = json.loads(line)
                assert event["type"] != "ERROR", event
                version = event["object"]["metadata"]["resourceVersion"]
                yield event


def _tool(*arguments: str) -> str:
    command = [sys.executable, "hack/cluster", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def until(what: str, check: Any, seconds: float, every: float = 0.25) -> Any:
    """Wait for an asynchronous check to hold."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = await check()
        if answer:
            return answer
        await asyncio.sleep(every)
    raise AssertionError(f"{what} did not happen within {seconds} s")


def scrape(port: int, name: str) -> Mapping[str, float]:
    """Samples of one metric by name and labels: a thousand jobs' others take the operator long to write."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics?name[]={name}", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    return {name: float(value) for name, value in pairs}
