"""The manifest reference, from the CRDs that are installed."""

import json
from collections.abc import Iterator
from typing import Any

from llmtrain.api import crd

Schema = dict[str, Any]
BOUNDS = (
    ("minimum", "at least {}"), ("maximum", "at most {}"), ("minLength", "{} characters or more"),
    ("maxLength", "{} characters or fewer"), ("minItems", "{} entries or more"), ("maxItems", "{} entries or fewer"),
)  # fmt: skip


def page() -> str:
    """All resources."""
    parts = [
        "# Manifests\n\nEvery field of every resource. `kubectl explain llmjob.spec` says the same on your cluster.\n"
    ]
    for body in crds():
        names, version = body["spec"]["names"], body["spec"]["versions"][0]
        schema = version["schema"]["openAPIV3Schema"]
        scope = "Namespaced" if body["spec"]["scope"] == "Namespaced" else "Cluster-scoped"
        short = f", short name `{names['shortNames'][0]}`" if names.get("shortNames") else ""
        parts.append(
            f"## {names['kind']}\n\n{schema['description']}\n\n{scope}{short}, `{body['spec']['group']}/{version['name']}`.\n"
        )
        for part in ("spec", "status"):
            if part in schema["properties"]:
                parts.append(f"### {names['kind']}.{part}\n\n{table(schema['properties'][part])}")
    return "\n".join(parts)


def crds() -> list[Schema]:
    """What the chart installs."""
    return [crd.job_crd(), crd.plan_crd(), crd.budget_crd()]


def table(schema: Schema) -> str:
    """Fields with their type, default, what is allowed and what they are for; rules across fields below."""
    rows = [
        f"| `{path}` | {kind(field)} | {default(field)} | {describe(field)} |" for path, field in fields(schema, "")
    ]
    head = "| field | type | default | what it is |\n|---|---|---|---|\n"
    rules = [f"- {rule['message']}" for rule in all_rules(schema)]
    below = "\n\nRules across fields:\n\n" + "\n".join(dict.fromkeys(rules)) if rules else ""
    return head + "\n".join(rows) + below + "\n"


def fields(schema: Schema, prefix: str) -> Iterator[tuple[str, Schema]]:
    """Every field below a schema, by its path."""
    required = set(schema.get("required", []))
    for name, field in schema.get("properties", {}).items():
        path = f"{prefix}{name}"
        yield path, {**field, "required-here": name in required}
        yield from fields(field, f"{path}.")
        if "items" in field:
            yield from fields(field["items"], f"{path}[].")


def kind(field: Schema) -> str:
    """Type in a word."""
    if field["type"] == "array":
        return f"list of {field['items']['type']}s"
    if field["type"] == "object" and "additionalProperties" in field:
        return f"map of {field['additionalProperties']['type']}s"
    return str(field["type"])


def default(field: Schema) -> str:
    """Default, or that there must be a value."""
    if "default" in field and not isinstance(field["default"], dict):
        return f"`{json.dumps(field['default'], ensure_ascii=False)}`".replace("|", "\\|")
    told = crd.DEFAULT_TOLD.search(field.get("description", ""))
    if told:
        return f"`{told[1]}`".replace("|", "\\|")
    return "required" if field["required-here"] else ""


def describe(field: Schema) -> str:
    """What it is for, and what is allowed."""
    allowed = []
    if "enum" in field:
        allowed.append(", ".join(f"`{value}`" for value in field["enum"]))
    allowed += [text.format(field[key]) for key, text in BOUNDS if key in field]
    if "pattern" in field:
        allowed.append(f"pattern `{field['pattern']}`".replace("|", "\\|"))
    text = crd.DEFAULT_TOLD.sub("", field.get("description", "")).replace("|", "\\|").replace("\n", " ")
    return text + (f" ({'; '.join(allowed)})" if allowed else "")


def all_rules(schema: Schema) -> Iterator[dict[str, str]]:
    """CEL rules of a schema and of everything below it."""
    yield from schema.get("x-kubernetes-validations", [])
    for field in schema.get("properties", {}).values():
        yield from all_rules(field)
    if "items" in schema:
        yield from all_rules(schema["items"])
