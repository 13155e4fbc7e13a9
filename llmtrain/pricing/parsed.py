"""Text that a person hands in as parsed values, with messages that name the field."""

from collections.abc import Sequence
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from llmtrain.api.base import DECIMAL_PATTERN
from llmtrain.api.kubeyaml import documents
from llmtrain.cost.errors import InputError

M = TypeVar("M", bound=BaseModel)
QUOTED = 'must be a decimal in quotes and not negative, for example "3.99"'


def yaml_documents(text: str) -> list[Any]:
    """The documents of a YAML text, read as kubectl does. InputError where it is none."""
    try:
        return documents(text)
    except yaml.YAMLError as error:
        raise InputError("(file)", f"is no YAML: {error}") from error


def single_object(text: str, where: str, what: str) -> dict[str, Any]:
    """The only object in a YAML or JSON text. InputError says of `where` that it must be `what`."""
    found = yaml_documents(text)
    if len(found) != 1 or not isinstance(found[0], dict):
        raise InputError(where, f"must be {what}")
    return found[0]


def objects(document: Any) -> list[dict[str, Any]]:
    """The items of a List, else the document alone; what is no object is none."""
    listed = isinstance(document, dict) and str(document.get("kind", "")).endswith("List")
    found = (document.get("items") or []) if listed else [document]
    return [body for body in found if isinstance(body, dict)]


def validated(model: type[M], value: Any, path: str) -> M:
    """A model from parsed text; InputError names the first field that is wrong."""
    try:
        return model.model_validate({} if value is None else value)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(_path(path, first["loc"]), _said(first)) from error


def _path(start: str, location: Sequence[int | str]) -> str:
    return (start + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)).lstrip(".")


def _said(error: Any) -> str:
    kind, given = error["type"], error.get("input")
    if kind == "missing":
        return "must be set"
    if kind == "extra_forbidden":
        return "is no field of this object"
    if kind == "string_type" or (error.get("ctx") or {}).get("pattern") == DECIMAL_PATTERN:
        return f"{QUOTED}, not {given!r}"
    return f"{error['msg']}, not {given!r}"
