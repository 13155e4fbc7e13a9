"""What this machine has to compute with."""

import os
import shutil
import subprocess
from dataclasses import dataclass

from llmtrain.cost.chips import Chip
from llmtrain.cost.tables import chips

SECONDS = 20


@dataclass(frozen=True)
class Machine:
    """Cores, and accelerators of one kind; `chip` is None where the table knows none of them."""

    cores: int
    accelerators: int = 0
    chip: Chip | None = None


def this_machine() -> Machine:
    """By the operating system and, where it is installed, nvidia-smi."""
    cores = len(os.sched_getaffinity(0))
    names = _gpu_names()
    return Machine(cores, len(names), _chip(names[0]) if names else None)


def _gpu_names() -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = [program, "--query-gpu=name", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=SECONDS)
    return done.stdout.split("\n")[:-1] if done.returncode == 0 else []


def _chip(name: str) -> Chip | None:
    """nvidia-smi's name with hyphens is the product label of Kubernetes' nodes."""
    label = name.strip().replace(" ", "-")
    return next((chip for chip in chips().values() if chip.label == label), None)
