"""The index of the documents: the pages in the order in which one reads them, then whatever else there is."""

from pathlib import Path

FIRST = {
    "getting-started.md": ("Getting started", "from nothing to a trained model and its bill, on one machine"),
    "concepts.md": ("Concepts", "jobs, stages, plans, budgets, and how the bill is made"),
    "cost-model.md": ("Cost model", "estimate, forecast, rent or own: formulas and their sources"),
    "operations.md": ("Operations", "install, upgrade, watch, what fails and what to do; [runbooks](runbooks/)"),
    "reference/manifests.md": ("Manifests", "every field, generated from the CRDs"),
    "reference/metrics.md": ("Metrics", "every metric, rule and alert, generated from the code"),
    "reference/command-line.md": ("Command line", "every command, generated from the code"),
    "../charts/llmtrain/README.md": ("Chart values", "every value, generated from the chart"),
    "development.md": ("Development", "how the code is laid out, tested and changed"),
    "decisions.md": ("Decisions", "why it is built like this, with what was measured"),
}


def page(folder: Path) -> str:
    """The table; a page that is not known by name goes by its heading."""
    rows = [f"| [{title}]({path}) | {what} |" for path, (title, what) in FIRST.items()]
    others = sorted(file for file in folder.glob("*.md") if file.name not in {*FIRST, "README.md"})
    rows += [f"| [{heading(file)}]({file.name}) | |" for file in others]
    return "# Documentation\n\n| | |\n|---|---|\n" + "\n".join(rows) + "\n"


def heading(file: Path) -> str:
    """The first heading of a page."""
    lines = file.read_text().splitlines()
    return next((line.removeprefix("# ") for line in lines if line.startswith("# ")), file.stem)
