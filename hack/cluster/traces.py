"""What the cluster leaves on the machine outside its own folder: written down before `up`, taken away by `down`."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from network import BRIDGE

FOLDERS = (
    "/var/lib/cni",
    "/etc/cni",
    "/run/containerd",
    "/run/nri",
    "/opt/containerd",
    "/opt/cni",
    "/var/lib/kubelet",
    "/usr/libexec/kubernetes",
    "/var/log/containers",
    "/var/log/pods",
    "/run/kubernetes",
)
SYSCTLS = (
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/route_localnet",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
"""What kubelet and kube-proxy set to values of their own."""

PROXY_TABLES = ("ip kube-proxy", "ip6 kube-proxy")
CHAINS = ("KUBE-", "CNI-", "CNI_")


def remember(state: Path) -> None:
    """Write down what is there, once: after a crash the machine carries the first cluster's traces."""
    file = state / "before.json"
    if not file.exists():
        file.write_text(json.dumps({"sysctls": _sysctls(), "kept": sorted(_present())}, indent=2))


def forget(state: Path) -> None:
    """Take away everything that was not there before."""
    before = json.loads((state / "before.json").read_text())
    ours = _present() - set(before["kept"])
    for trace in sorted(ours):
        kind, _, name = trace.partition(":")
        _REMOVERS[kind](name)
    for name, value in before["sysctls"].items():
        with contextlib.suppress(OSError):
            (Path("/proc/sys") / name).write_text(value)
    if left := _present() & ours:
        sys.exit(f"these are still there: {', '.join(sorted(left))}")


def _present() -> set[str]:
    """Every trace on the machine now, as `kind:name`."""
    found = {f"folder:{folder}" for folder in FOLDERS if Path(folder).exists()}
    found |= {f"cgroup:{path}" for path in _cgroups()}
    found |= {f"netns:{path.name}" for path in Path("/run/netns").glob("cni-*")}
    found |= {f"link:{BRIDGE}"} if Path(f"/sys/class/net/{BRIDGE}").exists() else set()
    tables = {line.removeprefix("table ") for line in _output(["nft", "list", "tables"]).splitlines()}
    found |= {f"nft:{table}" for table in tables if table in PROXY_TABLES}
    for family, program in (("ip", "iptables"), ("ip6", "ip6tables")):
        for name in ("filter", "mangle", "nat"):
            found |= {f"{program}:{name}"} if _chains(program, name) else set()
            found |= {f"nft:{family} {name}"} if f"{family} {name}" in tables and _empty(program, name) else set()
    return found


def _sysctls() -> dict[str, str]:
    files = {name: Path("/proc/sys") / name for name in SYSCTLS}
    return {name: file.read_text().strip() for name, file in files.items() if file.exists()}


def _cgroups() -> list[Path]:
    """`kubepods` of cgroup v2, or of every hierarchy of v1."""
    root = Path("/sys/fs/cgroup")
    return [path for path in (root / "kubepods", *root.glob("*/kubepods")) if path.is_dir()]


def _remove_cgroup(name: str) -> None:
    """Containers whose shim was killed live on in it, and a group with processes cannot be removed."""
    folders = sorted([*Path(name).glob("**/"), Path(name)], key=lambda path: len(path.parts), reverse=True)
    end = time.monotonic() + 10
    while Path(name).exists() and time.monotonic() < end:
        for folder in folders:
            with contextlib.suppress(OSError):
                for pid in (folder / "cgroup.procs").read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
            with contextlib.suppress(OSError):
                folder.rmdir()
        time.sleep(0.05)


def _remove_folder(name: str) -> None:
    shutil.rmtree(name, ignore_errors=True)


def _remove_netns(name: str) -> None:
    _output(["ip", "netns", "delete", name])
    with contextlib.suppress(OSError):
        Path("/run/netns").rmdir()


def _remove_link(name: str) -> None:
    _output(["ip", "link", "delete", name])


def _remove_nft(name: str) -> None:
    _output(["nft", "delete", "table", *name.split()])


def _remove_iptables(table: str) -> None:
    _remove_chains("iptables", table)


def _remove_ip6tables(table: str) -> None:
    _remove_chains("ip6tables", table)


def _remove_chains(program: str, table: str) -> None:
    """Rules that name the chains first: a chain that is referred to cannot be removed."""
    for rule in _output([f"{program}-save", "-t", table]).splitlines():
        if rule.startswith("-A ") and any(chain in rule for chain in CHAINS):
            _output(["sh", "-c", f"{program} -t {table} -D {rule.removeprefix('-A ')}"])
    for chain in _chains(program, table):
        _output([program, "-t", table, "-X", chain])


def _chains(program: str, table: str) -> list[str]:
    saved = _output([f"{program}-save", "-t", table]).splitlines()
    return [line[1:].split()[0] for line in saved if line.startswith(tuple(f":{chain}" for chain in CHAINS))]


def _empty(program: str, table: str) -> bool:
    """Whether a table that iptables made on demand says nothing, apart from chains of the cluster."""
    lines = _output([f"{program}-save", "-t", table]).splitlines()
    ours = tuple(f"{start}{chain}" for start in (":", "-A ") for chain in CHAINS)
    said = [line for line in lines if line.startswith((":", "-A ")) and not line.startswith(ours)]
    return not [line for line in said if " ACCEPT " not in line and not any(f"-j {chain}" in line for chain in CHAINS)]


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout


_REMOVERS = {
    "cgroup": _remove_cgroup,
    "folder": _remove_folder,
    "ip6tables": _remove_ip6tables,
    "iptables": _remove_iptables,
    "link": _remove_link,
    "netns": _remove_netns,
    "nft": _remove_nft,
}
