"""`llmtrain`: the command line. This file only registers; each group of commands has a module of its own."""

import sys
from collections.abc import Sequence
from functools import cache
from importlib import import_module

import typer

MODULES = (
    "jobs",
    "corpus",
    "estimate",
    "compare",
    "npv",
    "decide",
    "ladder",
    "accuracy",
    "plans",
    "run_local",
    "inspecting",
    "export",
    "ledger",
    "runs",
)
ALONE = ("estimate", "compare", "npv", "decide")
"""Commands whose module has their name and holds no other: a script that asks them does not wait for the rest."""


def application(modules: Sequence[str]) -> typer.Typer:
    """The commands of these modules."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=True,
        rich_markup_mode="markdown",
        help="Train a language model of your own on Kubernetes, and know what it costs.\n\n"
        "Before: `llmtrain inspect -f job.yaml`, `llmtrain estimate -f job.yaml --plans plans.yaml`, `llmtrain compare -f job.yaml --plans plans.yaml`.\n\n"
        "During: `llmtrain submit job.yaml --watch`, `llmtrain list -A`, `llmtrain logs NAME -f`.\n\n"
        "After: `llmtrain status NAME`, `llmtrain report NAME --artifacts pod`.",
    )
    # Without one, typer makes a program of a single command, which then has no name.
    app.callback()(lambda: None)
    for module in modules:
        import_module(f"llmtrain.cli.{module}").register(app)
    return app


@cache
def whole() -> typer.Typer:
    """All commands."""
    return application(MODULES)


def __getattr__(name: str) -> typer.Typer:
    """`app` has all commands; it is made when somebody asks for it."""
    if name == "app":
        return whole()
    raise AttributeError(name)


def main() -> None:
    """Entry point."""
    asked = sys.argv[1] if len(sys.argv) > 1 else ""
    (application([asked]) if asked in ALONE else whole())()
