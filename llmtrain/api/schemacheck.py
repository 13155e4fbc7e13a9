"""A value against a structural schema, as the apiserver holds it: in its order, with its defaults and in its words.

What is here follows from what kube-apiserver does with custom resources: nulls of fields that are not nullable are dropped,
defaults are filled in, types and bounds are looked at, and rules across fields only where no value was of the wrong kind.
`tests/api` holds causes and words against the real one's.
"""

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from llmtrain.api.cel import CelError, evaluate, found_in

Schema = Mapping[str, Any]
KINDS = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
    type(None): "null",
}


@dataclass(frozen=True)
class Cause:
    """One thing that is wrong: a field and what the apiserver says of it."""

    field: str
    message: str
    blocks: bool = False
    """Whether rules across fields are not asked because of it."""

    def __str__(self) -> str:
        return f"{self.field or '<nil>'}: {self.message}"


def unknown_fields(schema: Schema, value: Any, at: str = "") -> list[str]:
    """Paths of fields that the schema does not have; strict field validation refuses them."""
    if isinstance(value, list):
        items = schema.get("items", {})
        return [path for n, item in enumerate(value) for path in unknown_fields(items, item, f"{at}[{n}]")]
    if not isinstance(value, dict):
        return []
    known, others = schema.get("properties", {}), schema.get("additionalProperties")
    own = [_join(at, name) for name in value if name not in known and others is None]
    parts = [(known.get(name, others), name) for name in value if name in known or others is not None]
    return own + [path for child, name in parts for path in unknown_fields(child, value[name], _join(at, name))]


def filled(schema: Schema, value: Any) -> Any:
    """The value with defaults, and without nulls of fields; as it will be stored."""
    if isinstance(value, list):
        return [filled(schema.get("items", {}), item) for item in value]
    if not isinstance(value, dict):
        return value
    known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
    found = {name: filled(known.get(name, others), part) for name, part in value.items() if part is not None}
    missing = {name: child["default"] for name, child in known.items() if name not in found and "default" in child}
    return found | {name: filled(known[name], copy.deepcopy(default)) for name, default in missing.items()}


def causes(schema: Schema, value: Any, at: str) -> list[Cause]:
    """What is wrong with a value by itself: kinds, bounds, patterns, missing fields."""
    wrong = [*_kind(schema, value, at)]
    if wrong:
        return [*wrong, *_enum(schema, value, at)]
    if isinstance(value, str):
        return [*(_length(schema, value, at) or _pattern(schema, value, at)), *_enum(schema, value, at)]
    if isinstance(value, list):
        below = [cause for n, item in enumerate(value) for cause in causes(schema["items"], item, f"{at}[{n}]")]
        return [*_count(schema, value, at), *below]
    if isinstance(value, dict):
        return [*_fields(schema, value, at)]
    return [*_bounds(schema, value, at)] if not isinstance(value, bool) else []


def broken_rules(schema: Schema, value: Any, at: str) -> Iterator[Cause]:
    """Rules across fields that a new value breaks. Those that compare with the old value are asked of changes alone."""
    for entry in schema.get("x-kubernetes-validations", []):
        if "oldSelf" not in entry["rule"] or entry.get("optionalOldSelf"):
            yield from _rule(entry, value, at)
    if isinstance(value, list):
        for n, item in enumerate(value):
            yield from broken_rules(schema.get("items", {}), item, f"{at}[{n}]")
    if isinstance(value, dict):
        known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
        for name, part in value.items():
            yield from broken_rules(known.get(name, others), part, _join(at, name))


def checked(schema: Schema, value: Any, before: Sequence[Cause] = ()) -> list[Cause]:
    """All that is wrong with a filled-in value, what was found before included."""
    plain = [*before, *causes(schema, value, "")]
    return plain if any(cause.blocks for cause in plain) else [*plain, *broken_rules(schema, value, "")]


def _join(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name


def _kind(schema: Schema, value: Any, at: str) -> Iterator[Cause]:
    """A number of the wrong kind is told in Go's words for it."""
    wanted, kind = schema.get("type"), KINDS[type(value)]
    if kind == wanted:
        return
    if wanted == "integer" and kind not in ("string", "array", "null"):
        wanted, kind = schema["format"], "float64" if kind == "number" else ""
    yield Cause(at, f'Invalid value: "{kind}": {at} in body must be of type {wanted}: "{kind}"', blocks=True)
    if kind == "float64":
        yield Cause("", f'Invalid value: "": Checked value must be of type integer with format {wanted} in {at}')
        yield from _bounds(schema, value, at)


def _length(schema: Schema, value: str, at: str) -> list[Cause]:
    if len(value) > schema.get("maxLength", len(value)):
        return [Cause(at, f"Too long: may not be more than {schema['maxLength']} bytes", blocks=True)]
    if len(value) < schema.get("minLength", 0):
        least = schema["minLength"]
        return [Cause(at, f"Invalid value: {_quoted(value)}: {at} in body should be at least {least} chars long")]
    return []


def _pattern(schema: Schema, value: str, at: str) -> list[Cause]:
    if "pattern" not in schema or found_in(schema["pattern"], value):
        return []
    return [Cause(at, f"Invalid value: {_quoted(value)}: {at} in body should match '{schema['pattern']}'")]


def _enum(schema: Schema, value: Any, at: str) -> Iterator[Cause]:
    allowed = schema.get("enum")
    if allowed is not None and value not in allowed:
        values = ", ".join(map(_quoted, allowed))
        yield Cause(at, f"Unsupported value: {_quoted(value)}: supported values: {values}", blocks=True)


def _bounds(schema: Schema, value: float, at: str) -> Iterator[Cause]:
    """What is no int64 is compared as a float64, and its bound is told as one."""
    for key, beyond, words in (("minimum", -1, "greater"), ("maximum", 1, "less")):
        if key in schema and (value - schema[key]) * beyond > 0:
            bound = type(value)(schema[key])
            told = f"{at} in body should be {words} than or equal to {_in_go(bound)}"
            yield Cause(at, f"Invalid value: {_in_go(value)}: {told}")


def _in_go(number: float) -> str:
    """As Go's `%v` prints it: a float64 with an exponent from a million on and below a ten-thousandth."""
    if isinstance(number, int):
        return str(number)
    exact = Decimal(repr(number)).normalize()
    decimals, exponent = len(exact.as_tuple().digits) - 1, exact.adjusted()
    return f"{number:.{max(0, decimals - exponent)}f}" if -4 <= exponent < 6 else f"{number:.{decimals}e}"


def _count(schema: Schema, value: list[Any], at: str) -> Iterator[Cause]:
    if len(value) < schema.get("minItems", 0):
        yield Cause(at, f"Invalid value: {len(value)}: {at} in body should have at least {schema['minItems']} items")
    yield from _too_many(len(value), schema.get("maxItems"), at)


def _too_many(count: int, most: int | None, at: str) -> Iterator[Cause]:
    if most is not None and count > most:
        yield Cause(at, f"Too many: {count}: must have at most {most} items", blocks=True)


def _fields(schema: Schema, value: dict[str, Any], at: str) -> Iterator[Cause]:
    yield from _too_many(len(value), schema.get("maxProperties"), at)
    for name in schema.get("required", []):
        if name not in value:
            yield Cause(_join(at, name), "Required value", blocks=True)
    known, others = schema.get("properties", {}), schema.get("additionalProperties")
    for name, part in value.items():
        child = known.get(name, others)
        if child is not None:
            yield from causes(child, part, _join(at, name))


def _rule(entry: Mapping[str, Any], value: Any, at: str) -> Iterator[Cause]:
    """One rule's complaint; a scalar is shown, of an object only its kind where the rule cannot be evaluated."""
    try:
        if evaluate(entry["rule"], value) is True:
            return
    except CelError as error:
        yield Cause(at, f'Invalid value: "{KINDS[type(value)]}": {error} evaluating rule: {entry["message"]}')
        return
    shown = "" if isinstance(value, dict | list) or "fieldPath" in entry else f"{_quoted(value)}: "
    yield Cause(f"{at}{entry.get('fieldPath', '')}".removeprefix("."), f"Invalid value: {shown}{entry['message']}")


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
