"""What the node says it has: GPUs that are not there, and more CPUs than a small machine has.

A policy of the apiserver sets both on every status that the kubelet writes. Patching the status from here would not do:
the kubelet writes its own count of CPUs again within seconds, and a kubelet that starts sets the GPUs to zero.
Scheduler and kubelet both admit pods by what the Node object says."""

import json
import subprocess
from typing import Any

from components import NODE, Layout
from kube import apply, kubectl, output
from processes import wait_for

GPU = "nvidia.com/gpu"
POLICY = "llmtrain-node-capacity"


def advertise(layout: Layout, cpus: int, gpus: int) -> None:
    """Tell the apiserver what the node shall have; the node needs not exist yet."""
    apply(layout, *_policy({"cpu": str(cpus), GPU: str(gpus)}))


def wait_until_allocatable(layout: Layout, cpus: int, gpus: int) -> None:
    """Wait until pods can be given what was advertised."""
    path = r"jsonpath={.status.allocatable.cpu} {.status.allocatable.nvidia\.com/gpu}"
    # A write that changes nothing: the policy is not asked before somebody writes.
    nothing = json.dumps({"status": {"phase": None}})
    touch = kubectl(layout, "patch", "node", NODE, "--subresource=status", "-p", nothing)

    def allocatable() -> bool:
        if output(kubectl(layout, "get", "node", NODE, "-o", path)).split() == [str(cpus), str(gpus)]:
            return True
        subprocess.run(touch, capture_output=True, timeout=20, check=False)
        return False

    wait_for(f"{cpus} CPUs and {gpus} {GPU} are allocatable", allocatable, 60, lambda: "the policy had no effect")


def _policy(quantities: dict[str, str]) -> list[dict[str, Any]]:
    metadata = {"name": POLICY}
    patches = [
        f'JSONPatch{{op: "add", path: "/status/{part}/" + jsonpatch.escapeKey("{name}"), value: "{value}"}}'
        for part in ("capacity", "allocatable")
        for name, value in quantities.items()
    ]
    ours = f'object.metadata.name == "{NODE}" && has(object.status.capacity) && has(object.status.allocatable)'
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["nodes/status"]}
    spec = {
        "reinvocationPolicy": "Never",
        "matchConstraints": {"resourceRules": [rule]},
        "matchConditions": [{"name": "our-node", "expression": ours}],
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": f"[{', '.join(patches)}]"}}],
    }
    group = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": metadata}
    return [
        group | {"kind": "MutatingAdmissionPolicy", "spec": spec},
        group | {"kind": "MutatingAdmissionPolicyBinding", "spec": {"policyName": POLICY}},
    ]
