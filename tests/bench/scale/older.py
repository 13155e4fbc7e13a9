"""An older commit of our own operator beside this one, each on an apiserver of its own that has that commit's definitions."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.scale.contenders import Ours, Process
from tests.kwok.plane import ROOT, Admin, Plane
from tests.ports import free_ports

SOURCES = ("", "operator", "jobs")
"""Where a checkout has its packages."""


@contextlib.contextmanager
def checkout(commit: str, folder: Path) -> Iterator[Path]:
    """The tree of a commit, for as long as it is asked for."""
    subprocess.run(["git", "worktree", "add", "--detach", str(folder), commit], cwd=ROOT, check=True)
    try:
        yield folder
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(folder)], cwd=ROOT, check=True)


def definitions(source: Path) -> list[dict[str, Any]]:
    """The CustomResourceDefinitions of a checkout: what another commit's apiserver defaults, an operator may refuse to read."""
    code = "import json; from llmtrain.api.crd import crds; print(json.dumps(crds()))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=os.environ | _path(source), check=True, capture_output=True, text=True
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def _path(source: Path) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join(str(source / part) for part in SOURCES)}


class At(Ours):
    """The operator of a checkout."""

    def __init__(self, plane: Plane, admin: Admin, name: str, source: Path) -> None:
        super().__init__(plane, admin)
        self.name = name
        self.metrics_port, health = free_ports(2)
        self.process = Process(
            plane,
            # Without -P the folder it starts in, which is this commit's, comes first: an older operator had the newer `llmtrain`.
            [sys.executable, "-P", "-m", "llmtrain_operator.main"],
            f"operator-{name}",
            **_path(source),
            LLMTRAIN_METRICS_PORT=str(self.metrics_port),
            LLMTRAIN_HEALTH_PORT=str(health),
            LLMTRAIN_JOBS_IMAGE="llmtrain.local/jobs:test",
        )
