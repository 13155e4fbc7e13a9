"""The CRDs as the release before installed them: what stored objects were written by.

`python -m tests.older REVISION` renders those of a revision anew; descriptions, which decide nothing, are left out.
"""

import copy
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).parent / "data" / "crds-0.3.0.json"


def older_crds() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(FILE.read_text())
    return found


def renamed(crd: dict[str, Any], group: str) -> dict[str, Any]:
    """The same resource in another group, beside the one that is installed."""
    crd = copy.deepcopy(crd)
    crd["metadata"]["name"] = f"{crd['spec']['names']['plural']}.{group}"
    crd["spec"]["group"] = group
    crd["spec"]["names"].pop("shortNames", None)
    crd["spec"]["names"].pop("categories", None)
    return crd


def main() -> None:
    archive = subprocess.run(["git", "archive", sys.argv[1], "llmtrain"], capture_output=True, check=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        command = [sys.executable, "-m", "llmtrain.api.crd", "--print", "-"]
        text = subprocess.run(command, cwd=folder, env={"PYTHONPATH": folder}, capture_output=True, check=True).stdout
    FILE.write_text(json.dumps([_undescribed(crd) for crd in yaml.safe_load_all(text)], separators=(",", ":")) + "\n")


def _undescribed(node: Any) -> Any:
    """A field may itself be called `description`; its schema is no text."""
    if isinstance(node, list):
        return [_undescribed(each) for each in node]
    if not isinstance(node, dict):
        return node
    return {k: _undescribed(v) for k, v in node.items() if not (k == "description" and isinstance(v, str))}


if __name__ == "__main__":
    main()
