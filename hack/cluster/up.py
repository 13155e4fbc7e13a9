"""Start what is missing. Right after a `kill -9` of everything the same call starts it again on the same state."""

import json
import os
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path

import capacity
import certs
import components
import network
import traces
import versions
from build import build, install_packages
from components import NODE, Layout
from kube import apply, ctr, kubectl, node_ready, output
from processes import Processes, answers, succeeds, wait_for

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
    healthy = partial(answers, f"http://127.0.0.1:{layout.etcd_port}/health")
    wait_for("etcd answers", healthy, 30, lambda: processes.tail("etcd"))
    processes.start("kube-apiserver", components.apiserver(layout))
    ready = kubectl(layout, "get", "--raw", "/readyz")
    wait_for("kube-apiserver is ready", lambda: succeeds(ready), 60, lambda: processes.tail("kube-apiserver"))


def up_control_plane(state: Path) -> None:
    """etcd and kube-apiserver alone, on free loopback ports."""
    install_packages(versions.CONTROL_PLANE_PACKAGES)
    build(versions.CONTROL_PLANE)
    layout = layout_of(state, control_plane_only=True)
    control_plane(layout, Processes(layout.state))
    print(layout.kubeconfig("admin"))


def up(state: Path, cpus: int, gpus: int, labels: list[str]) -> None:
    """The whole node."""
    started = time.monotonic()
    install_packages(versions.RUN_PACKAGES)
    build()
    layout = layout_of(state, control_plane_only=False)
    processes = Processes(layout.state)
    traces.remember(layout.state)
    network.make_bridge(components.GATEWAY, components.SERVICE_CIDR)
    control_plane(layout, processes)
    capacity.advertise(layout, cpus, gpus)
    for name in _write_configs(layout):
        processes.stop(name)
    environment = {**os.environ, "PATH": f"{layout.binaries}:{os.environ['PATH']}"}
    processes.start("kube-controller-manager", components.controller_manager(layout))
    processes.start("kube-scheduler", components.scheduler(layout))
    processes.start("containerd", components.containerd(layout), environment)
    wait_for("containerd answers", lambda: succeeds(ctr(layout, "version")), 30, lambda: processes.tail("containerd"))
    import_pause(layout)
    processes.start("kubelet", components.kubelet(layout), environment)
    processes.start("kube-proxy", components.proxy(layout))
    # The condition of a node that was up before is still True, so the kubelet is asked as well.
    healthy = partial(answers, f"http://127.0.0.1:{components.KUBELET_HEALTH_PORT}/healthz")
    wait_for("kubelet answers", healthy, 60, lambda: processes.tail("kubelet"))
    wait_for("node is ready", lambda: node_ready(layout), 60, lambda: processes.tail("kubelet"))
    _start_dns(layout, processes)
    subprocess.run(kubectl(layout, "label", "node", NODE, "--overwrite", *labels), check=True, capture_output=True)
    capacity.wait_until_allocatable(layout, cpus, gpus)
    print(f"up in {time.monotonic() - started:.1f} s; export KUBECONFIG={layout.kubeconfig('admin')}")


def _write_configs(layout: Layout) -> set[str]:
    """Write what differs; the daemons that run with another configuration than the one that is there now."""
    (layout.state / "cni").mkdir(exist_ok=True)
    files = {
        "cni/10-llmtrain.conflist": ("containerd", components.cni_config(layout)),
        "containerd.toml": ("containerd", components.containerd_config(layout)),
        "kubelet.json": ("kubelet", components.kubelet_config(layout)),
        "resolv.conf": ("kubelet", f"nameserver {components.DNS_SERVICE}\n"),
        # kube-proxy ends itself when its file is touched, even with the same text.
        "proxy.json": ("kube-proxy", components.proxy_config(layout)),
        "Corefile": ("coredns", components.corefile(layout)),
    }
    changed = set()
    for name, (daemon, text) in files.items():
        file = layout.state / name
        if not file.exists() or file.read_text() != text:
            file.write_text(text)
            changed.add(daemon)
    return changed


def import_pause(layout: Layout) -> None:
    """The sandbox image, made here: one static program."""
    if components.PAUSE_IMAGE in output(ctr(layout, "images", "ls", "-q")).split():
        return
    with tempfile.TemporaryDirectory() as folder:
        archive = network.single_file_image(Path(folder), Path(layout.program("pause")), components.PAUSE_IMAGE)
        subprocess.run(ctr(layout, "images", "import", str(archive)), check=True, capture_output=True)


def _start_dns(layout: Layout, processes: Processes) -> None:
    apply(layout, *components.dns_objects())
    processes.start("coredns", components.coredns(layout))
    resolves = partial(network.resolves, components.DNS_SERVICE, "kubernetes.default.svc.cluster.local")
    wait_for("CoreDNS answers on the Service's address", resolves, 30, partial(processes.tail, "coredns"))
