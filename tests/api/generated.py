"""Manifests made from the CRD's schema: a valid one of which parts are made anew, well or badly."""

import copy
from typing import Any

from hypothesis import strategies as st

Schema = dict[str, Any]
Path = tuple[str | int, ...]
WRONG: list[Any] = [True, 1, -1, 0, 1.5, 10**20, "", "x", "1", "true", "-1", "x" * 5000, [], {}, [1], {"a": 1}]


def value_of(schema: Schema) -> st.SearchStrategy[Any]:
    """What the schema alone accepts, near its bounds as well as in their midst."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema["type"]
    if kind == "object":
        return _object(schema)
    if kind == "array":
        least = schema.get("minItems", 0)
        return st.lists(value_of(schema["items"]), min_size=least, max_size=min(least + 2, schema.get("maxItems", 9)))
    if kind == "integer":
        low, high = schema.get("minimum", 0), schema.get("maximum", 2**31)
        return st.one_of(st.sampled_from([low, high]), st.integers(low, min(high, low + 64)), st.integers(low, high))
    if kind == "boolean":
        return st.booleans()
    return _string(schema)


def _string(schema: Schema) -> st.SearchStrategy[str]:
    longest, shortest = schema.get("maxLength", 64), schema.get("minLength", 0)
    if "pattern" in schema:
        alphabet = st.characters(min_codepoint=32, max_codepoint=126)
        made = st.from_regex(schema["pattern"], fullmatch=True, alphabet=alphabet)
        return made.filter(lambda text: shortest <= len(text) <= longest)
    return st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=shortest, max_size=min(longest, 12))


def _object(schema: Schema) -> st.SearchStrategy[Any]:
    if "additionalProperties" in schema:
        keys = st.from_regex(r"[a-z][a-z.-]{0,8}[a-z]", fullmatch=True)
        return st.dictionaries(keys, value_of(schema["additionalProperties"]), max_size=2)
    required = set(schema.get("required", []))
    parts = {name: value_of(child) for name, child in schema.get("properties", {}).items()}
    chosen = {name: part for name, part in parts.items() if name not in required}
    return st.fixed_dictionaries({name: parts[name] for name in sorted(required)}, optional=chosen)


def paths(schema: Schema, value: Any, at: Path = ()) -> list[tuple[Path, Schema]]:
    """Every place of the schema that the value has, or could have one level further."""
    found: list[tuple[Path, Schema]] = []
    if schema.get("type") == "object" and isinstance(value, dict):
        for name, child in schema.get("properties", {}).items():
            found.append(((*at, name), child))
            if name in value:
                found += paths(child, value[name], (*at, name))
    if schema.get("type") == "array" and isinstance(value, list):
        for number, item in enumerate(value):
            found.append(((*at, number), schema["items"]))
            found += paths(schema["items"], item, (*at, number))
    return found


def put(value: Any, at: Path, new: Any) -> Any:
    """The value with another one at this place."""
    value = copy.deepcopy(value)
    target = value
    for step in at[:-1]:
        target = target.setdefault(step, {}) if isinstance(target, dict) else target[step]
    target[at[-1]] = new
    return value


def without(value: Any, at: Path) -> Any:
    value = copy.deepcopy(value)
    target = value
    for step in at[:-1]:
        target = target[step]
    if isinstance(target, dict):
        target.pop(at[-1], None)
    return value


@st.composite
def specs(draw: st.DrawFn, schema: Schema, start: Any) -> Any:
    """A valid spec with one to three parts made anew, or one of them made badly."""
    value = draw(st.sampled_from(start))
    for _ in range(draw(st.integers(1, 3))):
        at, part = draw(st.sampled_from(paths(schema, value)))
        value = put(value, at, draw(value_of(part)))
    return draw(st.one_of(st.just(value), broken(schema, value)))


@st.composite
def broken(draw: st.DrawFn, schema: Schema, value: Any) -> Any:
    """A value of the wrong kind, a field that is missing, or one that nobody knows; a few turn out well."""
    at, _ = draw(st.sampled_from(paths(schema, value)))
    how = draw(st.sampled_from(["wrong", "missing", "unknown"]))
    if how == "wrong":
        return put(value, at, draw(st.sampled_from(WRONG)))
    if how == "missing":
        return without(value, at)
    return (
        put(value, (*at[:-1], draw(st.sampled_from(["unknown", "Name", "run_deadline_seconds"]))), 1)
        if isinstance(at[-1], str)
        else without(value, at)
    )
