"""The demo's multiple-choice task, named for what it asks: ARC-Easy where the shared data has its file, else Python's modules.

`python demo/questions.py FOLDER` writes the questions into the folder and prints the demo's manifest with the task that
reads them.
"""

import json
import pkgutil
import shutil
import sys
from pathlib import Path

ARC = Path(__file__).resolve().parents[2] / "shared" / "data" / "benchmarks" / "arc_easy.jsonl"
MANIFEST = Path(__file__).with_name("job.yaml")
MODULES = "- {name: python-modules, template: {}, dataFile: benchmarks/python_modules.jsonl, limit: 100}"
ARC_EASY = "- {name: arc-easy, task: arc_easy, dataFile: benchmarks/arc_easy.jsonl, limit: 100}"


def questions() -> list[str]:
    """Which of four names is a module of the standard library? Made from what is installed."""
    modules = sorted(module.name for module in pkgutil.iter_modules() if module.name.isalpha())[:100]
    lines = []
    for number, name in enumerate(modules):
        choices = [name[::-1] + "q", name[1:] + "zz", name + "xx"]
        choices.insert(number % 4, name)
        query = "Question: Which of these is the name of a Python module?\nAnswer:"
        lines.append(json.dumps({"query": query, "choices": choices, "gold": number % 4}))
    return lines


def prepare(folder: Path) -> str:
    """Write the questions; the manifest that asks them."""
    manifest = MANIFEST.read_text()
    if MODULES not in manifest:
        raise ValueError(f"{MANIFEST} has no line `{MODULES}`")
    if ARC.exists():
        shutil.copyfile(ARC, folder / "arc_easy.jsonl")
        return manifest.replace(MODULES, ARC_EASY)
    (folder / "python_modules.jsonl").write_text("\n".join(questions()) + "\n")
    return manifest


if __name__ == "__main__":
    print(prepare(Path(sys.argv[1])), end="")
