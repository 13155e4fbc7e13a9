"""The operator's own account: its rights from the table, its kubeconfig, its process, and what the audit log says."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from llmtrain_operator.permissions import CLUSTER, NAMESPACED, OWN, Grant

from tests.api.conftest import ROOT, Api
from tests.ports import free_port

ACCOUNT = "llmtrain-operator"
# Not the chart's name: another test installs that on the same apiserver.
ROLE = "operator-of-tests"
HOME = "llmtrain-system"
RBAC = "rbac.authorization.k8s.io"
Use = tuple[str, str, str]


def uses(grants: Sequence[Grant]) -> set[Use]:
    """(group, resource, verb) of the grants."""
    return {(g.group, resource, verb) for g in grants for resource in g.resources for verb in g.verbs}


def give_rights(api: Api, allowed: set[Use]) -> None:
    """The account, with these rights and no others."""
    api.run("create", "namespace", HOME)
    api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": HOME}})
    _bind(api, "ClusterRole", rules_of((*NAMESPACED, *CLUSTER), allowed), {"name": ROLE})
    _bind(api, "Role", rules_of(OWN, allowed), {"name": ROLE, "namespace": HOME})


def rules_of(grants: Sequence[Grant], allowed: set[Use]) -> list[dict[str, Any]]:
    """What is allowed of the grants, each for the objects that it names."""
    return [
        {"apiGroups": [g.group], "resources": [resource], "verbs": [verb]}
        | ({"resourceNames": g.names} if g.names else {})
        for g in grants
        for resource in g.resources
        for verb in g.verbs
        if (g.group, resource, verb) in allowed
    ]


def _bind(api: Api, kind: str, rules: list[dict[str, Any]], metadata: dict[str, str]) -> None:
    role = {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": metadata}
    api.apply(role | {"rules": rules})
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": HOME}
    reference = {"apiGroup": RBAC, "kind": kind, "name": ROLE}
    api.apply(role | {"kind": f"{kind}Binding", "subjects": [subject], "roleRef": reference})


def kubeconfig(api: Api, folder: Path) -> str:
    """A kubeconfig with the account's token."""
    config: dict[str, Any] = yaml.safe_load(Path(api.kubeconfig).read_text())
    done = api.run("create", "token", ACCOUNT, "-n", HOME, "--duration=1h")
    assert done.returncode == 0, done.stderr
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": done.stdout.strip()}}]
    file = folder / "operator.kubeconfig"
    file.write_text(yaml.safe_dump(config))
    return str(file)


@contextlib.contextmanager
def operator(config: str, log: Path, **environment: str) -> Iterator[dict[str, int]]:
    """The operator as a process of its own; its ports."""
    ports = {"metrics": free_port(), "health": free_port()}
    settings = {
        "KUBECONFIG": config,
        "LLMTRAIN_METRICS_PORT": str(ports["metrics"]),
        "LLMTRAIN_HEALTH_PORT": str(ports["health"]),
        "LLMTRAIN_JOBS_IMAGE": "jobs:1",
        "LLMTRAIN_OPERATOR_NAMESPACE": HOME,
        "LLMTRAIN_STAGE_NETWORK_POLICY": json.dumps({"enabled": True}),
        **environment,
    }
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "llmtrain_operator.main"],
            env=os.environ | settings,
            cwd=ROOT,
            stdout=file,
            stderr=file,
        )
    try:
        yield ports
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def audited(api: Api, allowed: bool, since: int = 0) -> set[Use]:
    """What the account asked for, and was allowed or forbidden to, by the apiserver's own log from this byte on."""
    found = set()
    with Path(api.kubeconfig).with_name("audit.log").open() as file:
        file.seek(since)
        for line in file:
            entry = json.loads(line)
            if entry["user"]["username"] != f"system:serviceaccount:{HOME}:{ACCOUNT}" or "objectRef" not in entry:
                continue
            if (entry.get("annotations", {}).get("authorization.k8s.io/decision") == "allow") is allowed:
                what = entry["objectRef"]
                resource = what["resource"] + (f"/{what['subresource']}" if "subresource" in what else "")
                found.add((what.get("apiGroup", ""), resource, entry["verb"]))
    return found


def audit_size(api: Api) -> int:
    return Path(api.kubeconfig).with_name("audit.log").stat().st_size


EVERYTHING = uses((*NAMESPACED, *CLUSTER, *OWN))
