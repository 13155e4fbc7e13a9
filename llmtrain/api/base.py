"""Field types that the three resources share.

Kubernetes' API conventions rule out floats: decimals are strings with a pattern, and every list, string and
number has a bound, without which the apiserver refuses CEL rules as too costly.
"""

import re
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from llmtrain.api.urls import URL
from llmtrain.text import plain

DECIMAL_PATTERN = r"^[0-9]{1,12}(\.[0-9]{1,9})?$"
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
SUBDOMAIN_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
QUANTITY_PATTERN = r"^[0-9]{1,9}(\.[0-9]{1,3})?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"


class Wire(BaseModel):
    """Base of every API object: camelCase on the wire, unknown fields refused."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, defer_build=True
    )

    def to_dict(self) -> dict[str, Any]:
        """Wire form: camelCase names, fields that are None left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def duplicate(self) -> Self:
        """A deep copy by way of plain values, in half the time that copying each of them takes."""
        return self.model_validate(self.model_dump())


class Model(Wire):
    """Base of what people write. Rules across fields are the CRD's, asked by the apiserver and, without one, by `admission`."""

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Itself, for it is frozen: a manifest that leaves parts out shares their defaults, of which each had a copy of its own."""
        return self


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


def exactly_one(first: str, second: str) -> Rule:
    """Of two fields, by their wire names."""
    return Rule(
        rule=f"has(self.{first}) != has(self.{second})",
        message=f"exactly one of `{first}` and `{second}` must be set",
    )


def cel(*rules: Rule) -> dict[str, Any]:
    """`json_schema_extra` that carries CEL rules into the CRD."""
    return {"x-kubernetes-validations": [rule.to_dict() for rule in rules]}
