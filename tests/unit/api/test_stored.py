"""Objects that the release before stored are read; what is in Git equals what is stored."""

from collections.abc import Iterator
from typing import Any

import pytest
from llmtrain_operator.observe import read_job

from llmtrain.api.crd import crds
from llmtrain.api.job import JobSpec
from tests.older import older_crds
from tests.unit.api.rich import applied, filled, rich_spec
from tests.unit.operator.scenario import Scenario, job_spec

Schema = dict[str, Any]
WIDER = {
    "LLMTrainingJob.spec.storage.persistentVolumeClaim.claimName",
    "LLMTrainingJob.spec.comparePlans[]",
}
"""Fields whose pattern accepts all that the older one does, and more."""
LEAST, MOST = ("minimum", "minLength", "minItems"), ("maximum", "maxLength", "maxItems", "maxProperties")


def spec_of(crd: Schema) -> Schema:
    found: Schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return found


def fields(schema: Schema, at: str) -> Iterator[tuple[str, Schema]]:
    """Every place of a schema."""
    yield at, schema
    for name, child in schema.get("properties", {}).items():
        yield from fields(child, f"{at}.{name}")
    if "items" in schema:
        yield from fields(schema["items"], f"{at}[]")
    if "additionalProperties" in schema:
        yield from fields(schema["additionalProperties"], f"{at}{{}}")


def everywhere(crds: list[Schema]) -> dict[str, Schema]:
    return {at: s for crd in crds for at, s in fields(spec_of(crd), f"{crd['spec']['names']['kind']}.spec")}


def test_the_apiserver_fills_in_nothing_inside_list_items() -> None:
    """Clients compare lists as a whole: a default there is a difference from Git that never ends."""
    told = 0
    for at, schema in everywhere(crds()).items():
        if "[]." in at:
            assert "default" not in schema, at
            told += "Default: " in schema.get("description", "")
    assert told > 40


def test_whatever_the_release_before_stored_is_read_still() -> None:
    """The models' patterns and bounds hold for stored objects as well: they may only become wider. New rules are CEL's."""
    now = everywhere(crds())
    for at, before in everywhere(older_crds()).items():
        after = now[at]
        assert after["type"] == before["type"], at
        assert "enum" not in after or set(before.get("enum", ["any"])) <= set(after["enum"]), at
        assert set(after.get("required", [])) <= set(before.get("required", [])), at
        assert all(after[key] <= before[key] for key in LEAST if key in after), at
        assert all(after[key] >= before[key] for key in MOST if key in after), at
        assert after.get("pattern") in (before.get("pattern"), None) or at in WIDER, at


def asked_of_every_change(crd: Schema) -> set[str]:
    """Rules of the object and of the spec: the apiserver asks them whatever changes, and spares only values that do not."""
    whole = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return {entry["rule"] for part in (whole, spec_of(crd)) for entry in part.get("x-kubernetes-validations", [])}


def test_no_new_rule_keeps_a_stored_object_from_being_suspended() -> None:
    for before, after in zip(older_crds(), crds(), strict=True):
        new = asked_of_every_change(after) - asked_of_every_change(before)
        assert [rule for rule in new if "oldSelf" not in rule] == []


BREAKS_RULES = {
    "labels": {"x" * 64: "a", "good": "b"},
    "imagePullSecrets": [{"name": "a..b"}],
    "priorityClassName": "a..b",
}


def test_a_stored_job_that_breaks_newer_rules_is_read() -> None:
    job = read_job({"metadata": {"name": "llama-3.1-8b"}, "spec": job_spec() | {"pod": BREAKS_RULES}})
    assert job.invalid == ""
    assert job.spec is not None
    assert dict(job.spec.pod.labels)["good"] == "b"


async def test_its_pods_live_on() -> None:
    run = Scenario()
    await run.turn(3)
    names = run.pods
    for name in names:
        run.cluster.run_pod(name)
    await run.turn()
    run.job["spec"]["pod"] = BREAKS_RULES
    for _ in range(3):
        await run.turn()
    assert run.status.state != "Invalid"
    assert run.pods == names


@pytest.mark.parametrize("form", [rich_spec, lambda: applied(rich_spec()), lambda: filled(rich_spec())])
def test_the_operator_reads_the_same_whether_defaults_are_written_or_not(form: Any) -> None:
    assert JobSpec.model_validate(form()) == JobSpec.model_validate(filled(rich_spec()))
