"""What the operator's process imports: each module is memory that it holds for good."""

import json
import subprocess
import sys

import pytest
from llmtrain_operator.imports import without_its_root

LIST = "import json, sys, llmtrain_operator.main; print(json.dumps(sorted(sys.modules)))"


def test_the_operator_imports_no_second_client() -> None:
    done = subprocess.run([sys.executable, "-c", LIST], check=True, capture_output=True, text=True)
    found = set(json.loads(done.stdout))
    assert {"kubernetes.aio.config.kube_config", "kubernetes.aio.client.rest", "kopf"} <= found
    assert not found & {"requests", "chardet", "oauthlib", "websocket", "kubernetes.config", "kubernetes.dynamic"}


def test_what_is_not_installed_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "nowhere", raising=False)
    without_its_root("nowhere")
    assert "nowhere" not in sys.modules


def test_what_is_imported_already_is_left_alone() -> None:
    before = sys.modules["json"]
    without_its_root("json")
    assert sys.modules["json"] is before
