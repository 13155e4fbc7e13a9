"""When a part of a job is what it was, as CEL over `self` and `oldSelf`.

A plain `==` will not do for lists. The schema has no defaults inside list items, where every client that compares lists as
a whole would take them for a change, but jobs that were stored while it had them keep them. So an absent field of an item
is compared as its default.
"""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo


def unchanged(model: type[BaseModel], field: str, where: str) -> str:
    """The field of the model that lies at `where` is what it was; one that may be absent is compared only where both have it."""
    return _field(model.model_fields[field], field, f"self.{where}", f"oldSelf.{where}")


def _field(info: FieldInfo, field: str, new: str, old: str) -> str:
    name = info.alias or field
    new, old = f"{new}.{name}", f"{old}.{name}"
    equal = _equal(info.annotation, new, old)
    if info.is_required() or info.default is not None:
        return equal
    return f"has({new}) == has({old}) && (!has({new}) || {equal})"


def _equal(annotation: Any, new: str, old: str) -> str:
    """Equal as a whole, which costs least and is most often so; else part by part where items have defaults."""
    whole = f"{new} == {old}"
    listed, model = _model_of(annotation)
    if model is None or not (_has_default(model) if listed else _lists_defaults(model)):
        return whole
    parts = _items(model, new, old) if listed else _fields(model, new, old)
    return f"({whole} || ({' && '.join(parts)}))"


def _fields(model: type[BaseModel], new: str, old: str) -> Iterator[str]:
    for field, info in model.model_fields.items():
        yield f"({_field(info, field, new, old)})"


def _items(model: type[BaseModel], new: str, old: str) -> Iterator[str]:
    """One comparison a leaf: `map` keeps number and order of the items."""
    for leaf in _leaves(model, "x", ""):
        yield f"{new}.map(x, {leaf}) == {old}.map(x, {leaf})"


def _leaves(model: type[BaseModel], item: str, there: str) -> Iterator[str]:
    """Every value of an item, an absent one as its default; `there` says that the item is.

    No optionals: of their values the apiserver knows no largest size, and refuses the rule as too costly.
    """
    for field, info in model.model_fields.items():
        path = f"{item}.{info.alias or field}"
        has = there if info.is_required() else f"{there}has({path}) && "
        listed, inner = _model_of(info.annotation)
        if inner is None:
            yield _scalar(info, path, has)
        elif listed:
            yield from (_or(has, f"{path}.map(y, {leaf})", "[]") for leaf in _leaves(inner, "y", ""))
        else:
            yield has.removesuffix(" && ")
            yield from _leaves(inner, path, has)


def _scalar(info: FieldInfo, path: str, has: str) -> str:
    """A number, a text, or a list of them; where it may be absent without a default, a list of one or none."""
    if info.is_required() and not has:
        return path
    if info.is_required() or info.default is None:
        return _or(has, f"[{path}]", "[]")
    return _or(has, path, json.dumps(info.get_default(call_default_factory=True)))


def _or(has: str, value: str, instead: str) -> str:
    return f"{has.removesuffix(' && ')} ? {value} : {instead}" if has else value


def _model_of(annotation: Any) -> tuple[bool, type[BaseModel] | None]:
    """Whether it is a list, and the model that it holds, if any."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return False, annotation
    if get_origin(annotation) is list:
        return True, _model_of(get_args(annotation)[0])[1]
    if get_origin(annotation) is dict:
        return False, None
    found = [_model_of(part) for part in get_args(annotation)]
    return next((each for each in found if each[1] is not None), (False, None))


@cache
def _has_default(model: type[BaseModel]) -> bool:
    """Whether a field at any depth has one."""
    inner = (_model_of(info.annotation)[1] for info in model.model_fields.values())
    own = any(not info.is_required() and info.default is not None for info in model.model_fields.values())
    return own or any(_has_default(each) for each in inner if each is not None)


@cache
def _lists_defaults(model: type[BaseModel]) -> bool:
    """Whether a list below has items with a default."""
    found = (_model_of(info.annotation) for info in model.model_fields.values())
    return any((_has_default if listed else _lists_defaults)(inner) for listed, inner in found if inner is not None)
