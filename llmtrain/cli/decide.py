"""`llmtrain decide`: build, tune or call."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from llmtrain.cli.cells import cell, drawing
from llmtrain.cli.complaints import complaints, read_text
from llmtrain.cli.numbers import number, spread
from llmtrain.cli.outputs import PageOutput
from llmtrain.cost.errors import InputError
from llmtrain.decision.analysis import Decision, Result
from llmtrain.decision.analysis import decide as decided
from llmtrain.decision.document import DecisionInput
from llmtrain.decision.view import decision_view
from llmtrain.pages.decide import break_even_sentence, decide_page
from llmtrain.pricing.parsed import single_object, validated

BARS = 5


def register(app: typer.Typer) -> None:
    """Add `llmtrain decide`."""
    app.command()(decide)


def decide(
    file: Annotated[
        Path, typer.Option("--file", "-f", help="JSON or YAML: use, options, figures; - is standard input.")
    ],
    output: Annotated[PageOutput, typer.Option("--output", "-o", help="table, json or html.")] = PageOutput.TABLE,
) -> None:
    """Train a model of your own, rented or owned, tune an open one or pay for an API: what the same use costs each way.

    Example: `llmtrain decide -f decision.yaml -o html > decision.html`
    """
    with complaints():
        found = decided(read_decision(read_text(file)))
    typer.echo(rendered(found, output))


def read_decision(text: str) -> DecisionInput:
    """The file's one object; InputError names the first field that is wrong."""
    given = single_object(text, "(file)", "one object with `use` and `options`")
    try:
        return validated(DecisionInput, given, "")
    except InputError as error:
        # A bare number is read as the `value` of an object, which nobody wrote.
        raise InputError(error.field.removesuffix(".value"), error.message) from error


def rendered(found: Decision, output: PageOutput) -> str:
    """The decision as text."""
    if output is PageOutput.JSON:
        return json.dumps(decision_view(found), indent=2)
    return decide_page(found) if output is PageOutput.HTML else _tables(found)


def _tables(found: Decision) -> str:
    console, out = drawing(130)
    console.print(_options(found))
    for each in found.break_evens:
        console.print(break_even_sentence(each), highlight=False)
    for result in found.results:
        console.print(_tornado(result))
    return out.getvalue().rstrip()


def _options(found: Decision) -> Table:
    parts = list(dict.fromkeys(name for each in found.results for name in each.costs.components()))
    title = f"{number(found.tokens_per_month)} tokens a month for {found.months} months: USD, present values"
    table = Table("option", "USD", "p10 / p50 / p90", "cheapest in", *parts, title=title)
    for result in sorted(found.results, key=lambda each: each.npv):
        components = result.costs.components()
        table.add_row(
            result.option.name,
            number(result.npv),
            spread(result.usd),
            f"{result.cheapest:.0%}",
            *[number(components[part]) for part in parts],
        )
    return table


def _tornado(result: Result) -> Table:
    table = Table(
        "number", "from", "to", "USD at from", "USD at to", "source", title=f"What {result.option.name} hangs on"
    )
    for bar in result.tornado[:BARS]:
        cells = (number(bar.low), number(bar.high), number(bar.at_low), number(bar.at_high))
        table.add_row(bar.figure, *cells, cell(f"{bar.source} ({bar.date or 'no date'})"))
    return table
