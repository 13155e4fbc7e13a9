"""Structural CRDs from the pydantic models.

`python -m llmtrain.api.crd --write DIR` writes them as chart templates and, beside this file, the schemas that the
commands hold a manifest against; `--check DIR` says whether both are current. A keyword that a structural schema does
not know is an error here, not a surprise at installation.
"""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from llmtrain.api import GROUP, VERSION
from llmtrain.api.base import Rule
from llmtrain.api.job import JobSpec
from llmtrain.api.kubeyaml import Dumper
from llmtrain.api.plan import PlanSpec
from llmtrain.api.planstatus import PlanStatus
from llmtrain.api.status import JobStatus
from llmtrain.api.trainingbudget import TrainingBudgetSpec, TrainingBudgetStatus
from llmtrain.api.transitions import transition_rules

Schema = dict[str, Any]
SCHEMAS = Path(__file__).with_name("schemas.json")
ALLOWED = {
    "type", "description", "properties", "required", "items", "additionalProperties", "enum", "pattern", "default",
    "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "maxProperties", "format", "nullable",
    "x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
}  # fmt: skip
DROPPED = {"title", "$defs"}
DEFAULT_TOLD = re.compile(r" Default: `([^`]+)`\.$")
"""End of the description of a field whose default is told and not filled in."""
NAME_RULE = Rule(
    rule="oldSelf.hasValue() || "
    "(size(self.metadata.name) <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$'))",
    message="`metadata.name` must be a DNS-1035 label of no more than 40 characters: lower-case letters, digits and '-', "
    "a letter first, no '-' last; Services and pods are named after it",
    optional_old_self=True,
).to_dict()
"""For new jobs alone: a stored one whose name is older than the rule can be suspended, settled and deleted."""
JOB_COLUMNS = [
    ("Stage", "string", ".status.stage", 0),
    ("State", "string", ".status.state", 0),
    ("GPUs", "integer", ".status.accelerators", 0),
    ("Cost", "string", ".status.ledger.costUsd", 0),
    ("Cost now", "string", ".status.ledger.costNowUsd", 1),
    ("Forecast", "string", ".status.forecast.usd.p50", 1),
    ("Budget", "string", ".spec.budget.limitUsd", 0),
    ("ETA", "string", ".status.forecast.eta", 1),
    ("Reason", "string", ".status.conditions[?(@.type=='Progressing')].reason", 1),
    ("Age", "date", ".metadata.creationTimestamp", 0),
]
PLAN_COLUMNS = [
    ("Tenure", "string", ".spec.tenure", 0),
    ("Accelerator", "string", ".spec.accelerator.product", 0),
    ("USD/accelerator-hour", "string", ".status.usdPerAcceleratorHour", 0),
    ("USD/core-hour", "string", ".status.usdPerCoreHour", 0),
    ("USD/GiB-hour", "string", ".status.usdPerGibHour", 1),
    ("Marginal", "string", ".status.marginalUsdPerAcceleratorHour", 1),
    ("Priced", "string", ".status.conditions[?(@.type=='Priced')].status", 0),
    ("Fresh", "string", ".status.conditions[?(@.type=='PriceFresh')].status", 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
]
BUDGET_COLUMNS = [
    ("Period", "string", ".spec.period", 0),
    ("Limit", "string", ".spec.limitUsd", 0),
    ("Spent", "string", ".status.spentUsd", 0),
    ("Reserved", "string", ".status.reservedUsd", 0),
    ("Available", "string", ".status.availableUsd", 0),
    ("OnBreach", "string", ".spec.onBreach", 1),
    ("Age", "date", ".metadata.creationTimestamp", 0),
]


def structural(model: type[BaseModel]) -> Schema:
    """The structural schema of a model; no defaults inside list items."""
    return _told_in_items(_converted(model))


def _converted(model: type[BaseModel]) -> Schema:
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _convert(schema, schema.get("$defs", {}))


def _convert(node: Schema, definitions: Schema) -> Schema:
    node = _resolve(node, definitions)
    result: Schema = {}
    for key, value in node.items():
        if key in DROPPED or (key == "default" and value is None):
            continue
        if key == "additionalProperties":
            if isinstance(value, dict):
                result[key] = _convert(value, definitions)
        elif key == "properties":
            result[key] = {name: _convert(child, definitions) for name, child in value.items()}
        elif key == "items":
            result[key] = _convert(value, definitions)
        elif key == "default":
            result[key] = _pruned(value)
        else:
            result[key] = value
    return _finish(result)


def _without_defaults(node: Schema) -> Schema:
    """A status says what is so; the apiserver is not to fill it up with zeros that were left out."""
    return _mapped(node, lambda each: {key: value for key, value in each.items() if key != "default"})


def _told_in_items(node: Schema) -> Schema:
    """Inside a list item a default is told, not filled in: clients compare lists as a whole and would see a change for ever."""
    if "items" in node:
        return node | {"items": _mapped(node["items"], _default_told)}
    if "properties" in node:
        return node | {"properties": {name: _told_in_items(child) for name, child in node["properties"].items()}}
    return node


def _default_told(node: Schema) -> Schema:
    if "default" not in node:
        return node
    text = f"{node.get('description', '')} Default: `{json.dumps(node['default'], ensure_ascii=False)}`."
    return {key: part for key, part in node.items() if key != "default"} | {"description": text.strip()}


def _mapped(node: Schema, change: Callable[[Schema], Schema]) -> Schema:
    """The schema with every node below it, and itself, changed."""
    nested = {key: node[key] for key in ("items", "additionalProperties") if isinstance(node.get(key), dict)}
    result = change(node) | {key: _mapped(value, change) for key, value in nested.items()}
    if "properties" in node:
        result["properties"] = {name: _mapped(child, change) for name, child in node["properties"].items()}
    return result


def _pruned(default: Any) -> Any:
    """A default without nulls: what is optional is absent, not null."""
    if isinstance(default, dict):
        return {key: _pruned(value) for key, value in default.items() if value is not None}
    return default


def _resolve(node: Schema, definitions: Schema) -> Schema:
    """Follow references and drop the null of what is optional; what stands beside the reference wins."""
    options = [option for option in node.get("anyOf", []) if option != {"type": "null"}]
    if "anyOf" in node:
        if len(options) != 1:
            raise ValueError(f"a union is no structural schema: {node}")
        node = {key: value for key, value in node.items() if key != "anyOf"} | _without(options[0], node)
    if "$ref" in node:
        target = _resolve(definitions[node["$ref"].rsplit("/", 1)[1]], definitions)
        node = target | {key: value for key, value in node.items() if key != "$ref"}
    return node


def _without(option: Schema, node: Schema) -> Schema:
    return {key: value for key, value in option.items() if key not in node or key == "$ref"}


def _finish(node: Schema) -> Schema:
    if "maxItems" in node and node.get("type") == "object":
        node["maxProperties"] = node.pop("maxItems")
    if node.get("type") == "integer" and "format" not in node:
        node["format"] = "int64"
    unknown = set(node) - ALLOWED
    if unknown:
        raise ValueError(f"keywords {sorted(unknown)} are not allowed in a structural schema: {node}")
    return node


def job_crd() -> Schema:
    """LLMTrainingJob."""
    return _crd(
        "LLMTrainingJob", ["llmjob"], "Namespaced", JobSpec, JobStatus, JOB_COLUMNS, [NAME_RULE, *transition_rules()]
    )


def plan_crd() -> Schema:
    """ComputePlan."""
    return _crd("ComputePlan", [], "Cluster", PlanSpec, PlanStatus, PLAN_COLUMNS, [])


def budget_crd() -> Schema:
    """TrainingBudget."""
    return _crd("TrainingBudget", [], "Namespaced", TrainingBudgetSpec, TrainingBudgetStatus, BUDGET_COLUMNS, [])


def crds() -> list[Schema]:
    """All resources."""
    return [job_crd(), plan_crd(), budget_crd()]


def _crd(
    kind: str,
    short: list[str],
    scope: str,
    spec: type[BaseModel],
    status: type[BaseModel],
    columns: list[tuple[str, str, str, int]],
    rules: list[dict[str, str]],
) -> Schema:
    plural = kind.lower() + "s"
    schema: Schema = {
        "type": "object",
        "description": f"{(spec.__doc__ or '').strip()}",
        "required": ["spec"],
        "properties": {"spec": structural(spec), "status": _without_defaults(_converted(status))},
    }
    if rules:
        schema["x-kubernetes-validations"] = rules
    printed = [{"name": n, "type": t, "jsonPath": p} | ({"priority": r} if r else {}) for n, t, p, r in columns]
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
        "additionalPrinterColumns": printed,
    }
    names: Schema = {"kind": kind, "plural": plural, "singular": kind.lower(), "categories": ["llm"]}
    if short:
        names["shortNames"] = short
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {"group": GROUP, "scope": scope, "names": names, "versions": [version]},
    }


def template(crd: Schema) -> str:
    """The CRD as a chart template: switched by `crds.enabled`, kept on uninstall by `crds.keep`."""
    text = yaml.dump(crd, Dumper=Dumper, sort_keys=False, width=118, allow_unicode=True)
    keep = "  {{- if .Values.crds.keep }}\n  annotations:\n    helm.sh/resource-policy: keep\n  {{- end }}\n"
    name = f"  name: {crd['metadata']['name']}\n"
    escaped = text.replace("{{", "{{ `{{` }}")
    body = escaped.replace(name, f"{name}{keep}", 1)
    note = "# Generated by python -m llmtrain.api.crd; do not edit.\n"
    return f"{{{{- if .Values.crds.enabled }}}}\n{note}{body}{{{{- end }}}}\n"


def schemas() -> str:
    """The schemas by kind as JSON, without descriptions: to build them takes a command 0.3 s, to read them 5 ms."""
    by_kind = {
        crd["spec"]["names"]["kind"]: _mapped(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], _undescribed)
        for crd in crds()
    }
    return json.dumps(by_kind, ensure_ascii=False, indent=1) + "\n"


def _undescribed(node: Schema) -> Schema:
    return {key: value for key, value in node.items() if key != "description"}


def files(folder: Path) -> dict[Path, str]:
    """What is generated: the chart's templates in `folder` and the schemas of this package, by path."""
    return {folder / f"{crd['spec']['names']['plural']}.yaml": template(crd) for crd in crds()} | {SCHEMAS: schemas()}


def main() -> None:
    """Write or check."""
    mode, folder = sys.argv[1], Path(sys.argv[2])
    if mode == "--print":
        print(yaml.dump_all(crds(), Dumper=Dumper))
        return
    stale = {path: text for path, text in files(folder).items() if not path.exists() or path.read_text() != text}
    if mode == "--check" and stale:
        sys.exit(f"{', '.join(path.name for path in stale)} are not what the models say; run: make generate")
    for path, text in stale.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
