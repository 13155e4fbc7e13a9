"""Ray's dashboard and job API, which our heads start without: where somebody has them, they ask for the token.

Ray with its dashboard is installed in an environment of its own, of the version that the product has. A head is started
as the entrypoint starts it but for the dashboard, with the environment that the operator gives its pod, on an address
that is not loopback; whoever asks is another process.
"""

import secrets
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.rayhead import answers, free_port, head_command, own_address, running_head

OFF = "--include-dashboard=false"
PAGES = ("/api/version", "/api/jobs/", "/nodes?view=summary", "/api/cluster_status", "/logs")
SUBMISSION = b'{"entrypoint": "true"}'


@dataclass(frozen=True)
class Dashboard:
    url: str
    token: str


@pytest.fixture(scope="module")
def ray(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Ray's command, with the dashboard's packages."""
    home = tmp_path_factory.mktemp("ray")
    subprocess.run([sys.executable, "-m", "venv", home], check=True)
    subprocess.run([home / "bin/pip", "install", "-q", f"ray[default]=={version('ray')}"], check=True)
    return str(home / "bin/ray")


@pytest.fixture(scope="module")
def dashboard(ray: str) -> Iterator[Dashboard]:
    address, port, page, token = own_address(), free_port(), free_port(), secrets.token_hex(32)
    with tempfile.TemporaryDirectory(prefix="rd") as name:
        folder = Path(name)
        ours = head_command(address, port, folder)
        assert OFF in ours
        command = [ray, *(word for word in ours[1:] if word != OFF),
                   "--include-dashboard=true", f"--dashboard-host={address}", f"--dashboard-port={page}"]  # fmt: skip
        with running_head(command, address, token, folder):
            end = time.monotonic() + 120
            while not answers(address, page) and time.monotonic() < end:
                time.sleep(0.2)
            assert answers(address, page), (folder / "log").read_text()[-2000:]
            yield Dashboard(f"http://{address}:{page}", token)


def code(url: str, token: str = "", body: bytes | None = None) -> int:
    """The HTTP status that whoever has this token is given."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.timeout(900)
def test_the_dashboard_and_the_job_api_refuse_with_401_without_the_token(dashboard: Dashboard) -> None:
    assert {page: code(dashboard.url + page) for page in PAGES} == dict.fromkeys(PAGES, 401)
    assert code(f"{dashboard.url}/api/jobs/", body=SUBMISSION) == 401


@pytest.mark.timeout(900)
def test_another_token_is_refused_and_the_right_one_is_not(dashboard: Dashboard) -> None:
    another = "0" * len(dashboard.token)
    assert {page: code(dashboard.url + page, another) for page in PAGES} == dict.fromkeys(PAGES, 403)
    assert code(f"{dashboard.url}/api/jobs/", another, SUBMISSION) == 403
    assert [code(dashboard.url + page, dashboard.token) for page in PAGES[:3]] == [200, 200, 200]
    assert code(f"{dashboard.url}/api/jobs/", dashboard.token, SUBMISSION) == 200
