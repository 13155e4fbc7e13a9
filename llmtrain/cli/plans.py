"""`llmtrain plans`: price lists into ComputePlans, and the dated prices that ship."""

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from llmtrain.api import API_VERSION
from llmtrain.api.kubeyaml import dump_all
from llmtrain.api.plan import Commitment
from llmtrain.cli.complaints import complaints, read_text
from llmtrain.cost.errors import InputError
from llmtrain.cost.tables import rows
from llmtrain.pricing.catalog import Wanted, import_catalog

plans = typer.Typer(no_args_is_help=True, help="Price lists into ComputePlans, and the dated prices that ship.")


def register(app: typer.Typer) -> None:
    """Add `llmtrain plans ...`."""
    app.add_typer(plans, name="plans")


@plans.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV in the columns of the SkyPilot catalog; - is standard input.")],
    provider: Annotated[str, typer.Option(help="Name of the provider, for the plans' names and sources.")],
    date: Annotated[str, typer.Option(help="Day of the price list, YYYY-MM-DD; default: today.")] = "",
    accelerator: Annotated[list[str] | None, typer.Option(help="Only this AcceleratorName; may be repeated.")] = None,
    region: Annotated[list[str] | None, typer.Option(help="Only this Region; may be repeated.")] = None,
    commitment: Annotated[
        Commitment, typer.Option(help="OnDemand takes Price, Spot takes SpotPrice.")
    ] = Commitment.ON_DEMAND,
) -> None:
    """Print ComputePlans, the cheapest instance of every accelerator and region.

    Example: `llmtrain plans import aws.csv --provider aws --accelerator H100 | kubectl apply -f -`
    """
    with complaints():
        wanted = Wanted(provider, _day(date), accelerator or [], region or [], commitment)
        found = import_catalog(read_text(file), wanted)
    manifests = [
        {"apiVersion": API_VERSION, "kind": "ComputePlan", "metadata": {"name": name}, "spec": spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)}
        for name, spec in found.plans.items()
    ]  # fmt: skip
    typer.echo(dump_all(manifests), nl=False)
    for name, count in found.unknown.items():
        typer.secho(f"left out: {count} rows of {name}, which the accelerator table does not know", err=True)


def _day(text: str) -> str:
    try:
        return (datetime.fromisoformat(text) if text else datetime.now(UTC)).date().isoformat()
    except ValueError as error:
        raise InputError("--date", f"must be a day, YYYY-MM-DD, not {text}") from error


@plans.command()
def prices(
    accelerator: Annotated[str, typer.Argument(help="Part of an accelerator's name, for example H100.")],
) -> None:
    """Rental and purchase prices that ship, each with its date and source.

    Example: `llmtrain plans prices H100`
    """
    table = Table("date", "what", "who", "accelerator", "value", "unit", "source")
    found = [row for row in rows("prices") if accelerator.lower() in row["accelerator"].lower()]
    for row in sorted(found, key=lambda row: row["date"]):
        cells = ("date", "plan", "provider_or_source", "accelerator", "value", "unit", "source")
        table.add_row(*(row[cell] for cell in cells))
    out = io.StringIO()
    Console(file=out, width=160, markup=False, emoji=False).print(table)
    typer.echo(out.getvalue().rstrip() if found else f"no row of the price table names {accelerator}")
