"""The demo's multiple-choice file: ARC-Easy from the shared data where it is, else questions about Python itself."""

import json
import pkgutil
import shutil
import sys
from pathlib import Path

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "benchmarks" / "arc_easy.jsonl"


def questions() -> list[str]:
    """Which of four names is a module of the standard library? Made from what is installed."""
    modules = sorted(module.name for module in pkgutil.iter_modules() if module.name.isalpha())[:100]
    lines = []
    for number, name in enumerate(modules):
        choices = [name[::-1] + "q", name[1:] + "zz", name + "xx"]
        choices.insert(number % 4, name)
        lines.append(
            json.dumps({"query": "Question: Which is a Python module?", "choices": choices, "gold": number % 4})
        )
    return lines


if __name__ == "__main__":
    target = Path(sys.argv[1])
    if SHARED.exists():
        shutil.copyfile(SHARED, target)
    else:
        target.write_text("\n".join(questions()) + "\n")
