"""Whatever a job names and its pods mount, the admission policy `own-rights` asks whether its author may read it.

The schema of the CRD is walked: a new reference that the policy does not name fails here.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmtrain.api.cel import compile_rule
from llmtrain.api.crd import structural
from llmtrain.api.job import JobSpec
from tests.unit.operator.scenario import job_spec

POLICY = Path(__file__).parents[3] / "charts/llmtrain/templates/admissionpolicies.yaml"
KINDS = {"secret": "secrets", "configmap": "configMaps"}


def references(node: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of the objects with a name, or the strings, that speak of a Secret or ConfigMap; `[]` is a list's item."""
    for name, child in node.get("properties", {}).items():
        inner, where = child.get("items", child), (*path, name, *(["[]"] if "items" in child else []))
        if any(kind in name.lower() for kind in KINDS):
            yield where
        else:
            yield from references(inner, where)


def with_reference(path: tuple[str, ...], name: str) -> dict[str, Any]:
    """A job in which this one reference is set."""
    spec: Any = job_spec()
    at: Any = spec
    for step, following in zip(path, (*path[1:], ""), strict=True):
        if step == "[]":
            at.append({"name": name})
        elif step == path[-1]:
            at[step] = {"name": name}
        else:
            at[step] = at.get(step, [] if following == "[]" else {})
            at = at[step]
    return {"object": {"spec": spec}}


def named(variable: str, job: dict[str, Any]) -> list[str]:
    """What the policy's variable holds for a job."""
    found = re.search(rf"- name: {variable}\n      expression: >-\n((?:        .*\n)+)", POLICY.read_text())
    assert found, f"the policy has no variable `{variable}`"
    result: list[str] = compile_rule(" ".join(found[1].split()))(job)
    return result


ALL = sorted(references(structural(JobSpec)))


@pytest.mark.parametrize("path", ALL, ids=".".join)
def test_a_reference_of_the_schema_is_asked_for(path: tuple[str, ...]) -> None:
    kind = next(kind for word, kind in KINDS.items() if word in [step for step in path if step != "[]"][-1].lower())
    assert named(kind, with_reference(path, "mine")) == ["mine"]
    others = [other for other in KINDS.values() if other != kind]
    assert [named(other, with_reference(path, "mine")) for other in others] == [[]]


def test_the_walk_finds_what_is_known_to_be_there() -> None:
    assert ("evaluation", "judge", "apiKeySecretRef") in ALL
    assert ("pod", "imagePullSecrets", "[]") in ALL
    assert len(ALL) >= 6


def test_a_job_without_references_asks_for_nothing() -> None:
    job = {"object": {"spec": job_spec()}}
    assert [named(kind, job) for kind in KINDS.values()] == [[], []]
