"""An older commit of our own operator beside this one, each in a namespace of its own on one apiserver."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

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


class At(Ours):
    """The operator of a checkout, for one namespace alone: two of them never look at the same job."""

    def __init__(self, plane: Plane, admin: Admin, name: str, source: Path, namespaces: list[str]) -> None:
        super().__init__(plane, admin)
        self.name = name
        self.metrics_port, health = free_ports(2)
        self.process = Process(
            plane,
            # Without -P the folder it starts in, which is this commit's, comes first: an older operator had the newer `llmtrain`.
            [sys.executable, "-P", "-m", "llmtrain_operator.main"],
            f"operator-{name}",
            PYTHONPATH=os.pathsep.join(str(source / part) for part in SOURCES),
            LLMTRAIN_NAMESPACES=",".join(namespaces),
            LLMTRAIN_METRICS_PORT=str(self.metrics_port),
            LLMTRAIN_HEALTH_PORT=str(health),
            LLMTRAIN_JOBS_IMAGE="llmtrain.local/jobs:test",
        )
