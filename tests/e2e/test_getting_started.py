"""Every command of docs/getting-started.md, in order, in one shell, as a new user would type it."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT
from tests.e2e.kube import kubectl

PAGE = ROOT / "docs" / "getting-started.md"
MARK = "=== block "
STORAGE = Path("/var/lib/llmtrain-first")


def blocks() -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def output(operator: None) -> dict[int, str]:
    """What each block printed. A shell of a user: nothing of this test's environment but the path and the home."""
    shutil.rmtree(STORAGE, ignore_errors=True)
    for kind in (["llmjob", "--all", "-n", "first"], ["namespace", "first"], ["pv", "first"]):
        kubectl("delete", *kind, "--ignore-not-found", "--timeout=100s")
    script = "".join(f"echo '{MARK}{number}'\n{block}" for number, block in enumerate(blocks()))
    passed = ("PATH", "HOME", "PYTHONPATH", "LLMTRAIN_CLUSTER_STATE", "LLMTRAIN_CACHE", "SSL_CERT_FILE", "LANG")
    environment = {name: os.environ[name] for name in passed if name in os.environ}
    done = subprocess.run(["bash", "-euo", "pipefail"], input=script, capture_output=True, text=True, check=False,
                          cwd=ROOT, env=environment, timeout=1200)  # fmt: skip
    parts = re.split(rf"^{MARK}(\d+)$", done.stdout, flags=re.MULTILINE)
    assert done.returncode == 0, f"block {parts[-2]} failed:\n{parts[-1][-3000:]}\n{done.stderr[-3000:]}"
    return {int(number): text for number, text in zip(parts[1::2], parts[2::2], strict=True)}


def block_with(command: str) -> int:
    return next(number for number, block in enumerate(blocks()) if command in block)


def test_every_block_ran(output: dict[int, str]) -> None:
    assert sorted(output) == list(range(len(blocks())))


def test_what_the_reader_sees_is_what_the_page_promises(output: dict[int, str]) -> None:
    assert "Ready" in output[block_with("kubectl get nodes")]
    assert "Succeeded" in output[block_with("helm test")]
    assert "first-owned" in output[block_with("kubectl get computeplans")]
    assert "first-rented" in output[block_with("llmtrain compare")]
    assert "Succeeded" in output[block_with("llmtrain watch first")]
    assert re.search(r"first +first +Training +Succeeded", output[block_with("llmtrain list")])
    assert "Reused" in output[block_with("llmtrain resume second")]
    assert re.search(r"first +second +[0-9.]+ USD", output[block_with("llmtrain ledger show")])


def test_nothing_is_left(output: dict[int, str]) -> None:
    assert kubectl("get", "namespace", "first", "--ignore-not-found") == ""
    assert not STORAGE.exists()


def test_the_report_is_a_page_with_the_curve(output: dict[int, str]) -> None:
    page = Path("/tmp/first.html").read_text()
    assert "<polyline" in page
    assert "Not on this page" not in page
