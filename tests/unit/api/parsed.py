"""Parts of a manifest as the apiserver would take them, without the object around them."""

from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel

from llmtrain.api.admission import ManifestError
from llmtrain.api.crd import structural
from llmtrain.api.schemacheck import Cause, Schema, checked, filled, unknown_fields

Parsed = TypeVar("Parsed", bound=BaseModel)


def parse_manifest(model: type[Parsed], raw: Any) -> Parsed:
    """The model of a manifest's part, held against the part's schema. ManifestError as `admitted`."""
    schema = _structural(model)
    stored = filled(schema, raw)
    found = [Cause(path, "unknown field") for path in unknown_fields(schema, raw)] or checked(schema, stored)
    if found:
        raise ManifestError(f"The {model.__name__} is invalid:", found)
    return model.model_validate(stored)


@cache
def _structural(model: type[BaseModel]) -> Schema:
    return structural(model)
