"""Ray runs code for whoever reaches it: from elsewhere nothing of a head is to be had without its token.

A real head, started as the entrypoint starts it with the environment that the operator gives its pod, on an address of
this machine that is not loopback; whoever asks is another process with an environment of its own.
"""

import http.client
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.rayhead import answers, free_port, head_command, listening, own_address, running_head, without_ray

DASHBOARD_PORTS = (8265, 52365)
"""The dashboard with the job API, and the agent that every node has of it."""
NUMBERS = ("# HELP", "# TYPE")
"""Ray's exporter of metrics answers every path with the same numbers; the NetworkPolicy keeps others away from it."""
ASK = "import sys; from ray._raylet import GcsClient; print(len(GcsClient(address=sys.argv[1]).get_all_node_info(timeout=20)))"


@dataclass(frozen=True)
class Head:
    address: str
    port: int
    token: str
    first: tuple[int, str]
    """What it answered to whoever has the token: exit code and words."""
    ports: frozenset[int]
    """Where it and its children listen."""


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    address, port, token = own_address(), free_port(), secrets.token_hex(32)
    with tempfile.TemporaryDirectory(prefix="ra") as name:
        folder = Path(name)
        with running_head(head_command(address, port, folder), address, token, folder) as process:
            first = until_the_node_is_there(address, port, token)
            assert first[1].endswith("1"), first[1] + (folder / "log").read_text()[-2000:]
            yield Head(address, port, token, first, listening(process.pid))


def until_the_node_is_there(address: str, port: int, token: str) -> tuple[int, str]:
    """Ask until the head knows of itself, two minutes at most; the last answer."""
    end, code, words = time.monotonic() + 120, 1, ""
    # Whoever asks is a process that costs a second to start, so not before anybody listens.
    while not answers(address, port) and time.monotonic() < end:
        time.sleep(0.2)
    while not words.endswith("1") and time.monotonic() < end:
        code, words = ask(f"{address}:{port}", RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token)
        words = words.strip()
    return code, words


def ask(address: str, **environment: str) -> tuple[int, str]:
    """How many nodes the head's control store knows, as another process asks: exit code and words."""
    command = [sys.executable, "-c", ASK, address]
    done = subprocess.run(
        command, env=without_ray(**environment), capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_with_the_token_the_control_store_answers(head: Head) -> None:
    code, words = head.first
    assert (code, words.splitlines()[-1]) == (0, "1")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "environment",
    [{"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}],
    ids=["no token", "another token"],
)
def test_without_it_the_control_store_refuses(head: Head, environment: dict[str, str]) -> None:
    code, words = ask(f"{head.address}:{head.port}", **environment)
    assert code != 0
    assert "uthenticat" in words or "UNAUTHENTICATED" in words, words[-1500:]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_neither_dashboard_nor_job_api_is_there_and_no_port_speaks_http_without_the_token(head: Head) -> None:
    assert head.port in head.ports
    assert not head.ports & set(DASHBOARD_PORTS)
    pages = ("/api/jobs/", "/api/job_agent/jobs/", "/api/version", "/logs", "/nodes")
    urls = [f"http://{head.address}:{port}{page}" for port in head.ports for page in pages]
    assert [url for url in urls if (words := answer(url)) and not words.startswith(NUMBERS)] == []


def answer(url: str) -> str:
    """What an HTTP server says for good; nothing where it refuses, or something else listens."""
    try:
        with urllib.request.urlopen(url, timeout=10) as page:
            return str(page.read().decode(errors="replace")) or "nothing"
    except urllib.error.HTTPError as error:
        error.close()
    except (OSError, http.client.HTTPException):
        pass
    return ""
