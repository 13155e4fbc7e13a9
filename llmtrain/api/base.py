"""Field types that the three resources share.

Kubernetes' API conventions rule out floats: decimals are strings with a pattern, and every list, string and
number has a bound, without which the apiserver refuses CEL rules as too costly.
"""

import re
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any, Self, TypeVar, cast, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator
from pydantic.alias_generators import to_camel

from llmtrain.api.cel import holds
from llmtrain.api.urls import URL
from llmtrain.text import plain

DECIMAL_PATTERN = r"^[0-9]{1,12}(\.[0-9]{1,9})?$"
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
SUBDOMAIN_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
QUANTITY_PATTERN = r"^[0-9]{1,9}(\.[0-9]{1,3})?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"


class Wire(BaseModel):
    """Base of every API object: camelCase on the wire, unknown fields refused."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)

    def to_dict(self) -> dict[str, Any]:
        """Wire form: camelCase names, fields that are None left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def duplicate(self) -> Self:
        """A deep copy by way of plain values, in half the time that copying each of them takes."""
        return self.model_validate(self.model_dump())


class Model(Wire):
    """Base of what people write: the rules of the CRD hold for it. The operator's own words, a thousand a second, are spared them."""

    @model_validator(mode="before")
    @classmethod
    def _no_conversions(cls, data: Any, info: ValidationInfo) -> Any:
        """In a manifest a number in quotes is no number and only wire names count, as for the apiserver."""
        if info.context is not MANIFEST or not isinstance(data, dict):
            return data
        for name, (kind, word) in _plain_fields(cls).items():
            if data.get(name) is not None and type(data[name]) is not kind:
                raise ValueError(f"`{name}` must be {word}, not {data[name]!r}")
        wire = {info.alias or name for name, info in cls.model_fields.items()}
        unknown = sorted(set(map(str, data)) - wire)
        if unknown:
            raise ValueError(f"{', '.join(f'`{name}`' for name in unknown)} is not known")
        return data

    @model_validator(mode="after")
    def _cross_field_rules(self, info: ValidationInfo) -> Self:
        """The rules that the CRD carries, with the same words."""
        rules = _rules_of(type(self)) if info.context is MANIFEST else ()
        if rules:
            value = self.to_dict()
            broken = [message for rule, message in rules if not holds(rule, value)]
            if broken:
                raise ValueError("; ".join(broken))
        return self


MANIFEST = {"source": "manifest"}
"""Context of a validation that converts nothing."""
Parsed = TypeVar("Parsed", bound=Model)


def parse_manifest(model: type[Parsed], raw: Any) -> Parsed:
    """The model of a manifest's part. ValidationError for exactly what the apiserver refuses."""
    return model.model_validate(raw, context=MANIFEST)


PLAIN: dict[Any, tuple[type, str]] = {bool: (bool, "true or false"), int: (int, "a whole number")}


@lru_cache(maxsize=512)
def _plain_fields(model: type[Model]) -> dict[str, tuple[type, str]]:
    """Fields that hold a number or a truth value, by their wire names."""
    found = {}
    for name, info in model.model_fields.items():
        kinds = [kind for kind in (info.annotation, *get_args(info.annotation)) if kind in PLAIN]
        if kinds:
            found[info.alias or name] = PLAIN[kinds[0]]
    return found


@lru_cache(maxsize=512)
def _rules_of(model: type[Model]) -> tuple[tuple[str, str], ...]:
    """Rule and message of every CEL rule that looks at the new value alone."""
    extra = model.model_config.get("json_schema_extra")
    entries = cast("list[dict[str, str]]", extra.get("x-kubernetes-validations", []) if isinstance(extra, dict) else [])
    return tuple((entry["rule"], entry["message"]) for entry in entries if "oldSelf" not in entry["rule"])


DecimalString = Annotated[str, Field(pattern=DECIMAL_PATTERN, max_length=24)]
"""A decimal that is not negative, as a string: "3.99"."""

SignificantString = Annotated[str, Field(pattern=r"^[0-9]{1,12}(\.[0-9]{1,12})?(e-?[0-9]{1,2})?$", max_length=24)]
"""As DecimalString, scientific notation allowed: "6e-4"."""

Quantity = Annotated[str, Field(pattern=QUANTITY_PATTERN, max_length=20)]
"""A Kubernetes quantity: "500m", "2Gi"."""

Name = Annotated[str, Field(pattern=NAME_PATTERN, min_length=1, max_length=63)]
"""A DNS-1123 label."""

ObjectName = Annotated[str, Field(pattern=SUBDOMAIN_PATTERN, min_length=1, max_length=253)]
"""What Kubernetes lets most objects be called: a DNS-1123 subdomain."""

Path = Annotated[str, Field(min_length=1, max_length=1024), URL]
"""A path or URL of a file, or a glob of files."""

Text = Annotated[str, Field(max_length=1024)]


def one_line(limit: int) -> BeforeValidator:
    """Text of others is made one harmless line of at most `limit` characters; anything else is for the field's type to refuse."""
    return BeforeValidator(lambda value: plain(value, limit) if isinstance(value, str) else value)


_SUFFIX = {
    "": Decimal(1), "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15),
    "E": Decimal(10**18), "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40),
    "Pi": Decimal(2**50), "Ei": Decimal(2**60),
}  # fmt: skip
_QUANTITY = re.compile(
    r"[+]?(?P<number>[0-9]{1,32}(?:[.][0-9]{0,32})?|[.][0-9]{1,32})"
    r"(?:[eE](?P<exponent>[+-]?[0-9]{1,2})|(?P<suffix>[numkMGTPE]|[KMGTPE]i)?)"
)


@lru_cache(maxsize=1024)
def parse_quantity(text: str) -> Decimal:
    """Value of a Kubernetes quantity in its base unit (cores, bytes, devices): "500m", "1.1Gi", "20k", "1e3".

    ValueError for what is none, and for a negative one: nobody can request that.
    """
    found = _QUANTITY.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text[:64]!r} is no quantity; it must be a number that is not negative, with a suffix such as m, k or Gi"
        )
    number = Decimal(found["number"])
    return number.scaleb(int(found["exponent"])) if found["exponent"] else number * _SUFFIX[found["suffix"] or ""]


class Rule(BaseModel):
    """One CEL rule of the CRD: the message says what is allowed, as API conventions ask."""

    rule: str
    message: str
    field_path: str | None = None
    optional_old_self: bool = False
    """Asked of new values as well: `oldSelf` is an optional then, which new values have not."""

    def to_dict(self) -> dict[str, Any]:
        """The entry of `x-kubernetes-validations`."""
        entry: dict[str, Any] = {"rule": self.rule, "message": self.message}
        entry |= {"fieldPath": self.field_path} if self.field_path else {}
        return entry | ({"optionalOldSelf": True} if self.optional_old_self else {})


def cel(*rules: Rule) -> dict[str, Any]:
    """`json_schema_extra` that carries CEL rules into the CRD."""
    return {"x-kubernetes-validations": [rule.to_dict() for rule in rules]}
