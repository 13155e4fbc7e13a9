"""The last resort of a status write: what the CRD's schema refuses is cut until it fits.

Every part is bounded where it comes in; should one slip through all the same, the bill is written without it rather than
not at all.
"""

import re
from functools import cache
from typing import Any

from llmtrain.api.crd import crds
from llmtrain.text import plain
from llmtrain_operator.client import Object

LOWEST, HIGHEST = -(2**63), 2**63 - 1
KINDS: dict[str, type] = {"string": str, "boolean": bool, "integer": int, "object": dict, "array": list}
NOTHING = object()
"""There is no value that fits."""


@cache
def status_schema() -> Object:
    """The schema of a job's status as this version's CRD has it."""
    body = next(crd for crd in crds() if crd["spec"]["names"]["kind"] == "LLMTrainingJob")
    schema: Object = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    return schema


def fitted_status(status: Object) -> Object:
    """The status without what the schema refuses: texts cut, numbers moved within their bounds, the rest left out."""
    found = fitted(status, status_schema())
    return found if isinstance(found, dict) else {}


def fitted(value: Any, schema: Object) -> Any:
    """The value as the schema allows it, or NOTHING."""
    kind = schema.get("type")
    if kind in KINDS and (not isinstance(value, KINDS[kind]) or (isinstance(value, bool) and kind != "boolean")):
        return NOTHING
    if "enum" in schema and value not in schema["enum"]:
        return NOTHING
    match kind:
        case "string":
            text = plain(value, schema.get("maxLength", len(value)))
            return text if re.search(schema.get("pattern", ""), text) else NOTHING
        case "integer":
            least, most = schema.get("minimum", LOWEST), schema.get("maximum", HIGHEST)
            return min(max(value, least, LOWEST), most, HIGHEST)
        case "array":
            items = [part for each in value if (part := fitted(each, schema["items"])) is not NOTHING]
            return items[: schema.get("maxItems", len(items))]
        case "object":
            return _fitted_object(value, schema)
    return value


def _fitted_object(value: Object, schema: Object) -> Any:
    """Properties that the schema does not know stay: the apiserver prunes them itself."""
    named, others = schema.get("properties", {}), schema.get("additionalProperties")
    found = {}
    for key, each in list(value.items())[: schema.get("maxProperties", len(value))]:
        inner = named.get(key, others)
        part = fitted(each, inner) if isinstance(inner, dict) else each
        if part is not NOTHING:
            found[key] = part
    return NOTHING if any(key not in found for key in schema.get("required", [])) else found
