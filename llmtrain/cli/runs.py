"""`llmtrain runs`: several jobs at once."""

import json
from typing import Annotated

import typer
from rich.table import Table

from llmtrain.cli.cells import cell, drawing
from llmtrain.cli.complaints import complaints
from llmtrain.cli.jobs import ArtifactsFrom, Namespace, ReaderImage, complete_job, fetch, read_storage
from llmtrain.cli.outputs import PageOutput
from llmtrain.pages.runs import runs_page
from llmtrain.report.facts import Facts, facts_of
from llmtrain.runs.comparison import RunsComparison, check_names, compare_runs
from llmtrain.runs.sheets import Sheet, sheets
from llmtrain.runs.view import runs_view
from llmtrain.text import lines

FIRST_COLUMN, COLUMN = 40, 34
runs = typer.Typer(no_args_is_help=True, help="Several jobs beside each other.")


def register(app: typer.Typer) -> None:
    """Add `llmtrain runs ...`."""
    # With one command alone typer would take the group's name for it.
    runs.callback()(lambda: None)
    app.add_typer(runs, name="runs")


@runs.command()
def compare(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="RUNS...", help="Two to eight jobs: NAME or NAMESPACE/NAME.", autocompletion=complete_job
        ),
    ],
    namespace: Namespace = "",
    output: Annotated[PageOutput, typer.Option("--output", "-o", help="table, json or html.")] = PageOutput.TABLE,
    artifacts: ArtifactsFrom = "",
    image: ReaderImage = "",
) -> None:
    """Data, architecture, loss at equal tokens and at equal dollars, scores, bill, waste, and where the manifests differ.

    Example: `llmtrain runs compare docs-gpt docs-gpt-wide -n team-a --artifacts pod -o html > runs.html`
    """
    with complaints():
        check_names(names)
        found = compare_runs([_facts(name, namespace, artifacts, image) for name in names])
    typer.echo(rendered(found, output))


def _facts(name: str, namespace: str, artifacts: str, image: str) -> Facts:
    own, _, short = name.rpartition("/")
    job = fetch(short, own or namespace)
    return facts_of(job, read_storage(job, artifacts, image))


def rendered(found: RunsComparison, output: PageOutput) -> str:
    """The comparison as text."""
    if output is PageOutput.JSON:
        return json.dumps(runs_view(found), indent=2)
    return runs_page(found) if output is PageOutput.HTML else _tables(found)


def _tables(found: RunsComparison) -> str:
    console, out = drawing(FIRST_COLUMN + COLUMN * len(found.runs))
    for sheet in sheets(found):
        console.print(_table(sheet, [run.name for run in found.runs]))
    for run in found.runs:
        for text in run.missing:
            console.print(cell(f"{run.name}: not read: {text}"))
    return lines(out.getvalue().rstrip())


def _table(sheet: Sheet, names: list[str]) -> Table:
    table = Table(title=sheet.title, caption=sheet.note or None)
    for name in ("", *names):
        table.add_column(cell(name))
    for row in sheet.rows:
        table.add_row(*map(cell, row))
    return table
