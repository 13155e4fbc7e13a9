"""Says what runs, what does not, and what the machine lacks."""

import shutil
from collections.abc import Callable
from pathlib import Path

import components
import network
from components import NODE, Layout
from kube import ctr, kubectl, node_ready, output
from processes import Processes, answers, succeeds
from up import layout_of

CONTROL_PLANE = ("etcd", "kube-apiserver")
MACHINE = {"openssl": "openssl", "ip": "iproute2", "nft": "nftables", "iptables": "iptables"}


def status(state: Path) -> bool:
    """Print it; whether all is well."""
    layout = layout_of(state, control_plane_only=False)
    processes = Processes(layout.state)
    whole = layout.advertise == components.GATEWAY
    wells = [_say_component(processes, name, check) for name, check in _checks(layout, whole).items()]
    for program, package in MACHINE.items():
        if shutil.which(program) is None:
            print(f"missing on this machine: {program} (Debian package {package})")
            wells.append(False)
    return all(wells) and (not whole or _say_node(layout))


def _checks(layout: Layout, whole: bool) -> dict[str, Callable[[], bool]]:
    def well(port: int) -> Callable[[], bool]:
        return lambda: answers(f"http://127.0.0.1:{port}/healthz")

    checks: dict[str, Callable[[], bool]] = {
        "etcd": lambda: answers(f"http://127.0.0.1:{layout.etcd_port}/health"),
        "kube-apiserver": lambda: succeeds(kubectl(layout, "get", "--raw", "/readyz")),
    }
    if whole:
        checks |= {
            # These two serve their health behind TLS of their own; that they run is all that is asked.
            "kube-controller-manager": lambda: True,
            "kube-scheduler": lambda: True,
            "containerd": lambda: succeeds(ctr(layout, "version")),
            "kubelet": well(components.KUBELET_HEALTH_PORT),
            "kube-proxy": well(components.PROXY_HEALTH_PORT),
            "coredns": lambda: network.resolves(components.DNS_SERVICE, "kubernetes.default.svc.cluster.local"),
        }
    return checks


def _say_component(processes: Processes, name: str, check: Callable[[], bool]) -> bool:
    pid = processes.pid(name)
    healthy = pid is not None and check()
    print(f"{name:24} {'dead' if pid is None else f'pid {pid}':12} {'healthy' if healthy else 'NOT HEALTHY'}")
    return healthy


def _say_node(layout: Layout) -> bool:
    ready = node_ready(layout)
    path = r"jsonpath={.status.allocatable.cpu} CPUs, {.status.allocatable.nvidia\.com/gpu} nvidia.com/gpu"
    print(f"node {NODE:19} {'Ready' if ready else 'NOT READY'}")
    print(f"allocatable              {output(kubectl(layout, 'get', 'node', NODE, '-o', path)) or 'unknown'}")
    return ready
