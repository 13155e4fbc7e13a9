"""Command lines of kubectl and ctr, and the few questions that are asked with them."""

import json
import subprocess
import sys
from typing import Any

from components import NODE, Layout

SECONDS = 30


def kubectl(layout: Layout, *arguments: str) -> list[str]:
    """Command line of kubectl as admin."""
    return [layout.program("kubectl"), f"--kubeconfig={layout.kubeconfig('admin')}", *arguments]


def ctr(layout: Layout, *arguments: str) -> list[str]:
    """Command line of ctr in the namespace of Kubernetes."""
    return [layout.program("ctr"), "-a", str(layout.containerd_socket), "-n", "k8s.io", *arguments]


def output(command: list[str]) -> str:
    """What a command prints; nothing where it fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def apply(layout: Layout, *objects: dict[str, Any]) -> None:
    """Create or update objects, or end the program with what kubectl says."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    command = kubectl(layout, "apply", "-f", "-")
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")


def node_ready(layout: Layout) -> bool:
    """Whether the node's Ready condition is True."""
    path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
    return output(kubectl(layout, "get", "node", NODE, "-o", path)) == "True"
