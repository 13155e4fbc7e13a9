"""A real head of Ray on an address of this machine that others may reach, and who asks it from another process."""

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest
from llmtrain_jobs.entrypoint.main import ray_command


def own_address() -> str:
    """An address of this machine that is not loopback; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("198.51.100.1", 9))
        address = str(probe.getsockname()[0])
    assert not address.startswith("127."), "this machine has no address but loopback"
    return address


def free_port() -> int:
    """A port that nobody has on any address."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def without_ray(**more: str) -> dict[str, str]:
    """This process's environment without what it says to Ray."""
    return {key: value for key, value in os.environ.items() if not key.startswith("RAY_")} | more


def head_command(address: str, port: int, folder: Path) -> list[str]:
    """What the entrypoint runs in a head pod with this address."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("LLMTRAIN_POD_IP", address)
        return ray_command(["--head", f"--port={port}", "--num-cpus=0", "--num-gpus=0", f"--temp-dir={folder}/r"])


@contextlib.contextmanager
def running_head(command: Sequence[str], address: str, token: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run it with what the operator gives its pod. What it says is in `log` of the folder."""
    (folder / "token").write_text(token)
    environment = without_ray(
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN_PATH=f"{folder}/token",
        RAY_USAGE_STATS_ENABLED="0",
        LLMTRAIN_POD_IP=address,
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        for member in family_of(process.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        process.wait(20)


def family_of(pid: int) -> list[psutil.Process]:
    """A process and all its children."""
    return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]


def listening(pid: int) -> frozenset[int]:
    """Ports of a process and its children that answer at more than loopback."""
    found = [c for one in family_of(pid) for c in one.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    return frozenset(c.laddr.port for c in found if not c.laddr.ip.startswith("127."))


def answers(address: str, port: int) -> bool:
    """Whether anybody listens."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0
