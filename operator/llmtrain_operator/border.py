"""The border: what a tenant, a pod or an older object says is parsed here, by bounded models, before anything rests on it.

Labels, annotations, termination messages and answers of `/progress` belong to the tenant; a status or a plan may have been
written by another version, or by hand. A part that does not fit is left out, the rest is used. Each rejection costs one
log line, one count and one event on the object it is about, until it changes. It touches nobody else.
"""

import copy
import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from types import GenericAlias
from typing import Annotated, Any, Generic, Required, TypeVar, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import from_json
from typing_extensions import TypedDict

from llmtrain.api.base import one_line
from llmtrain.api.stageconfig import Result
from llmtrain.api.status import Line, Progress, Stage, Word
from llmtrain.text import plain

log = logging.getLogger("llmtrain.operator")
LONGEST_SECONDS = 10 * 366 * 86400
"""No attempt lasts ten years."""
LARGEST_COUNT = 10**15
"""Of documents, tokens or questions."""
MOST_WORKERS = 4096
ROUNDS = 8
"""Times that parts are left out of an input before all of it is."""
REMEMBERED = 10_000
"""Rejections that are known, so that none is told twice."""


class Kind(StrEnum):
    """What was rejected: the values of the counter's label `kind`."""

    POD = "pod"
    """A pod that does not have the shape of one, or a time in it."""
    LABELS = "labels"
    """Labels, owner or name of a pod that carries our finalizer or label."""
    PRICE = "price"
    """A pod's price or power annotation."""
    LAST_WORDS = "last-words"
    """A termination message."""
    PROGRESS = "progress"
    """An answer of `/progress`."""
    JOB_STATUS = "job-status"
    PLAN = "plan"
    BUDGET = "budget"
    LEDGER = "ledger"
    NODE = "node"
    WRITE = "write"
    """A status of ours that the apiserver found out of bounds."""


@dataclass(frozen=True)
class Rejection:
    """A part of an input that is not used, and why; `why` is one line."""

    kind: Kind
    why: str


@dataclass
class Rejections:
    """The counter behind `llmtrain_operator_rejected_input_total`, and what was told already."""

    counts: Counter[str] = field(default_factory=Counter)
    _told: dict[tuple[str, str], str] = field(default_factory=dict)

    def count(self, kind: str) -> None:
        """Count one rejection; `kind` is a value of Kind."""
        self.counts[Kind(kind).value] += 1

    def note(self, kind: Kind, where: str, why: str) -> bool:
        """Count and log a rejection, unless the same was told of this object last. Whether it is news.

        `where` names the object and its uid, `why` the field and what is allowed.
        """
        key, text = (kind.value, where), plain(why)
        if self._told.get(key) == text:
            return False
        self._told.pop(key, None)
        self._told[key] = text
        if len(self._told) > REMEMBERED:
            del self._told[next(iter(self._told))]
        self.count(kind)
        log.warning("rejected %s of %s: %s", kind.value, plain(where), text)
        return True


class Bounded(BaseModel):
    """Base of what is read at the border: what is not known is ignored, nothing is infinite."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True, allow_inf_nan=False)


def _whole(value: Any) -> Any:
    """Seconds without their fraction; what is not finite is for the field's type to refuse."""
    return int(value) if isinstance(value, float) and abs(value) < LARGEST_COUNT else value


Number = Annotated[str, Field(max_length=32), one_line(32)]
Folder = Annotated[
    str, Field(max_length=253, pattern=r"^(?:[A-Za-z0-9_][A-Za-z0-9._=-]*(?:/[A-Za-z0-9_][A-Za-z0-9._=-]*)*)?$")
]
"""Key of an artifact or folder of a checkpoint: nothing that leads out of the job's own folders."""
Seconds = Annotated[float, Field(ge=0, le=LONGEST_SECONDS, allow_inf_nan=False)]
WholeSeconds = Annotated[int, Field(ge=0, le=LONGEST_SECONDS), BeforeValidator(_whole)]
Count = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]
Scores = Annotated[dict[Word, Word], Field(max_length=32)]
ManyScores = Annotated[dict[Word, Word], Field(max_length=256)]


class LastWords(Result):
    """The termination message of a head, within what a status may hold."""

    model_config = ConfigDict(extra="ignore")

    outcome: Word
    reason: Word = ""
    message: Line = ""
    artifact: Folder = ""
    existing: dict[Stage, Folder] = Field({})
    checkpoint: Folder = ""
    scores: ManyScores = Field({})
    working_seconds: Seconds = 0.0
    redone_seconds: Seconds = 0.0
    checkpoint_seconds: Seconds = 0.0


def _speed(value: Any) -> Any:
    """Tokens per second by which time is divided: a plain positive number, or nothing."""
    if isinstance(value, str) and value and not (re.fullmatch(r"\d{1,12}(\.\d{1,9})?", value) and float(value) >= 1e-3):
        raise ValueError("is no number from 0.001 to 10^12")
    return value


def _members(value: Any) -> Any:
    """Ranges of worker indices that are few enough to be spelled out."""
    parts = re.findall(r"\d+", value) if isinstance(value, str) else []
    if isinstance(value, str) and not re.fullmatch(r"(\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*)?", value, re.ASCII):
        raise ValueError("is no list of indices such as 0-3,5")
    if any(int(part) >= MOST_WORKERS for part in parts):
        raise ValueError(f"has an index above {MOST_WORKERS - 1}")
    return value


def _share(value: Any) -> Any:
    """A share by which time is divided: a plain number from 0 to 1, or nothing."""
    if isinstance(value, str) and value and not re.fullmatch(r"0(\.\d{1,9})?|1(\.0{1,9})?", value, re.ASCII):
        raise ValueError("is no number from 0 to 1")
    return value


class Told(Progress):
    """An answer of `/progress`, within what a status may hold."""

    done: Count = 0
    total: Count = 0
    unit: Word = ""
    share: Annotated[Number, BeforeValidator(_share)] = ""
    loss: Number = ""
    tokens_per_second: Annotated[Number, BeforeValidator(_speed)] = ""
    mfu: Number = ""
    checkpoint: Folder = ""
    detail: Line = ""
    working_seconds: WholeSeconds = 0
    redone_seconds: WholeSeconds = 0
    checkpoint_seconds: WholeSeconds = 0
    save_seconds: WholeSeconds = 0
    group: Annotated[Line, BeforeValidator(_members)] = ""
    evaluated_tokens: Count = 0
    scores: Scores = Field({})


Parsed = TypeVar("Parsed", bound=BaseModel)
Path = tuple[Any, ...]
"""Keys and indices that lead to a part."""
Part = tuple[Path, Any]
"""A part that was left out: where it was, and what it was."""
MISSING = object()


@dataclass(frozen=True)
class Read(Generic[Parsed]):
    """What could be read of an input, None where nothing could, and what was left out of it; empty where nothing was."""

    value: Parsed | None
    flaws: str = ""
    rest: Any = None
    """The input less what was left out."""
    removed: tuple[Part, ...] = ()
    """Path and value of each part that was left out."""


def read_text(model: type[Parsed], text: str | bytes) -> Read[Parsed]:
    """Parse JSON of others; nothing that it says is raised."""
    try:
        raw = from_json(
            text.encode(errors="replace") if isinstance(text, str) else text
        )  # it stops at a depth of 200, and at a number of 4,300 digits
    except ValueError as error:
        return Read(None, plain(f"is no JSON: {error}", 253))
    return read(model, raw)


def read(model: type[Parsed], raw: Any) -> Read[Parsed]:
    """Parse what others wrote: parts that do not fit are left out, as few as possible."""
    removed: list[Part] = []
    flaws: list[str] = []
    for _ in range(ROUNDS):
        try:
            return Read(model.model_validate(raw), plain("; ".join(flaws)), raw, tuple(removed))
        except ValidationError as error:
            faults = {
                tuple(fault["loc"]): fault["msg"] for fault in error.errors(include_input=False, include_url=False)
            }
        flaws += [plain(f"`{'.'.join(map(str, path))}` {words}", 253) for path, words in list(faults.items())[:8]]
        raw = copy.deepcopy(raw)
        gone = [(path, _pop(raw, path)) for path in _parts(raw, faults)]
        if not gone:
            break
        removed += gone
    return Read(None, plain("; ".join(flaws)), raw, tuple(removed))


NAMED: Any = TypedDict
"""Made of a model's fields, which a type checker cannot follow."""


def checker(model: type[BaseModel]) -> TypeAdapter[Any]:
    """What accepts exactly what the model does, and makes no objects of it, which takes three times as long.

    For what is checked thousands of times a minute, and read as it is. The model's config is that of `Bounded`.
    """
    return TypeAdapter(_shape_of(model))


def _shape_of(kind: Any) -> Any:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        parts = {name: _part_of(part) for name, part in kind.model_fields.items()}
        shape = NAMED(kind.__name__, parts, total=False)
        shape.__pydantic_config__ = kind.model_config
        return shape
    return GenericAlias(list, (_shape_of(get_args(kind)[0]),)) if get_origin(kind) is list else kind


def _part_of(part: FieldInfo) -> Any:
    inner = _shape_of(part.annotation)
    kind = Annotated[(inner, *part.metadata)] if part.metadata else inner
    return Required[kind] if part.is_required() else kind


def why_not(error: ValidationError, prefix: str = "") -> str:
    """The fields that were refused and what is allowed, as one line; `prefix` is where they are in their object."""
    faults = error.errors(include_input=False, include_url=False)[:8]
    return plain("; ".join(f"`{prefix}{'.'.join(map(str, fault['loc']))}`: {fault['msg']}" for fault in faults))


def _parts(raw: Any, faults: Iterable[Path]) -> list[Path]:
    """The smallest parts that there are around the faults, none within another; of a list from its end, so that places stay."""
    found = {path[: _depth(raw, path)] for path in faults} - {()}
    outer = [path for path in found if not any(path[:length] in found for length in range(1, len(path)))]
    return sorted(outer, key=lambda path: [(isinstance(step, int), str(step).zfill(12)) for step in path], reverse=True)


def _depth(raw: Any, path: Path) -> int:
    """How many steps of a path lead somewhere."""
    here, depth = raw, 0
    while depth < len(path) and (here := _child(here, path[depth])) is not MISSING:
        depth += 1
    return depth


def _pop(raw: Any, path: Path) -> Any:
    here = raw
    for step in path[:-1]:
        here = here[step]
    return here.pop(path[-1])


def _child(here: Any, step: str | int) -> Any:
    """What is one step further, or MISSING."""
    if isinstance(here, dict):
        return here.get(step, MISSING)
    there = isinstance(here, list) and isinstance(step, int) and -1 < step < len(here)
    return here[step] if there else MISSING


def put_back(raw: Any, removed: Sequence[Part]) -> None:
    """Put parts that were left out by `read` where they were; they replace defaults, and what was around them is made anew."""
    for path, value in reversed(removed):
        here = raw
        for step, after in pairwise(path):
            if isinstance(here, dict):
                here = here.setdefault(step, [] if isinstance(after, int) else {})
            else:
                here = _child(here, step)
        last = path[-1]
        if isinstance(here, list) and isinstance(last, int):
            here.insert(last, value)
        elif isinstance(here, dict):
            here[last] = value
