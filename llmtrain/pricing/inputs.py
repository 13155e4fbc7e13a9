"""What a person hands in: manifests and numbers from text, with messages that name the field."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from llmtrain.api.admission import BUILDERS, admitted
from llmtrain.api.base import DECIMAL_PATTERN
from llmtrain.api.job import JobSpec
from llmtrain.api.kubeyaml import documents
from llmtrain.api.plan import PlanSpec
from llmtrain.cost.errors import InputError

M = TypeVar("M", bound=BaseModel)
QUOTED = 'must be a decimal in quotes and not negative, for example "3.99"'


@dataclass(frozen=True)
class Manifests:
    """Jobs and plans by name, as they were read."""

    jobs: Mapping[str, JobSpec]
    plans: Mapping[str, PlanSpec]


def read_manifests(text: str) -> Manifests:
    """All LLMTrainingJobs and ComputePlans of a YAML or JSON text; other kinds are passed over.

    ManifestError where the apiserver would refuse one of ours, InputError where kubectl could not read the text.
    """
    found = [doc for document in yaml_documents(text) for doc in objects(document)]
    return read_stored([admitted(body) for body in found if str(body.get("kind")) in BUILDERS])


def read_stored(bodies: Sequence[Mapping[str, Any]]) -> Manifests:
    """Objects of ours as a cluster has them: what it has let in is read, whichever rules have come since."""
    return Manifests(_of_kind(bodies, "LLMTrainingJob", JobSpec), _of_kind(bodies, "ComputePlan", PlanSpec))


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


def _of_kind(bodies: Sequence[Mapping[str, Any]], kind: str, model: type[M]) -> dict[str, M]:
    found: dict[str, M] = {}
    for body in bodies:
        if body.get("kind") == kind:
            name = body["metadata"].get("name") or body["metadata"].get("generateName", "")
            found[name] = validated(model, body.get("spec"), f"{kind} `{name}`, spec")
    return found


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
