"""Stop what `up` started and take away every trace of it."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from components import Layout
from network import BRIDGE, SHARED_FOLDERS, bridge_exists
from processes import Processes
from up import ctr, layout_of

ORDER = ("kubelet", "kube-proxy", "coredns", "kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd")


def down(state: Path) -> None:
    """The kubelet first, so that nothing is started again; containerd last, to remove its containers."""
    if not (state / "layout.json").exists():
        print("nothing is up")
        return
    layout = layout_of(state, control_plane_only=False)
    processes = Processes(layout.state)
    for name in ORDER:
        processes.stop(name)
    if (state / "before.json").exists():
        _remove_containers(layout, processes)
        _kill_leftovers(layout)
        _unmount(layout)
        _remove_network(json.loads((state / "before.json").read_text()))
        _remove_cgroups()
    shutil.rmtree(state)
    print("down")


def _lines(command: list[str]) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.split() if done.returncode == 0 else []


def _remove_containers(layout: Layout, processes: Processes) -> None:
    if processes.alive("containerd"):
        for task in _lines(ctr(layout, "tasks", "ls", "-q")):
            subprocess.run(ctr(layout, "tasks", "rm", "-f", task), capture_output=True, check=False)
        for container in _lines(ctr(layout, "containers", "ls", "-q")):
            subprocess.run(ctr(layout, "containers", "rm", container), capture_output=True, check=False)
    processes.stop("containerd")


def _kill_leftovers(layout: Layout) -> None:
    """Shims, and containers of killed shims: found by the absolute path of our state in their command line."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if "containerd-shim" in command and str(layout.containerd_socket) in command:
            os.kill(int(folder.name), signal.SIGKILL)
    time.sleep(0.2)


def _unmount(layout: Layout) -> None:
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(str(layout.state))), key=len, reverse=True):
        subprocess.run(["umount", "-l", mount], capture_output=True, check=False)


def _remove_network(before: dict[str, object]) -> None:
    for name in Path("/run/netns").glob("cni-*"):
        subprocess.run(["ip", "netns", "delete", name.name], capture_output=True, check=False)
    if bridge_exists() and not before["bridge"]:
        subprocess.run(["ip", "link", "delete", BRIDGE], capture_output=True, check=False)
    for family in ("ip", "ip6"):
        subprocess.run(["nft", "delete", "table", family, "kube-proxy"], capture_output=True, check=False)
    _remove_iptables()
    Path("/proc/sys/net/ipv4/ip_forward").write_text(str(before["ip_forward"]))
    kept = before["folders"]
    for folder in SHARED_FOLDERS:
        if isinstance(kept, list) and folder not in kept:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_iptables() -> None:
    """Chains of the kubelet and of portmap, and the rules that jump to them."""
    for table in ("nat", "filter", "mangle"):
        saved = subprocess.run(["iptables-save", "-t", table], capture_output=True, text=True, check=False).stdout
        rules = [line for line in saved.splitlines() if line.startswith("-A") and ("KUBE-" in line or "CNI-" in line)]
        for rule in rules:
            subprocess.run(["iptables", "-t", table, "-D", *rule.split()[1:]], capture_output=True, check=False)
        for line in saved.splitlines():
            if line.startswith((":KUBE-", ":CNI-")):
                subprocess.run(["iptables", "-t", table, "-X", line[1:].split()[0]], capture_output=True, check=False)


def _remove_cgroups() -> None:
    for root in Path("/sys/fs/cgroup").glob("**/kubepods"):
        for folder in sorted([*root.glob("**/"), root], key=lambda path: len(str(path)), reverse=True):
            if folder.exists():
                subprocess.run(["rmdir", str(folder)], capture_output=True, check=False)
