"""Start what is missing. Right after a `kill -9` of everything the same call starts it again on the same state."""

import json
import os
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import certs
import components
import network
import versions
from build import build
from components import NODE, Layout
from processes import Processes, succeeds, wait_for

AUDIT_POLICY = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}],
                "omitStages": ["RequestReceived"]}  # fmt: skip
CLIENTS = {"admin": "admin", "controller-manager": "controller-manager", "scheduler": "scheduler",
           "proxy": "proxy", "kubelet": "kubelet"}  # fmt: skip


def layout_of(state: Path, control_plane_only: bool) -> Layout:
    """The ports that the state folder remembers; chosen anew for a new one."""
    file = state / "layout.json"
    if not file.exists():
        state.mkdir(parents=True, exist_ok=True)
        ports = {"etcd": 23790, "api": 6443, "advertise": components.GATEWAY}
        if control_plane_only:
            ports = {"etcd": network.free_ports(2), "api": network.free_ports(1), "advertise": "127.0.0.1"}
        file.write_text(json.dumps(ports))
    kept = json.loads(file.read_text())
    return Layout(state.absolute(), versions.binaries(), kept["etcd"], kept["api"], kept["advertise"])


def control_plane(layout: Layout, processes: Processes) -> None:
    """etcd and kube-apiserver, ready to answer."""
    certs.make_certificates(layout.certificates, NODE)
    for name, client in CLIENTS.items():
        certs.write_kubeconfig(layout.kubeconfig(name), layout.certificates, client, layout.server)
    (layout.state / "audit-policy.json").write_text(json.dumps(AUDIT_POLICY))
    processes.start("etcd", components.etcd(layout))
    wait_for("etcd answers", lambda: _healthy(layout.etcd_port), 30, lambda: processes.tail("etcd"))
    processes.start("kube-apiserver", components.apiserver(layout))
    ready = kubectl(layout, "get", "--raw", "/readyz")
    wait_for("kube-apiserver is ready", lambda: succeeds(ready), 60, lambda: processes.tail("kube-apiserver"))


def up_control_plane(state: Path) -> None:
    """etcd and kube-apiserver alone, on free loopback ports."""
    build(versions.CONTROL_PLANE)
    layout = layout_of(state, control_plane_only=True)
    control_plane(layout, Processes(layout.state))
    print(layout.kubeconfig("admin"))


def up(state: Path, accelerators: int, labels: list[str]) -> None:
    """The whole node."""
    started = time.monotonic()
    build()
    layout = layout_of(state, control_plane_only=False)
    processes = Processes(layout.state)
    network.remember(layout.state)
    network.make_bridge(components.GATEWAY)
    control_plane(layout, processes)
    _write_configs(layout)
    environment = {**os.environ, "PATH": f"{layout.binaries}:{os.environ['PATH']}"}
    processes.start("kube-controller-manager", components.controller_manager(layout))
    processes.start("kube-scheduler", components.scheduler(layout))
    processes.start("containerd", components.containerd(layout), environment)
    wait_for("containerd answers", lambda: succeeds(ctr(layout, "version")), 30, lambda: processes.tail("containerd"))
    import_pause(layout)
    processes.start("kubelet", components.kubelet(layout), environment)
    processes.start("kube-proxy", components.proxy(layout))
    wait_for("node is ready", lambda: node_ready(layout), 60, lambda: processes.tail("kubelet"))
    _start_dns(layout, processes)
    for label in labels:
        subprocess.run(kubectl(layout, "label", "node", NODE, "--overwrite", label), check=True, capture_output=True)
    advertise(layout, accelerators)
    print(f"up in {time.monotonic() - started:.1f} s; export KUBECONFIG={layout.kubeconfig('admin')}")


def kubectl(layout: Layout, *arguments: str) -> list[str]:
    """Command line of kubectl as admin."""
    return [layout.program("kubectl"), f"--kubeconfig={layout.kubeconfig('admin')}", *arguments]


def ctr(layout: Layout, *arguments: str) -> list[str]:
    """Command line of ctr in the namespace of Kubernetes."""
    return [layout.program("ctr"), "-a", str(layout.containerd_socket), "-n", "k8s.io", *arguments]


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return bool(json.load(answer).get("health") == "true")
    except (OSError, ValueError):
        return False


def _write_configs(layout: Layout) -> None:
    (layout.state / "cni").mkdir(exist_ok=True)
    files = {
        "containerd.toml": components.containerd_config(layout),
        "cni/10-llmtrain.conflist": components.cni_config(layout),
        "kubelet.json": components.kubelet_config(layout),
        "proxy.json": components.proxy_config(layout),
        "Corefile": components.corefile(layout),
        "resolv.conf": f"nameserver {components.DNS_SERVICE}\n",
    }
    for name, text in files.items():
        (layout.state / name).write_text(text)


def import_pause(layout: Layout) -> None:
    """The sandbox image, made here: one static program."""
    if components.PAUSE_IMAGE in subprocess.run(ctr(layout, "images", "ls", "-q"), capture_output=True, text=True).stdout:
        return
    with tempfile.TemporaryDirectory() as folder:
        archive = network.single_file_image(Path(folder), Path(layout.program("pause")), components.PAUSE_IMAGE)
        subprocess.run(ctr(layout, "images", "import", str(archive)), check=True, capture_output=True)


def node_ready(layout: Layout) -> bool:
    """Whether the node's Ready condition is True."""
    path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
    done = subprocess.run(kubectl(layout, "get", "node", NODE, "-o", path), capture_output=True, text=True, check=False)
    return done.stdout.strip() == "True"


def _start_dns(layout: Layout, processes: Processes) -> None:
    objects = json.dumps(components.dns_objects())
    subprocess.run(kubectl(layout, "apply", "-f", "-"), input=objects, text=True, check=True, capture_output=True)
    processes.start("coredns", components.coredns(layout))


def advertise(layout: Layout, accelerators: int) -> None:
    """GPUs without a device plugin. A kubelet that starts sets them to zero, so this comes after every start."""
    patch = [{"op": "add", "path": "/status/capacity/nvidia.com~1gpu", "value": str(accelerators)}]
    command = kubectl(layout, "patch", "node", NODE, "--subresource=status", "--type=json", "-p", json.dumps(patch))
    path = r"jsonpath={.status.allocatable.nvidia\.com/gpu}"

    def allocatable() -> bool:
        done = subprocess.run(kubectl(layout, "get", "node", NODE, "-o", path), capture_output=True, text=True, check=False)
        if done.stdout.strip() == str(accelerators):
            return True
        subprocess.run(command, capture_output=True, check=False)
        return False

    wait_for(f"{accelerators} nvidia.com/gpu are allocatable", allocatable, 60, lambda: "")
