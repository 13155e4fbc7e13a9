"""Peers that ours is compared with: each in an environment of its own, for their pins and ours have no common solution.

They come from the package index the first time and are kept beside the programs of the test cluster.
"""

import os
import subprocess
import sys
from pathlib import Path

CACHE = Path(os.environ.get("LLMTRAIN_CACHE", Path.home() / ".cache" / "llmtrain")) / "peers"
PACKAGES = {
    "datatrove": ("datatrove[processing]==0.10.1", "spacy==3.8.18", "datasketch==2.0.0"),
    "dolma": ("dolma==1.2.1",),
    "warcio": ("warcio==1.8.1", "brotli==1.2.1"),
    "focus-validator": ("focus-validator==2.2.1", "numpy<2", "pyarrow<20", "--ignore-requires-python"),
}


def python_of(peer: str) -> Path:
    """The interpreter that has the peer installed; CalledProcessError where it cannot be."""
    folder = CACHE / "-".join((peer, PACKAGES[peer][0].rpartition("==")[2], f"py3.{sys.version_info.minor}"))
    done = folder / ".done"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(folder / "bin/pip"), "install", "-q", *PACKAGES[peer]], check=True)
        done.touch()
    return folder / "bin" / "python"
