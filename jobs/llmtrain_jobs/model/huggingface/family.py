"""What a family is: what it demands of our config, its own config, and how its tensors are named and packed."""

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from annotated_types import Le
from torch import Tensor

from llmtrain.api.model import Architecture
from llmtrain_jobs.errors import bad_input
from llmtrain_jobs.model.config import ModelConfig

FIELDS = {
    "norm": "norm.kind",
    "placement": "norm.placement",
    "activation": "activation.kind",
    "gated": "activation.gated",
    "feed_forward": "feedForward",
    "head_width": "headWidth",
    "key_value_heads": "keyValueHeads",
    "tied": "tiedEmbeddings",
    "positions": "positions.kind",
    "query_key_norm": "queryKeyNorm",
    "sliding_window": "slidingWindow",
    "embedding_norm": "embeddingNorm",
    "logit_soft_cap": "logitSoftCap",
}
"""Our attributes by the names that users know, where they differ by more than case."""

Config = dict[str, Any]
MOST_SHOWN = 100
"""Characters of a value in a message."""
MOST = 2**31 - 1


@dataclass(frozen=True)
class Entry:
    """One tensor of theirs and those of ours that it is made of. `{i}` stands for the layer."""

    theirs: str
    ours: tuple[str, ...]
    pack: Callable[[Sequence[Tensor], ModelConfig], Tensor]
    unpack: Callable[[Tensor, ModelConfig], Sequence[Tensor]]


@dataclass(frozen=True)
class Family:
    """One family. `requires` lists the values of our config that it can express, by attribute.

    `also` names what else is wrong; `to_config` and `from_config` translate, the latter raising BadInput for what ours
    cannot express; `entries` are the tensors of a config; `prefix` is what checkpoints of the bare model lack.
    """

    name: str
    model_type: str
    prefix: str
    requires: Mapping[str, tuple[Any, ...]]
    also: Callable[[ModelConfig], list[str]]
    to_config: Callable[[ModelConfig], Config]
    from_config: Callable[[Config], ModelConfig]
    entries: Callable[[ModelConfig], list[Entry]]

    def refusals(self, config: ModelConfig) -> list[str]:
        """Why this family cannot be exactly our model; empty: it can."""
        wrong = [
            f"`{FIELDS.get(name, name)}` is {_shown(getattr(config, name))}, {self.name} has "
            f"{' or '.join(_shown(value) for value in allowed)}"
            for name, allowed in self.requires.items()
            if getattr(config, name) not in allowed
        ]
        return wrong + self.also(config)


def _shown(value: Any) -> str:
    return str(value.value) if isinstance(value, Enum) else str(value).lower()


def same(theirs: str, ours: str) -> Entry:
    """One tensor as it is."""
    return Entry(theirs, (ours,), lambda parts, _: parts[0], lambda whole, _: [whole])


def transposed(theirs: str, ours: str) -> Entry:
    """One matrix that they keep as (inputs, outputs)."""
    return Entry(theirs, (ours,), lambda parts, _: parts[0].t(), lambda whole, _: [whole.t()])


def layered(entries: Sequence[Entry], layers: int) -> list[Entry]:
    """The entries of every block."""
    return [
        Entry(e.theirs.format(i=i), tuple(ours.format(i=i) for ours in e.ours), e.pack, e.unpack)
        for i in range(layers)
        for e in entries
    ]


def with_bias(make: Callable[[str, str], Entry], theirs: str, ours: str, bias: bool) -> list[Entry]:
    """A weight, and its bias where it has one."""
    weight = make(f"{theirs}.weight", f"{ours}.weight")
    return [weight, same(f"{theirs}.bias", f"{ours}.bias")] if bias else [weight]


def require(given: Config, family: str, allowed: Mapping[str, tuple[Any, ...]]) -> None:
    """Each of these keys is absent or has one of the values; BadInput names the others."""
    for key, values in allowed.items():
        if given.get(key, values[0]) not in values:
            wanted = " or ".join("absent" if value is None else repr(value) for value in values)
            raise bad_input(f"config.json: `{key}` is {shown(given[key])}; for {family} to be read it must be {wanted}")


def whole(given: Config, key: str, field: str = "") -> int:
    """A number that must be there, from 1 to what a job may have in this field; BadInput names the key."""
    value, most = _there(given, key), _most(field) if field else MOST
    if type(value) is not int or not 1 <= value <= most:
        raise bad_input(f"config.json: `{key}` is {shown(value)}; it must be a whole number from 1 to {most}")
    return int(value)


def real(given: Config, key: str, above: float = -math.inf, most: float = sys.float_info.max) -> float:
    """A finite number above a bound, up to another, that must be there; BadInput names the key."""
    value = _there(given, key)
    if type(value) not in (int, float) or not above < value <= most:
        bounds = f"above {above:g}, at most {most:g}"
        raise bad_input(f"config.json: `{key}` is {shown(value)}; it must be a finite number {bounds}")
    return float(value)


def flag(given: Config, key: str) -> bool:
    """True or false; BadInput names the key."""
    value = _there(given, key)
    if type(value) is not bool:
        raise bad_input(f"config.json: `{key}` is {shown(value)}; it must be true or false")
    return bool(value)


def _most(field: str) -> int:
    """Largest value of a field of `spec.model.architecture`."""
    bounds: Iterator[Any] = (mark.le for mark in Architecture.model_fields[field].metadata if isinstance(mark, Le))
    return int(next(bounds))


def _there(given: Config, key: str) -> Any:
    if given.get(key) is None:
        raise bad_input(f"config.json: `{key}` is missing")
    return given[key]


def shown(value: Any) -> str:
    """A value of a config for people, cut short."""
    text = repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."
