"""What counts as unchanged where stored items hold defaults that written ones leave out; the models are the oracle."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from llmtrain.api.cel import holds
from llmtrain.api.curation import Curation
from llmtrain.api.evaluation import Evaluation
from llmtrain.api.job import JobSpec
from llmtrain.api.sameness import unchanged
from llmtrain.api.training import Training
from tests.unit.api.rich import applied, filled, rich_spec

MODELS: dict[str, type[BaseModel]] = {"curation": Curation, "training": Training, "evaluation": Evaluation}
FIELDS = [(part, field) for part, model in MODELS.items() for field in model.model_fields]
Path = tuple[str | int, ...]


def rule(part: str, field: str) -> str:
    return unchanged(MODELS[part], field, f"spec.{part}")


def says(part: str, field: str, new: Any, old: Any) -> bool:
    return holds(rule(part, field), {"spec": new}, {"spec": old})


@pytest.mark.parametrize(("part", "field"), FIELDS)
def test_a_default_that_one_side_leaves_out_is_no_change(part: str, field: str) -> None:
    now, stored = applied(rich_spec()), filled(rich_spec())
    assert now != stored
    assert says(part, field, now, stored)
    assert says(part, field, stored, now)
    assert says(part, field, now, now)


def leaves(value: Any, at: Path = ()) -> Iterator[Path]:
    """Every place in lists and objects."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in pairs:
        yield (*at, key)
        yield from leaves(child, (*at, key))


def variants(value: Any) -> list[Any]:
    """Other values of the same kind; `None` stands for nothing at all."""
    if isinstance(value, bool):
        return [not value, None]
    if isinstance(value, int):
        return [value + 1, None]
    if isinstance(value, list):
        return [value[1:], value + value[:1], value[::-1], None]
    if isinstance(value, dict):
        return [None]
    enums = ["FastText", "SequenceClassification", "Auto", "Text", "Rubric", "Pairwise", "Reference", "Cloze", "Linear"]
    return [f"{value}x", "1.5", *enums, None]


def put(spec: dict[str, Any], at: Path, value: Any) -> dict[str, Any]:
    spec = copy.deepcopy(spec)
    target: Any = spec
    for step in at[:-1]:
        target = target[step]
    if value is not None:
        target[at[-1]] = value
    else:
        del target[at[-1]]
    return spec


def parsed(spec: dict[str, Any]) -> JobSpec | None:
    try:
        return JobSpec.model_validate(spec)
    except ValidationError:
        return None


@pytest.mark.parametrize("form", ["written", "stored"])
@pytest.mark.parametrize("part", list(MODELS))
def test_every_change_of_a_value_is_seen_and_nothing_else(part: str, form: str) -> None:
    stored = filled(rich_spec())
    start = applied(rich_spec()) if form == "written" else stored
    before = JobSpec.model_validate(start)
    changes = 0
    for at in [path for path in leaves(start[part], (part,)) if any(isinstance(step, int) for step in path)]:
        field = next(name for name, info in MODELS[part].model_fields.items() if (info.alias or name) == at[1])
        for value in variants(_at(start, at)):
            spec = put(start, at, value)
            after = parsed(spec)
            if after is None:
                continue
            same = getattr(getattr(after, part), field) == getattr(getattr(before, part), field)
            assert says(part, field, spec, stored) is same, (at, value)
            changes += not same
    assert changes > 15


def _at(spec: Any, at: Path) -> Any:
    for step in at:
        spec = spec[step]
    return spec
