"""The chart's values as a table, from the `# --` comments of values.yaml."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

INTRODUCTION = """# llmtrain

Operator that trains a language model of your own and knows what it costs.

```
helm install llmtrain charts/llmtrain -n llmtrain-system --create-namespace
helm test llmtrain -n llmtrain-system
```

CRDs are upgraded with the chart (`crds.enabled`) and kept when it is uninstalled (`crds.keep`); jobs and plans therefore belong
into a release of their own. Before the operator goes, `uninstall.policy` suspends every job and waits until no pod is left.

## Values

| value | default | what it is |
|---|---|---|
"""


def page(file: Path) -> str:
    """The chart's README."""
    text = file.read_text()
    defaults = yaml.safe_load(text)
    rows = [f"| `{path}` | `{shown(lookup(defaults, path))}` | {what} |" for path, what in described(text)]
    return INTRODUCTION + "\n".join(rows) + "\n"


def described(text: str) -> Iterator[tuple[str, str]]:
    """(path, description) of every value with a comment, in the file's order."""
    parents: list[str] = []
    comment: list[str] = []
    for line in text.splitlines():
        bare = line.strip()
        if bare.startswith("# -- "):
            comment = [bare.removeprefix("# -- ")]
        elif bare.startswith("# ") and comment:
            comment.append(bare.removeprefix("# "))
        elif ":" in bare and not bare.startswith("#"):
            depth = (len(line) - len(line.lstrip())) // 2
            parents = [*parents[:depth], bare.split(":")[0]]
            if comment:
                yield ".".join(parents), " ".join(comment).replace("|", "\\|")
            comment = []


def lookup(values: Any, path: str) -> Any:
    """The default at a path."""
    for part in path.split("."):
        values = values[part]
    return values


def shown(value: Any) -> str:
    """A default in one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).replace("\n...", "").strip()
