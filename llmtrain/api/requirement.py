"""Bounds of scores."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from llmtrain.api.base import DecimalString, Model, Rule, cel

METRIC_PATTERN = r"^[a-z0-9-]+/[a-z0-9_]+$"


def one_of(*fields: str) -> Rule:
    """Exactly one of the fields is set."""
    there = " + ".join(f"(has(self.{field}) ? 1 : 0)" for field in fields)
    names = ", ".join(f"`{field}`" for field in fields[:-1])
    return Rule(rule=f"{there} == 1", message=f"exactly one of {names} and `{fields[-1]}` must be set")


ONE_BOUND = one_of("atMost", "atLeast", "noWorseThan")


class Against(StrEnum):
    """What a score is held against."""

    BASELINE = "Baseline"
    REFERENCE = "Reference"
    CHANCE = "Chance"


class Requirement(Model):
    """Gate on a score."""

    metric: Annotated[str, Field(pattern=METRIC_PATTERN, max_length=128)] = Field(
        description="`task/metric`, for example held-out/bits_per_byte."
    )
    at_most: DecimalString | None = Field(None, description="Upper bound, inclusive.")
    at_least: DecimalString | None = Field(None, description="Lower bound, inclusive.")
    no_worse_than: Against | None = Field(
        None, description="The same score of `baseline`, of the `reference` model, or of guessing is the bound."
    )
    tolerance: DecimalString = Field("0", description="How much worse than `noWorseThan` it may be.")

    model_config = Model.model_config | {"json_schema_extra": cel(ONE_BOUND)}
