"""Completion of `kubectl llmtrain`: what is typed is answered in Cobra's form. tests/api asks a real kubectl."""

import json
import os
from pathlib import Path

import pytest

from llmtrain.cli import completion
from tests.unit.report.job import finished


@pytest.fixture(autouse=True)
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kubectl that knows one job, and one more in the namespace `other`."""
    here, other = {"items": [finished()]}, {"items": [{"metadata": {"name": "other-job"}}]}
    (tmp_path / "here").write_text(json.dumps(here))
    (tmp_path / "other").write_text(json.dumps(other))
    script = f'#!/bin/sh\ncase "$*" in *"-n other"*) cat {tmp_path}/other;; *llmjob*) cat {tmp_path}/here;; *) exit 1;; esac\n'
    (tmp_path / "kubectl").write_text(script)
    (tmp_path / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def completed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> list[str]:
    with monkeypatch.context() as patched:
        patched.setattr("sys.argv", ["kubectl_complete-llmtrain", *words])
        patched.setattr("os.environ", dict(os.environ))
        completion.main()
    return capsys.readouterr().out.splitlines()


def test_commands_come_with_their_help(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    *found, directive = completed(capsys, monkeypatch, "s")
    assert [line.split("\t")[0] for line in found] == ["submit", "status", "suspend"]
    assert "Apply a manifest" in found[0]
    assert directive == ":4"


def test_jobs_are_those_of_the_namespace_that_is_typed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert completed(capsys, monkeypatch, "watch", "") == ["docs-gpt", ":4"]
    assert completed(capsys, monkeypatch, "watch", "-n", "other", "") == ["other-job", ":4"]
    assert completed(capsys, monkeypatch, "logs", "docs-gpt", "--stage", "C") == ["Curation", ":4"]


def test_where_there_is_nothing_to_say_the_shell_offers_files(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert completed(capsys, monkeypatch, "submit", "") == [":0"]
