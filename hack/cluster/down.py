"""Stop what `up` started and take away every trace of it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import traces
from components import Layout
from kube import ctr, output
from processes import Processes
from up import layout_of

ORDER = ("kubelet", "kube-proxy", "coredns", "kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd")


def down(state: Path) -> None:
    """The kubelet first, so that nothing is started again; containerd last, to remove its containers."""
    started = time.monotonic()
    layout = layout_of(state, control_plane_only=False)
    processes = Processes(layout.state)
    for name in ORDER:
        processes.stop(name)
    if (state / "before.json").exists():
        _remove_containers(layout, processes)
        _kill_shims(layout)
        _unmount(layout)
        traces.forget(state)
    shutil.rmtree(state)
    print(f"down in {time.monotonic() - started:.1f} s")


def _remove_containers(layout: Layout, processes: Processes) -> None:
    if processes.alive("containerd"):
        for task in output(ctr(layout, "tasks", "ls", "-q")).split():
            output(ctr(layout, "tasks", "rm", "-f", task))
        for container in output(ctr(layout, "containers", "ls", "-q")).split():
            output(ctr(layout, "containers", "rm", container))
    processes.stop("containerd")


def _kill_shims(layout: Layout) -> None:
    """Shims that outlived their containerd: found by the absolute path of our socket in their command line."""
    end = time.monotonic() + 10
    while shims := [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _is_shim(pid, layout)]:
        if time.monotonic() > end:
            sys.exit(f"these shims did not end within 10 s of being killed: {shims}")
        for pid in shims:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)


def _is_shim(pid: int, layout: Layout) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return False
    return "containerd-shim" in command[0] and str(layout.containerd_socket) in command


def _mounts(layout: Layout) -> list[str]:
    mounts = (line.split()[1] for line in Path("/proc/mounts").read_text().splitlines())
    return [mount for mount in mounts if mount.startswith(f"{layout.state}/")]


def _unmount(layout: Layout) -> None:
    """Deepest first. A mount that stays ends the program: the folder is removed next, and what is mounted with it."""
    for mount in sorted(_mounts(layout), key=len, reverse=True):
        if subprocess.run(["umount", mount], capture_output=True, check=False).returncode:
            subprocess.run(["umount", "-l", mount], capture_output=True, check=False)
    if left := _mounts(layout):
        sys.exit(f"these are still mounted: {', '.join(left)}")
