"""The decision's file: one use, and the options that serve it."""

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from llmtrain.api.base import Model, Name, Text

DATE_PATTERN = r"^([0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?)?$"
FIGURE_NAME = r"^[a-z][A-Za-z]*$"
Amount = Annotated[float, Field(strict=True, ge=0, le=1e18, allow_inf_nan=False)]


class Kind(StrEnum):
    """Where the model comes from."""

    PRETRAIN_RENTED = "PretrainRented"
    PRETRAIN_OWNED = "PretrainOwned"
    CONTINUE = "Continue"
    FINE_TUNE = "FineTune"
    API = "Api"


class FigureInput(Model):
    """A number with its range and where it comes from; a bare number is its value."""

    value: Amount = Field(description="The number; p50 where a range is given.")
    low: Amount | None = Field(None, description="p10; empty: known exactly.")
    high: Amount | None = Field(None, description="p90; empty: known exactly.")
    source: Text = Field("the decision's file", description="Who says so.")
    date: Annotated[str, Field(pattern=DATE_PATTERN)] = Field("", description="When: 2026, 2026-11 or 2026-11-30.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        low = self.value if self.low is None else self.low
        high = self.value if self.high is None else self.high
        if not low <= self.value <= high:
            raise ValueError(f"must have low <= value <= high, it has {low:g}, {self.value:g}, {high:g}")
        return self


def _wrapped(value: Any) -> Any:
    return value if isinstance(value, dict | FigureInput) else {"value": value}


Number = Annotated[FigureInput, BeforeValidator(_wrapped)]
Figures = Annotated[dict[Annotated[str, Field(pattern=FIGURE_NAME, max_length=63)], Number], Field(max_length=64)]


class Use(Model):
    """What is served: the same for every option."""

    input_tokens_per_month: Number = Field(description="Tokens of prompts a month.")
    output_tokens_per_month: Number = Field(description="Tokens of answers a month.")
    months: int = Field(strict=True, ge=1, le=120, description="Months of use.")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.input_tokens_per_month.value + self.output_tokens_per_month.value <= 0:
            raise ValueError("must serve tokens: one of inputTokensPerMonth and outputTokensPerMonth must be above 0")
        return self


class OptionInput(Model):
    """One way to get the answers."""

    name: Name = Field(description="Its name.")
    kind: Kind = Field(description="PretrainRented, PretrainOwned, Continue, FineTune or Api.")
    parameters: Annotated[float, Field(strict=True, ge=1e6, le=1e14, allow_inf_nan=False)] | None = Field(
        None, description="Parameters that a token is multiplied with; not for Api."
    )
    tokens: Annotated[float, Field(strict=True, ge=1e3, le=1e16, allow_inf_nan=False)] | None = Field(
        None, description="Tokens of the final training; not for Api."
    )
    accelerator: Annotated[str, Field(max_length=63)] = Field(
        "H100-SXM-80GB", description="Accelerator of training and serving, by the table's name."
    )
    model: Annotated[str, Field(max_length=63)] = Field("", description="Api: the model, by the table's name.")
    figures: Figures = Field({}, description="Numbers of this option alone.")


class DecisionInput(Model):
    """What `llmtrain decide` reads."""

    use: Use = Field(description="What is served.")
    options: Annotated[list[OptionInput], Field(min_length=2, max_length=8)] = Field(description="What is compared.")
    figures: Figures = Field({}, description="Numbers of every option that has them.")
    seed: int = Field(1, strict=True, ge=0, le=2**31, description="Of the draws.")
    draws: int = Field(
        500, strict=True, ge=100, le=10_000, description="How many worlds are drawn for p10, p50 and p90."
    )
