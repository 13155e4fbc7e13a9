"""Addresses of both families, and where a stage's pods may go: by fields that hold URLs, by nothing else."""

import asyncio
import json
import re
import socket
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from llmtrain_operator import progress
from llmtrain_operator.health import Health
from llmtrain_operator.health import serve as serve_health
from llmtrain_operator.memory import Head, Memory
from llmtrain_operator.network import NetworkSettings, external_ports, namespace_of, policy_spec, services
from llmtrain_operator.progress import ProgressReader
from llmtrain_operator.reconcile import JOBS

from llmtrain.api.crd import structural
from llmtrain.api.job import JobSpec
from llmtrain.api.urls import urls_of
from llmtrain.network import Server, authority, has_ipv6, serve
from tests.unit.operator.scenario import Scenario, job_spec

ON = NetworkSettings(enabled=True)
PATIENCE_SECONDS = 30
"""With a server of this process, on a machine that has other things to do."""
LOOPBACK = ["127.0.0.1", "::1"] if has_ipv6() else ["127.0.0.1"]


def job(**parts: Any) -> JobSpec:
    return JobSpec.model_validate(job_spec() | parts)


def bucket(url: str) -> dict[str, Any]:
    return {"s3": {"bucket": "llm", "endpointUrl": url}}


def end(server: Server) -> None:
    server.shutdown()
    server.server_close()


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps({"done": 5, "total": 10, "unit": "tokens"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


async def test_a_head_is_asked_at_an_address_of_either_family(monkeypatch: pytest.MonkeyPatch) -> None:
    server, reader = serve(0, Answers), ProgressReader()
    monkeypatch.setattr(progress, "HTTP_PORT", server.server_port)
    monkeypatch.setattr(progress, "TIMEOUT_SECONDS", PATIENCE_SECONDS)
    memories = {address: Memory() for address in LOOPBACK}
    for address, memory in memories.items():
        reader.ask(Head(address, address), memory)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not all(memory.progress is not None for memory in memories.values()):
            await asyncio.sleep(0.01)
    await reader.close()
    end(server)
    assert [memory.progress and memory.progress.done for memory in memories.values()] == [5] * len(LOOPBACK)


def test_the_operators_probes_answer_on_both_families() -> None:
    server, answers = serve_health(Health(lambda: 1.0), 0), []
    for address in LOOPBACK:
        with urllib.request.urlopen(
            f"http://{authority(address, server.server_port)}/healthz", timeout=PATIENCE_SECONDS
        ) as answer:
            answers.append(answer.read())
    end(server)
    assert answers == [b"ok"] * len(LOOPBACK)


def test_a_kernel_without_ipv6_is_served_on_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    class Absent(socket.socket):
        def __init__(self, family: int = -1, *rest: Any, **more: Any) -> None:
            if family == socket.AF_INET6:
                raise OSError(97, "Address family not supported by protocol")
            super().__init__(family, *rest, **more)

    monkeypatch.setattr(socket, "socket", Absent)
    server = serve(0, Answers)
    with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/", timeout=PATIENCE_SECONDS) as answer:
        assert answer.status == 200
    end(server)


def test_the_heads_service_has_an_address_of_every_family_that_the_cluster_has() -> None:
    async def made() -> dict[str, Any]:
        run = Scenario()
        await run.turn(3)
        return dict(run.cluster.of("api/v1/services")[0]["spec"])

    spec = asyncio.run(made())
    assert (spec["clusterIP"], spec["ipFamilyPolicy"]) == ("None", "PreferDualStack")


NAMES: list[tuple[str, str | None]] = [
    ("minio", ""),
    ("minio.storage", "storage"),
    ("rook-ceph-rgw-store.rook-ceph.svc", "rook-ceph"),
    ("minio.storage.svc.cluster.local", "storage"),
    ("minio.storage.svc.cluster.local.", "storage"),
    ("minio.storage.svc.corp.example.com", "storage"),
    ("minio-0.minio.storage.svc.cluster.local", "storage"),
    ("s3.eu-central-1.amazonaws.com", None),
    ("example.com", "com"),  # might be a Service; a namespace `com` that does not exist opens nothing
    ("10.96.0.7", None),
    ("fd00::7", None),
    ("my_host", None),
]


@pytest.mark.parametrize(("host", "namespace"), NAMES)
def test_a_services_name_tells_its_namespace(host: str, namespace: str | None) -> None:
    assert namespace_of(host) == namespace


def test_pods_behind_a_service_are_reached_on_whatever_port_they_listen() -> None:
    """Rook's gateway: Service 80, pods 8080. The policy is held against the pods' port."""
    egress = policy_spec({"a": "b"}, job(storage=bucket("http://rook-ceph-rgw-store.rook-ceph.svc")), ON)["egress"]
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "rook-ceph"}}}
    assert {"to": [peer]} in egress
    own = policy_spec({"a": "b"}, job(storage=bucket("http://minio:9000")), ON)["egress"]
    assert {"to": [{"podSelector": {}}]} in own
    far = policy_spec({"a": "b"}, job(storage=bucket("https://s3.example.com:9000")), ON)["egress"]
    assert all("ports" in rule for rule in far[1:]), "an address outside is open on its port alone"


def test_names_are_resolved_at_53_and_at_the_port_of_openshifts_dns_pods() -> None:
    rules = [rule for rule in policy_spec({}, job(), ON)["egress"] if "to" not in rule]
    ports = {(port["protocol"], port["port"]) for rule in rules for port in rule["ports"]}
    assert ports == {("UDP", 53), ("TCP", 53), ("UDP", 5353), ("TCP", 5353)}


PROSE = "ask http://intranet.tools:8443/v1, or http://{{host}}:{{port}} or https://[x"


def test_text_that_holds_a_url_opens_nothing() -> None:
    spec = job_spec()
    spec["pod"] = {"annotations": {"example.com/see": PROSE}, "env": [{"name": "NOTE", "value": PROSE}]}
    judged = {"name": "t", "template": {"prompt": PROSE, "description": PROSE}, "dataFile": "x.jsonl"}
    spec["evaluation"] = spec["evaluation"] | {"tasks": [judged]}
    parsed = JobSpec.model_validate(spec)
    assert external_ports(parsed) == set()
    assert services(parsed) == []


VARIABLES: list[tuple[str, str, set[int]]] = [
    ("HTTPS_PROXY", "http://proxy.corp.example.com:3128", {3128}),
    ("https_proxy", "proxy.corp.example.com:3128", {3128}),
    ("HTTP_PROXY", "http://user:word@proxy.corp.example.com:3128", {3128}),
    ("HTTP_PROXY", "http://proxy:{port}", set()),
    ("NO_PROXY", ".svc,10.0.0.0/8", set()),
    ("NO_PROXY", "localhost", set()),
    ("no_proxy", "minio.storage", set()),
    ("HF_ENDPOINT", "https://hub.example.com", {443}),
    ("MLFLOW_TRACKING_URI", "http://mlflow.tools:5000", {5000}),
    ("MOTTO", "http://mlflow.tools:5000", set()),
]


@pytest.mark.parametrize(("name", "value", "ports"), VARIABLES)
def test_variables_that_hold_an_address_by_their_name_open_its_port(name: str, value: str, ports: set[int]) -> None:
    assert external_ports(job(pod={"env": [{"name": name, "value": value}]})) == ports


def test_a_source_in_a_bucket_opens_the_buckets_port() -> None:
    spec = job_spec()
    spec["curation"]["sources"][0]["path"] = "s3://common/*.jsonl"
    assert external_ports(JobSpec.model_validate(spec)) == {443}


ADDRESSES = {
    "spec.storage.s3.endpointUrl",
    "spec.curation.sources.path",
    "spec.curation.filters.languageModel",
    "spec.curation.filters.blockedWords",
    "spec.curation.filters.blockedDomains",
    "spec.curation.filters.classifiers.path",
    "spec.curation.takedown.path",
    "spec.curation.tokenizer.file",
    "spec.training.continueFrom.huggingFace",
    "spec.evaluation.reference.baseUrl",
    "spec.evaluation.chatTemplate.file",
    "spec.evaluation.judge.baseUrl",
    "spec.evaluation.suites.dataFolder",
    "spec.evaluation.tasks.dataFile",
    "spec.evaluation.tasks.fewShotFile",
    "spec.evaluation.tasks.perplexity.files",
    "spec.evaluation.tasks.judge.ratingsFile",
}
NO_ADDRESSES = {"spec.storage.persistentVolumeClaim.subPath"}
LOOKS_LIKE_ONE = re.compile(r"(url|path|file|files|folder|endpoint|address|uri)$", re.IGNORECASE)


def strings(node: dict[str, Any], path: str) -> Iterator[str]:
    """Paths of every string in a schema."""
    if node.get("type") == "string":
        yield path
    for name, child in node.get("properties", {}).items():
        yield from strings(child, f"{path}.{name}")
    if isinstance(node.get("items"), dict):
        yield from strings(node["items"], path)


HERE = "http://there:1234/x"


def addressed() -> JobSpec:
    """A job with an address in every field that may hold one."""
    spec = job_spec()
    spec["storage"] = bucket(HERE)
    spec["curation"] |= {
        "sources": [{"name": "a", "path": HERE}],
        "filters": {"languageModel": HERE, "blockedWords": HERE, "blockedDomains": HERE,
                    "classifiers": [{"name": "q", "path": HERE}]},
        "takedown": {"path": HERE},
        "tokenizer": {"file": HERE},
    }  # fmt: skip
    spec["training"] |= {"continueFrom": {"huggingFace": HERE}}
    task = {
        "name": "t",
        "dataFile": HERE,
        "fewShotFile": HERE,
        "perplexity": {"files": [HERE]},
        "judge": {"ratingsFile": HERE},
    }
    model = {"baseUrl": HERE, "model": "m"}
    suite = {"name": "s", "dataFolder": HERE}
    spec["evaluation"] |= {
        "tasks": [task],
        "suites": [suite],
        "judge": model,
        "reference": model,
        "chatTemplate": {"file": HERE},
    }
    return JobSpec.model_validate(spec)


def test_every_field_that_can_be_an_address_is_known_as_one_and_no_other() -> None:
    """The schema is walked: a new field whose name sounds like an address must be put in one of the two lists."""
    sounding = {path for path in strings(structural(JobSpec), "spec") if LOOKS_LIKE_ONE.search(path)}
    assert sounding - ADDRESSES - NO_ADDRESSES == set()
    found = {re.sub(r"\[\d+\]", "", path) for path, _ in urls_of(addressed(), "spec")}
    assert found == ADDRESSES


async def test_a_stored_job_with_an_impossible_port_is_refused_by_name_and_can_still_go() -> None:
    run = Scenario(storage=bucket("http://minio:90000"))
    run.network = ON
    await run.turn(4)
    accepted = next(condition for condition in run.status.conditions if condition.type == "Accepted")
    assert (accepted.status, accepted.reason) == ("False", "InvalidUrl")
    assert "`spec.storage.s3.endpointUrl`" in accepted.message
    assert "1 to 65535" in accepted.message
    assert run.pods == []
    run.job["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    await run.turn(3)
    assert run.cluster.of(JOBS) == []


BUNDLES = [
    ({"configMapKeyRef": {"name": "ours", "key": "root.pem"}}, {"configMap": {"name": "ours"}}, "root.pem"),
    ({"secretKeyRef": {"name": "ours"}}, {"secret": {"secretName": "ours"}}, "ca.crt"),
]


@pytest.mark.parametrize(("given", "volume", "key"), BUNDLES)
async def test_authorities_that_the_job_names_are_one_file_in_every_pod(
    given: dict[str, Any], volume: dict[str, Any], key: str
) -> None:
    run = Scenario(storage={"s3": {"bucket": "llm", "caBundle": given}})
    await run.turn(3)
    spec = run.cluster.pod("gpt-pre-1-head")["spec"]
    name = next(mount["name"] for mount in spec["containers"][0]["volumeMounts"]
                if mount["mountPath"] == "/etc/llmtrain-ca" and mount["readOnly"])  # fmt: skip
    found = next(each for each in spec["volumes"] if each["name"] == name)
    (kind,) = volume
    assert found[kind] == volume[kind] | {"items": [{"key": key, "path": "ca.crt"}]}
