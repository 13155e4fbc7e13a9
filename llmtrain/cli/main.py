"""`llmtrain`: the command line. This file only registers; each group of commands has a module of its own."""

import typer

from llmtrain.cli import accuracy, compare, corpus, estimate, jobs, ledger, npv, plans, run_local

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="markdown",
    help="Train a language model of your own on Kubernetes, and know what it costs.",
)
jobs.register(app)
corpus.register(app)
estimate.register(app)
compare.register(app)
npv.register(app)
accuracy.register(app)
plans.register(app)
run_local.register(app)
ledger.register(app)


def main() -> None:
    """Entry point."""
    app()
