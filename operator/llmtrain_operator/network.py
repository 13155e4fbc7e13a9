"""Who may talk to the pods of an attempt, and with whom they may: the spec of its NetworkPolicy.

Ray runs code for whoever reaches it, so only the attempt's own pods do. The token is asked for in any case: a network
plug-in without support for policies ignores them.
"""

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field

from llmtrain.api.base import Model
from llmtrain.api.job import JobSpec
from llmtrain.api.stageconfig import HTTP_PORT

Rule = dict[str, Any]
PORTS = {"http": 80, "https": 443}
ANYWHERE: list[Rule] = [
    {"namespaceSelector": {}},
    # Not the cloud's metadata service, which gives the node's credentials to whoever asks.
    {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}},
    {"ipBlock": {"cidr": "::/0", "except": ["fd00:ec2::254/128", "fe80::/10"]}},
]
DNS: Rule = {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}


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
    return {
        "podSelector": {"matchLabels": labels},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [own]}, *reading],
        "egress": [{"to": [own]}, DNS, *outside, *settings.extra_egress],
    }


def external_ports(spec: JobSpec) -> set[int]:
    """Ports of every URL that the spec names; a bucket without an endpoint is behind 443."""
    endpoint = spec.storage.s3.endpoint_url if spec.storage.s3 else ""
    urls = [urlsplit(text) for text in _strings(spec.to_dict()) if "://" in text]
    buckets = spec.storage.s3 is not None or any(url.scheme == "s3" for url in urls)
    ports = {PORTS["https"]} if buckets and not endpoint else set()
    return ports | {url.port or PORTS[url.scheme] for url in urls if url.scheme in PORTS}


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for child in value.values() if isinstance(value, dict) else value:
            yield from _strings(child)


def _tcp(ports: list[int]) -> list[Rule]:
    return [{"protocol": "TCP", "port": port} for port in ports]
