"""What a pod's annotations say that it costs: text that a tenant may have written, so it is bounded before it is believed.

Nothing rests on them but the bills of pods of which the operator has no record of its own: those of attempts that a
version before this one began, and those whose job is gone.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from llmtrain_operator.names import POWER_ANNOTATION, PRICE_ANNOTATION
from llmtrain_operator.power import NO_POWER, Power
from llmtrain_operator.pricing import MOST_MICRO_USD_PER_HOUR, Price

LONGEST_TEXT = 1024
MOST_WATTS = 10**6
Word = Annotated[str, Field(max_length=253)]


class _Price(BaseModel):
    """The JSON of annotation `llmtrain.dev/price`."""

    model_config = ConfigDict(strict=True, alias_generator=to_camel)

    plan: Word
    plan_resource_version: Word
    tenure: Word
    micro_usd_per_hour: Annotated[int, Field(ge=0, le=MOST_MICRO_USD_PER_HOUR)]
    increment_seconds: Annotated[int, Field(ge=1, le=86400)]
    minimum_seconds: Annotated[int, Field(ge=0, le=86400)]


class _Power(BaseModel):
    """The JSON of annotation `llmtrain.dev/power`."""

    model_config = ConfigDict(strict=True, alias_generator=to_camel)

    load_watts: Annotated[int, Field(ge=0, le=MOST_WATTS)] = 0
    idle_watts: Annotated[int, Field(ge=0, le=MOST_WATTS)] = 0


def annotated_price(raw: Mapping[str, Any]) -> Price | None:
    """The price that a pod's annotation gives; None where there is none, or none within the bounds."""
    return _read_price(_text(raw, PRICE_ANNOTATION))


def annotated_power(raw: Mapping[str, Any]) -> Power:
    """The watts that a pod's annotation gives; none where they cannot be read."""
    return _read_power(_text(raw, POWER_ANNOTATION))


def shown(raw: Mapping[str, Any]) -> str:
    """The price annotation for people, short and without control characters; empty where there is none."""
    return ascii(_text(raw, PRICE_ANNOTATION)[:200])[1:-1]


def _text(raw: Mapping[str, Any], key: str) -> str:
    return str((raw["metadata"].get("annotations") or {}).get(key, ""))


@lru_cache(maxsize=4096)
def _read_price(text: str) -> Price | None:
    """Thousands of pods have the same, and every turn asks for it."""
    if len(text) > LONGEST_TEXT:
        return None
    try:
        return Price(**_Price.model_validate_json(text).model_dump(by_alias=True))
    except ValidationError:
        return None


@lru_cache(maxsize=4096)
def _read_power(text: str) -> Power:
    if len(text) > LONGEST_TEXT:
        return NO_POWER
    try:
        watts = _Power.model_validate_json(text)
    except ValidationError:
        return NO_POWER
    return Power(watts.load_watts, watts.idle_watts)
