"""The expected loss in the commands about money: its options and its table."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from llmtrain.cli.complaints import read_text
from llmtrain.cli.numbers import spread
from llmtrain.cost.errors import InputError
from llmtrain.scaling.law import Foreign
from llmtrain.scaling.outcome import Expectation, Outcome, Split, Text

LawFile = Annotated[
    Path | None,
    typer.Option(
        "--scaling-law",
        help="File with the constants of a scaling law, or with runs to fit one to; see docs/scaling-law.md.",
    ),
]
BytesPerToken = Annotated[float | None, typer.Option(help="Bytes of text in a token, for bits per byte.")]


def read_law(file: Path | None, bytes_per_token: float | None) -> tuple[Expectation, Text]:
    """The law to expect losses by, published where no file is given; InputError names what is wrong."""
    if bytes_per_token is not None and not 0 < bytes_per_token < 1e6:
        raise InputError("--bytes-per-token", f"must be a number above zero, not {bytes_per_token:g}")
    known = bytes_per_token
    expected: Expectation = Foreign()
    if file is not None:
        expected, told = _read(file)
        known = known or told
    return expected, Text() if known is None else Text(known, 0.0)


def _read(file: Path) -> tuple[Expectation, float | None]:
    # Its models are made when a file is given: commands that start often do without.
    from llmtrain.pricing.parsed import single_object, validated
    from llmtrain.scaling.document import LawInput, expectation

    found = single_object(read_text(file), str(file), "one object with `constants` or `runs`")
    try:
        given = validated(LawInput, found, "")
        return expectation(given), given.bytes_per_token
    except InputError as error:
        raise InputError(error.field, f"{error.message} (in {file})") from error


def loss_table(found: Outcome) -> Table:
    """This training beside the best split of the same FLOPs."""
    table = Table(
        "", "parameters", "tokens", "tokens per parameter", "nats per token", "bits per byte",
        title=f"Expected loss of {found.flops:.3g} FLOPs (6 N D): p10 / p50 / p90",
    )  # fmt: skip
    table.add_row("this training", *split_cells(found.planned))
    table.add_row("best split of the same compute", *split_cells(found.best))
    return table


def split_cells(found: Split) -> tuple[str, ...]:
    """Size, tokens, their ratio, loss."""
    ratio = f"{found.tokens_per_parameter:.3g}"
    return f"{found.parameters:.3g}", f"{found.tokens:.3g}", ratio, spread(found.loss), spread(found.bits_per_byte)
