"""`python3 hack/cluster COMMAND`: a real one-node Kubernetes on a bare machine, for the demo and the tests."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import versions
from build import build, source
from down import down
from kube import ctr
from processes import exclusive
from status import status
from up import layout_of, up, up_control_plane

NOTHING_UP = "nothing is up; start it with: python3 hack/cluster up"
ALONE = (["control-plane"], ["etcd", "kube-apiserver"])


def main() -> None:
    """Parse and dispatch."""
    arguments = _parser().parse_args()
    state = arguments.state.absolute()
    match arguments.command:
        case "build":
            build(_names(arguments.only))
        case "source":
            print(source(arguments.program))
        case "up":
            with exclusive(state):
                _up(state, arguments)
        case "down" if (state / "layout.json").exists():
            with exclusive(state):
                down(state)
        case "down":
            print("nothing is up")
        case "env":
            print(f'export BIN="{versions.binaries()}"\nexport PATH="{versions.binaries()}:$PATH"')
            print(f"export KUBECONFIG={state / 'admin.kubeconfig'}")
        case _ if not (state / "layout.json").exists():
            sys.exit(NOTHING_UP)
        case "load-image":
            for archive in arguments.archives:
                _ctr(state, ["images", "import", "--local", archive])
        case "ctr":
            _ctr(state, arguments.arguments)
        case "kubeconfig":
            print(layout_of(state, control_plane_only=False).kubeconfig("admin"))
        case "status":
            sys.exit(0 if status(state) else 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hack/cluster", description=__doc__)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--state", type=Path, default=versions.state_folder(), help="folder of the cluster's state")
    commands = parser.add_subparsers(dest="command", required=True)
    building = commands.add_parser("build", parents=[shared], help="build the programs that are missing")
    building.add_argument("--only", default="", help="names of programs, with commas between")
    reading = commands.add_parser("source", parents=[shared], help="print where a bench program's source is")
    reading.add_argument("program", choices=sorted(versions.BENCH_PROGRAMS))
    upping = commands.add_parser("up", parents=[shared], help="start what does not run")
    upping.add_argument("--only", default="", help="control-plane: etcd and kube-apiserver alone, without root")
    upping.add_argument("--gpus", type=int, default=8, help="nvidia.com/gpu that the node advertises")
    upping.add_argument("--cpus", type=int, default=max(8, os.cpu_count() or 1), help="CPUs that the node advertises")
    upping.add_argument("--node-label", action="append", help="label of the node (default: accelerator=h100)")
    loading = commands.add_parser("load-image", parents=[shared], help="import image archives; - is standard input")
    loading.add_argument("archives", nargs="+")
    passing = commands.add_parser("ctr", parents=[shared], help="run containerd's own client")
    passing.add_argument("arguments", nargs=argparse.REMAINDER)
    for name, text in (
        ("down", "stop everything and take away every trace"),
        ("kubeconfig", "print the path of the administrator's kubeconfig"),
        ("status", "say what runs and what is missing"),
        ("env", "print what a shell should export"),
    ):
        commands.add_parser(name, parents=[shared], help=text)
    return parser


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _up(state: Path, arguments: argparse.Namespace) -> None:
    only = _names(arguments.only)
    if only in ALONE:
        up_control_plane(state)
    elif only:
        sys.exit("`up --only` takes `control-plane` or `etcd,kube-apiserver`")
    elif os.geteuid() != 0:
        sys.exit("`up` needs root: it makes a bridge, mounts and cgroups. `up --only control-plane` does not.")
    else:
        up(state, arguments.cpus, arguments.gpus, arguments.node_label or ["accelerator=h100"])


def _ctr(state: Path, arguments: list[str]) -> None:
    done = subprocess.run(ctr(layout_of(state, control_plane_only=False), *arguments), check=False)
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
