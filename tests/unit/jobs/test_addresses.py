"""Pods of either family: whom Ray is told to join, what the pods trust, and that no redirect carries a key away."""

import os
import socket
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from llmtrain_jobs.entrypoint import main as entrypoint
from llmtrain_jobs.entrypoint.scratch import Scratch
from llmtrain_jobs.errors import StageError
from llmtrain_jobs.evaluation.endpoints.client import Client, first_choice

from llmtrain.api.endpoint import Endpoint
from llmtrain.api.stageconfig import RAY_PORT, StageConfig
from llmtrain.network import resolved, serve
from llmtrain.trust import VARIABLES, authorities, trust
from tests.unit.operator.scenario import job_spec

V4, V6 = "10.1.0.1", "fd00:1::1"


def both(name: str, port: int, family: int = 0, kind: int = 0, *_: Any) -> list[Any]:
    """A cluster's DNS for a head of both families: the address of IPv6 comes first."""
    known = [(socket.AF_INET6, V6), (socket.AF_INET, V4)]
    found = [(one, kind, 6, "", (address, port)) for one, address in known if family in (0, one)]
    assert name == "gpt-trn-1-head"
    return found


@pytest.mark.parametrize(("own", "joined"), [("10.1.0.7", f"{V4}:6379"), ("fd00:1::7", f"[{V6}]:6379")])
def test_a_worker_joins_the_head_in_its_own_family(
    own: str, joined: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray 2.60 takes the first address of a name, and a worker of the other family hangs at its start."""
    config = StageConfig.model_validate({
        "job": "gpt", "namespace": "a", "jobUid": "u", "stage": "Training", "attempt": 1, "workers": 1,
        "headAddress": "gpt-trn-1-head", "spec": job_spec(),
    })  # fmt: skip
    started: list[list[str]] = []
    monkeypatch.setenv("LLMTRAIN_POD_IP", own)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(socket, "getaddrinfo", both)
    monkeypatch.setattr(entrypoint, "answers", lambda _: True)
    worker = entrypoint.Entrypoint(config, Scratch(tmp_path))

    def start(name: str, command: list[str]) -> None:
        started.append(command)
        worker.children.codes[name] = 1

    monkeypatch.setattr(worker.children, "start", start)
    worker.worker()
    (command,) = started
    assert f"--address={joined}" in command
    assert f"--node-ip-address={own}" in command


def test_a_name_without_an_address_of_the_family_stays_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any) -> list[Any]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", none)
    assert resolved("gpt-trn-1-head", RAY_PORT, "10.1.0.7") == "gpt-trn-1-head"


def test_the_bundle_is_trusted_beside_what_was_trusted_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system, bundle = tmp_path / "system.crt", tmp_path / "ca.crt"
    system.write_text("PUBLIC")
    bundle.write_text("PRIVATE")
    for name in VARIABLES:
        monkeypatch.setenv(name, str(system))
    trust(tmp_path / "none.crt", tmp_path / "scratch")
    assert authorities() == str(system), "no bundle, no change"
    trust(bundle, tmp_path / "scratch")
    files = {os.environ[name] for name in VARIABLES}
    assert files == {authorities()}
    assert Path(files.pop()).read_text().split() == ["PUBLIC", "PRIVATE"]


def test_a_key_goes_to_the_host_of_the_manifest_alone() -> None:
    seen: list[tuple[str, str]] = []

    class Points(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            seen.append((self.path, self.headers.get("Authorization", "")))
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    server = serve(0, Points)
    endpoint = Endpoint.model_validate({"baseUrl": f"http://127.0.0.1:{server.server_port}/v1", "model": "m"})
    with pytest.raises(StageError, match="302"):
        Client(endpoint, "secret", "spec.evaluation.judge").post("completions", {}, first_choice)
    server.shutdown()
    server.server_close()
    assert seen == []
