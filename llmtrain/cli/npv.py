"""`llmtrain npv`: the bare rent-or-own calculation, for scripts."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import Field

from llmtrain.api.base import DecimalString, Model
from llmtrain.api.plan import Commitment, Owned
from llmtrain.cli.complaints import complaints, read_text
from llmtrain.cli.outputs import Output
from llmtrain.cost.rent_or_own import Rent, Verdict, verdict
from llmtrain.pricing.parsed import single_object, validated
from llmtrain.pricing.plans import owned_inputs
from llmtrain.pricing.views import verdict_view


class RentInput(Model):
    """The alternative."""

    accelerator_hour_usd: DecimalString = Field(description="US dollars per accelerator-hour.")
    extra_share: DecimalString = Field("0.08", description="Egress, storage and idle tails, as share of the price.")
    commitment: Commitment = Field(
        Commitment.ON_DEMAND, description="Reserved: paid for all available hours, used or not."
    )


class NpvInput(Model):
    """What `llmtrain npv` reads."""

    owned: Owned = Field(description="Fields of `spec.owned` of a ComputePlan.")
    rent: RentInput = Field(description="The alternative.")
    utilization: DecimalString | None = Field(None, description="Share of the available hours that are used.")


def register(app: typer.Typer) -> None:
    """Add `llmtrain npv`."""
    app.command()(npv)


def npv(
    file: Annotated[
        Path, typer.Option("--file", "-f", help="JSON or YAML: owned, rent, utilization; - is standard input.")
    ],
    output: Annotated[Output, typer.Option("--output", "-o", help="table or json.")] = Output.TABLE,
) -> None:
    """Present values of owning and renting, and the use, hours and month from which owning is the cheaper.

    Example: `llmtrain npv -f inputs.json -o json`
    """
    with complaints():
        view = verdict_view(calculated(read_text(file)))
    if output is Output.JSON:
        typer.echo(json.dumps(view, indent=2))
    else:
        for name, value in view.items():
            typer.echo(f"{name:<30} {'never' if value is None else f'{value:,.4f}'}")


def calculated(text: str) -> Verdict:
    """The verdict for inputs as text."""
    found = single_object(text, "(file)", "one object with `owned`, `rent` and `utilization`")
    given = validated(NpvInput, _as_text(found), "")
    owned = given.owned
    if given.utilization is not None:
        owned = owned.model_copy(update={"utilization": given.utilization})
    price, extra = float(given.rent.accelerator_hour_usd), float(given.rent.extra_share)
    reserved = given.rent.commitment is Commitment.RESERVED
    return verdict(owned_inputs(owned), Rent(price, extra, reserved=reserved))


def _as_text(value: Any) -> Any:
    """Scripts may write numbers where the API, which has no floats, wants decimals as text."""
    if isinstance(value, dict):
        return {name: _as_text(each) for name, each in value.items()}
    if isinstance(value, int | float) and not isinstance(value, bool):
        return format(Decimal(repr(value)), "f")
    return value
