"""Who may talk to the pods of an attempt, and with whom they may: the spec of its NetworkPolicy.

Ray runs code for whoever reaches it, so only the attempt's own pods do. The token is asked for in any case: a network
plug-in without support for policies ignores them.

A policy is held against packets after a Service has been translated: the port is the pod's, not the Service's that the
URL names. Which it is stands in the Service, and the operator has no right to read others' Services. So where a URL
names a Service of the cluster, all ports of the pods of that one namespace are open to the stage. Whoever submits the
job gains nothing by it: his own pods have no such policy at all.
"""

import re
from collections.abc import Iterator
from typing import Any

from pydantic import Field

from llmtrain.api.base import Model
from llmtrain.api.job import JobSpec
from llmtrain.api.stageconfig import HTTP_PORT
from llmtrain.api.urls import DEFAULT_PORTS, SHAPE, Server, server_of, urls_of

Rule = dict[str, Any]
ANYWHERE: list[Rule] = [
    {"namespaceSelector": {}},
    # Not the cloud's metadata service, which gives the node's credentials to whoever asks: AWS, Google, Oracle, Azure and most
    # others, then Alibaba's, and Azure's WireServer beside it.
    {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16", "100.100.100.200/32", "168.63.129.16/32"]}},
    {
        "ipBlock": {
            "cidr": "::/0",
            "except": ["fd00:ec2::254/128", "fd20:ce::254/128", "fd00:c1::a9fe:a9fe/128", "fe80::/10"],
        }
    },
]
DNS: Rule = {"ports": [{"protocol": protocol, "port": port} for port in (53, 5353) for protocol in ("UDP", "TCP")]}
"""5353 is where the pods of OpenShift's DNS listen, behind port 53 of its Service."""
NAMESPACE = "kubernetes.io/metadata.name"
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
URL_VARIABLE = re.compile(r"(?<!^NO)(_PROXY|_ENDPOINT|_URL|_URI|_URL_S3)$", re.IGNORECASE)
"""Environment variables that hold an address by their name: HTTPS_PROXY, HF_ENDPOINT, MLFLOW_TRACKING_URI."""


class NetworkSettings(Model):
    """What the chart says about stage pods' traffic; peers and rules are those of networking.k8s.io/v1."""

    enabled: bool = False
    progress_from: list[dict[str, Any]] = Field([], description="Peers that may read /progress and /metrics.")
    extra_egress: list[dict[str, Any]] = Field([], description="More egress rules.")


NO_POLICY = NetworkSettings()


def policy_spec(labels: dict[str, str], spec: JobSpec, settings: NetworkSettings) -> Rule:
    """Own pods both ways, port 8090 from operator and Prometheus; out to DNS and to where the data is."""
    own = {"podSelector": {"matchLabels": labels}}
    reading: list[Rule] = (
        [{"from": settings.progress_from, "ports": _tcp([HTTP_PORT])}] if settings.progress_from else []
    )
    ports = sorted(external_ports(spec))
    outside: list[Rule] = [{"to": ANYWHERE, "ports": _tcp(ports)}] if ports else []
    inside = [{"to": [peer]} for peer in services(spec)]
    return {
        "podSelector": {"matchLabels": labels},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [own]}, *reading],
        "egress": [{"to": [own]}, DNS, *outside, *inside, *settings.extra_egress],
    }


def external_ports(spec: JobSpec) -> set[int]:
    """Ports of the servers that the spec names; a bucket without an endpoint is behind 443."""
    endpoint = spec.storage.s3.endpoint_url if spec.storage.s3 else ""
    buckets = spec.storage.s3 is not None or any(url.startswith("s3://") for _, url in urls_of(spec, "spec"))
    ports = {DEFAULT_PORTS["https"]} if buckets and not endpoint else set()
    return ports | {server.port for server in servers(spec)}


def services(spec: JobSpec) -> list[Rule]:
    """Peers: the pods of each namespace that a URL of the spec names a Service of, on whatever port they listen."""
    peers: list[Rule] = []
    for server in servers(spec):
        namespace = namespace_of(server.host)
        if namespace is None:
            continue
        own: Rule = {"podSelector": {}}
        peer = {"namespaceSelector": {"matchLabels": {NAMESPACE: namespace}}} if namespace else own
        peers += [peer] if peer not in peers else []
    return peers


def namespace_of(host: str) -> str | None:
    """The namespace of a Service's name, "" for the job's own; None where the host is no such name.

    `minio.storage` may be a Service or a domain of the internet; a namespace that does not exist opens nothing.
    """
    labels = host.rstrip(".").split(".")
    if not all(LABEL.fullmatch(label) for label in labels) or labels[-1].isdecimal():
        return None
    if len(labels) <= 2:
        return labels[1] if len(labels) == 2 else ""
    return labels[labels.index("svc", 2) - 1] if "svc" in labels[2:] else None


def servers(spec: JobSpec) -> Iterator[Server]:
    """Of the fields that hold URLs, and of the environment variables that do so by name."""
    found = [server_of(url) for _, url in urls_of(spec, "spec")]
    found += [_of_variable(each.value) for each in spec.pod.env if URL_VARIABLE.search(each.name)]
    yield from (server for server in found if server is not None)


def _of_variable(value: str) -> Server | None:
    """A proxy is often written without a scheme, or with a user: `http://user:word@proxy:3128`."""
    scheme, _, rest = value.rpartition("://")
    return server_of(f"{scheme or 'http'}://{rest.rpartition('@')[2]}")


def url_refusal(spec: JobSpec) -> tuple[str, str] | None:
    """Reason and message where a field's http URL is none: an older CRD let it in, and nothing could ever reach it."""
    for path, url in urls_of(spec, "spec"):
        if url.startswith(("http:", "https:")) and server_of(url) is None:
            return "InvalidUrl", f"`{path}` must be {SHAPE}, not {url[:256]!r}"
    return None


def _tcp(ports: list[int]) -> list[Rule]:
    return [{"protocol": "TCP", "port": port} for port in ports]
