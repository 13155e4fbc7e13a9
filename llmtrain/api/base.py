"""Field types that the three resources share.

Kubernetes' API conventions rule out floats: decimals are strings with a pattern, and every list, string and
number has a bound, without which the apiserver refuses CEL rules as too costly.
"""

from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

DECIMAL_PATTERN = r"^[0-9]{1,12}(\.[0-9]{1,9})?$"
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
QUANTITY_PATTERN = r"^[0-9]{1,9}(\.[0-9]{1,3})?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"


class Model(BaseModel):
    """Base of every API object: camelCase on the wire, unknown fields refused."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)

    def to_dict(self) -> dict[str, Any]:
        """Wire form: camelCase names, fields that are None left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


DecimalString = Annotated[str, Field(pattern=DECIMAL_PATTERN, max_length=24)]
"""A decimal that is not negative, as a string: "3.99"."""

SignificantString = Annotated[str, Field(pattern=r"^[0-9]{1,12}(\.[0-9]{1,12})?(e-?[0-9]{1,2})?$", max_length=24)]
"""As DecimalString, scientific notation allowed: "6e-4"."""

Quantity = Annotated[str, Field(pattern=QUANTITY_PATTERN, max_length=20)]
"""A Kubernetes quantity: "500m", "2Gi"."""

Name = Annotated[str, Field(pattern=NAME_PATTERN, min_length=1, max_length=63)]
"""A DNS-1123 label."""

Path = Annotated[str, Field(min_length=1, max_length=1024)]
"""A path or URL of a file, or a glob of files."""

Text = Annotated[str, Field(max_length=1024)]

_SUFFIX = {
    "": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50,
}  # fmt: skip


def parse_quantity(text: str) -> Decimal:
    """Value of a Kubernetes quantity in its base unit (cores, bytes)."""
    number = text.rstrip("mkMGTPi")
    suffix = text[len(number) :]
    if suffix == "m":
        return Decimal(number) / 1000
    return Decimal(number) * _SUFFIX[suffix]


class Rule(BaseModel):
    """One CEL rule of the CRD: the message says what is allowed, as API conventions ask."""

    rule: str
    message: str
    field_path: str | None = None

    def to_dict(self) -> dict[str, str]:
        """The entry of `x-kubernetes-validations`."""
        entry = {"rule": self.rule, "message": self.message}
        return entry | ({"fieldPath": self.field_path} if self.field_path else {})


def cel(*rules: Rule) -> dict[str, Any]:
    """`json_schema_extra` that carries CEL rules into the CRD."""
    return {"x-kubernetes-validations": [rule.to_dict() for rule in rules]}
