"""Where manifests differ: each field by its path, with every run's value."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Difference:
    """`values` as JSON, in the order of the runs; empty where the field is absent."""

    path: str
    values: tuple[str, ...]


def differences(specs: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """Fields that have not the same value in all of them, by their paths; items of lists by their `name` where they have one."""
    flat = [dict(_leaves(spec, "")) for spec in specs]
    paths = sorted({path for one in flat for path in one})
    found = [Difference(path, tuple(one.get(path, "") for one in flat)) for path in paths]
    return [each for each in found if len(set(each.values)) > 1]


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key in value:
            yield from _leaves(value[key], f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value and any(isinstance(item, Mapping) for item in value):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{_name(item, index)}]")
    else:
        yield path, json.dumps(value, ensure_ascii=False)


def _name(item: Any, index: int) -> str:
    return str(item.get("name", index)) if isinstance(item, Mapping) else str(index)
