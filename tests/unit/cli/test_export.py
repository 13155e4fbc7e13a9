"""`llmtrain export` hands the job to the exporter of the jobs' code, and says what stands in its way."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llmtrain.cli import export
from tests.unit.cli.test_jobs import run
from tests.unit.report.job import finished


class Exporter:
    """Takes the place of the child process."""

    def __init__(self, code: int = 0) -> None:
        self.code, self.command, self.job = code, [""], dict[str, Any]()

    def __call__(self, command: list[str], check: bool) -> subprocess.CompletedProcess[bytes]:
        self.command = command
        self.job = json.loads(Path(command[command.index("--job") + 1]).read_text())
        return subprocess.CompletedProcess(command, self.code)


def run_with(exporter: Exporter, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "run", exporter)
        return run("export", *arguments)


def test_a_job_of_a_file_is_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "job.json").write_text(json.dumps(finished()))
    exporter = Exporter()
    done = run_with(exporter, monkeypatch, "--job", str(tmp_path / "job.json"), "-o", "out", "--storage", "/data",
                    "--number-format", "Bf16")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert exporter.command[:3] == [sys.executable, "-m", "llmtrain_jobs.model.export"]
    assert exporter.command[5:] == ["--out", "out", "--mount", "/data", "--number-format", "Bf16"]
    assert exporter.job["metadata"]["name"] == "docs-gpt"


def test_a_job_of_the_cluster_is_read_through_kubectl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "kubectl_json", lambda *arguments: finished() | {"asked": list(arguments)})
    exporter = Exporter()
    assert run_with(exporter, monkeypatch, "docs-gpt", "-n", "team-a", "-o", "out").exit_code == 0
    assert exporter.job["asked"] == ["get", "llmjob", "docs-gpt", "-n", "team-a"]


def test_the_exporters_exit_code_is_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "job.json").write_text(json.dumps(finished()))
    done = run_with(Exporter(64), monkeypatch, "--job", str(tmp_path / "job.json"), "-o", "out")
    assert done.exit_code == 64


@pytest.mark.parametrize("arguments", [[], ["docs-gpt", "--job", "job.json"]])
def test_one_job_is_named(arguments: list[str]) -> None:
    done = run("export", *arguments, "-o", "out")
    assert done.exit_code == 64
    assert "name a job of the cluster, or give `--job` a file" in done.stderr


def test_without_pytorch_it_says_where_to_run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "job.json").write_text(json.dumps(finished()))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    done = run("export", "--job", str(tmp_path / "job.json"), "-o", "out")
    assert done.exit_code == 64
    assert "install `llmtrain[jobs]`" in done.stderr
