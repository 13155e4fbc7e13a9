"""Ray runs code for whoever reaches it: from another pod of the same namespace nothing is to be had without the token."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.jobs import job
from tests.e2e.kube import NAMESPACE, apply, kubectl, pods, wait

NAME = "access"
# Prints every open port of the head with its answer to HTTP, and what the control store says to each kind of client.
PROBE = """
import json, os, socket, subprocess, sys, time, urllib.error, urllib.request
from concurrent.futures import ThreadPoolExecutor
head = sys.argv[1]
def is_open(port):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex((head, port)) == 0
def status(port, page):
    try:
        with urllib.request.urlopen(f"http://{head}:{port}{page}", timeout=3) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except Exception:
        return 0
ASK = "from ray._raylet import GcsClient; print(len(GcsClient(address='%s:6379').get_all_node_info(timeout=10)))" % head
def gcs(**env):
    base = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    done = subprocess.run([sys.executable, "-c", ASK], env=base | env, capture_output=True, text=True, timeout=90)
    return [done.returncode, (done.stdout + done.stderr)[-400:]]
end = time.monotonic() + 90
while not is_open(6379) and time.monotonic() < end:
    time.sleep(1)
time.sleep(5)
with ThreadPoolExecutor(200) as pool:
    ports = [p for p, there in zip(range(1, 65536), pool.map(is_open, range(1, 65536))) if there]
pages = ["/api/jobs/", "/api/version", "/api/job_agent/jobs/", "/nodes", "/logs", "/metrics", "/progress"]
token = open("/token/token").read().strip()
print(json.dumps({
    "ports": {p: {page: status(p, page) for page in pages} for p in ports},
    "none": gcs(RAY_AUTH_MODE="disabled"),
    "wrong": gcs(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="0" * 64),
    "right": gcs(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token),
}))
"""


@pytest.fixture(scope="module")
def found(namespace: None, images: dict[str, str]) -> Iterator[dict[str, Any]]:
    """What a pod beside a running cluster sees of its head."""
    apply(job(NAME, seed=11))
    head = wait("a head with workers", lambda: next((p for p in pods(NAME) if ready_head(p)), None), 180)
    secret = next(v["secret"]["secretName"] for v in head["spec"]["volumes"] if v["name"] == "token")
    apply(prober(images["jobs"], head["status"]["podIP"], secret))
    wait("the prober", lambda: phase("prober") in ("Succeeded", "Failed"), 150)
    log = kubectl("logs", "prober", "-n", NAMESPACE)
    assert phase("prober") == "Succeeded", log
    yield json.loads(log.strip().splitlines()[-1])
    kubectl("delete", "pod", "prober", "-n", NAMESPACE, "--wait=false")
    kubectl("delete", "llmjob", NAME, "-n", NAMESPACE, "--timeout=110s")


def ready_head(pod: dict[str, Any]) -> bool:
    running = "running" in pod.get("status", {}).get("containerStatuses", [{}])[0].get("state", {})
    return "-cur-1-head" in pod["metadata"]["name"] and running


def phase(name: str) -> str:
    return kubectl("get", "pod", name, "-n", NAMESPACE, "-o", "jsonpath={.status.phase}")


def prober(image: str, head: str, secret: str) -> dict[str, Any]:
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True,
                "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}  # fmt: skip
    container = {
        "name": "prober",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", PROBE, head],
        "env": [{"name": "HOME", "value": "/tmp"}],
        "securityContext": security,
        "volumeMounts": [{"name": "token", "mountPath": "/token"}],
    }
    spec = {
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [{"name": "token", "secret": {"secretName": secret}}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "prober", "namespace": NAMESPACE}, "spec": spec}


def test_the_dashboard_is_off_and_no_page_of_ray_answers_without_the_token(found: dict[str, Any]) -> None:
    ports = {int(port): pages for port, pages in found["ports"].items()}
    assert {6379, 8090} <= set(ports), "the probe does not see the head"
    assert 8265 not in ports
    assert 10001 not in ports
    answering = {(port, page) for port, pages in ports.items() for page, code in pages.items() if code == 200}
    own = {(8090, "/metrics"), (8090, "/progress")}
    # Ray's metrics exporters answer with numbers, to everything with the same page.
    exporters = {port for port, page in answering - own if page == "/metrics"}
    assert {(port, page) for port, page in answering - own if port not in exporters} == set()


def test_the_control_store_refuses_whoever_has_no_token_or_another_one(found: dict[str, Any]) -> None:
    assert found["right"][0] == 0, found["right"][1]
    assert int(found["right"][1].split()[-1]) >= 1
    for kind in ("none", "wrong"):
        code, words = found[kind]
        assert code != 0, words
        assert "uth" in words, words
