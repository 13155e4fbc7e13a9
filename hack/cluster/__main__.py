"""`python3 hack/cluster COMMAND`: a real one-node Kubernetes on a bare machine, for the demo and the tests."""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import versions
from build import build
from components import NODE
from down import down
from processes import Processes
from up import ctr, kubectl, layout_of, node_ready, up, up_control_plane


def main() -> None:
    """Parse and dispatch."""
    parser = argparse.ArgumentParser(prog="hack/cluster", description=__doc__)
    parser.add_argument("command", choices=["build", "up", "down", "load-image", "kubeconfig", "status", "env"])
    parser.add_argument("archives", nargs="*", help="load-image: archives")
    parser.add_argument("--only", default="", help="build: programs; up: control-plane")
    parser.add_argument("--state", type=Path, default=versions.state_folder(), help="folder of the cluster's state")
    parser.add_argument("--gpus", type=int, default=8, help="nvidia.com/gpu that the node advertises")
    parser.add_argument("--node-label", action="append", default=["accelerator=h100"], help="label of the node")
    arguments = parser.parse_args()
    state = arguments.state.absolute()
    match arguments.command:
        case "build":
            build([name for name in arguments.only.split(",") if name])
        case "up" if arguments.only == "control-plane":
            up_control_plane(state)
        case "up":
            _require_root()
            up(state, arguments.gpus, arguments.node_label)
        case "down":
            down(state)
        case "load-image":
            load(state, arguments.archives)
        case "kubeconfig":
            print(layout_of(state, control_plane_only=False).kubeconfig("admin"))
        case "status":
            status(state)
        case "env":
            print(f'export PATH="{versions.binaries()}:$PATH"')
            print(f"export KUBECONFIG={state / 'admin.kubeconfig'}")


def _require_root() -> None:
    if os.geteuid() != 0:
        sys.exit("`up` needs root: it makes a bridge, mounts and cgroups. `up --only control-plane` does not.")


def load(state: Path, archives: list[str]) -> None:
    """Import image archives into containerd."""
    layout = layout_of(state, control_plane_only=False)
    for archive in archives:
        subprocess.run(ctr(layout, "images", "import", "--local", archive), check=True)


def status(state: Path) -> None:
    """Every component, the node, and what the machine lacks."""
    for program in ("openssl", "ip", "nft", "iptables", "go"):
        if shutil.which(program) is None:
            print(f"missing on this machine: {program}")
    if not (state / "layout.json").exists():
        sys.exit("nothing is up; start it with: python3 hack/cluster up")
    layout = layout_of(state, control_plane_only=False)
    processes = Processes(layout.state)
    for name in processes.names():
        print(f"{name:24} {processes.pid(name) or 'dead'}")
    print(f"node {NODE}: {'ready' if node_ready(layout) else 'not ready'}")
    path = r"jsonpath={.status.allocatable.nvidia\.com/gpu}"
    done = subprocess.run(kubectl(layout, "get", "node", NODE, "-o", path), capture_output=True, text=True, check=False)
    print(f"nvidia.com/gpu allocatable: {done.stdout or 'unknown'}")


if __name__ == "__main__":
    main()
