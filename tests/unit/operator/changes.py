"""Every field of a manifest, changed in every phase of a job, and changed back.

The fields are those of the models: a new one is found by itself. Values are tried by type until the models and the CRD's rules take
one; where none is taken, the walk fails and asks for a value in VALUES.
"""

import copy
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, cast, get_args, get_origin

from llmtrain_operator.budget_release import BUDGETS
from llmtrain_operator.recent import PLANS
from llmtrain_operator.reconcile import JOBS
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from llmtrain.api.admission import ManifestError
from llmtrain.api.base import Model
from llmtrain.api.cel import holds
from llmtrain.api.job import JobSpec
from llmtrain.api.plan import PlanSpec
from llmtrain.api.trainingbudget import TrainingBudgetSpec
from llmtrain.api.transitions import FROZEN_WHEN_STARTED, OWN_RULES, WRITES_STATUS, transition_rules
from tests.unit.api.parsed import parse_manifest
from tests.unit.operator.scenario import CPU_PLAN, GPU_PLAN, Scenario, cluster, job_spec

Object = dict[str, Any]
Path = tuple[str, ...]
ABSENT = object()
TURNS, SECONDS = 3, 7
"""Turns before and after the change is taken back, and how far apart: so that no deadline passes."""

JOB = job_spec() | {
    "image": "jobs:1",
    "pod": {"labels": {"team": "a"}, "env": [{"name": "A", "value": "1"}]},
    "budget": {"limitUsd": "5000", "warnAtShare": ["0.9"]},
    "retry": {"limit": 10, "rules": [{"exitCode": 3, "action": "Fail"}]},
    "preflight": {"cluster": {"planRef": {"name": "cpu"}}},
    "evaluation": {
        "cluster": cluster("gpu", 1, 1),
        "tasks": [{"name": "held-out", "perplexity": {}}],
        "duringTraining": {
            "everyTokens": 1000,
            "planRef": {"name": "cpu"},
            "evaluators": {"cpu": "1", "memory": "1Gi"},
        },
    },
}
SPARE = "spare"
"""A plan like `gpu`, to change to."""
BASES: dict[str, tuple[type[Model], Object]] = {
    "job": (JobSpec, JOB),
    "plan": (
        PlanSpec,
        GPU_PLAN
        | {
            "accelerator": {"product": "H100-SXM-80GB"},
            "placement": {"nodeSelector": {"pool": "a"}},
            "priceStaleAfterDays": 90,
        },
    ),
    "budget": (TrainingBudgetSpec, {"limitUsd": "90000", "onBreach": "Suspend", "warnAtShare": ["0.5"]}),
}
VALUES: dict[tuple[str, Path], Any] = {
    ("job", ("comparePlans",)): ["cpu"],
    ("job", ("budget", "warnAtShare")): ["0.8"],
    ("job", ("evaluation", "baseline")): {"artifact": "0123456789abcdef"},
    ("job", ("evaluation", "require")): [{"metric": "held-out/bits_per_byte", "atMost": "9"}],
    ("job", ("evaluation", "duringTraining", "tasks")): ["held-out"],
    ("job", ("evaluation", "duringTraining", "require")): [{"metric": "held-out/bits_per_byte", "atMost": "9"}],
    ("budget", ("warnAtShare",)): ["0.8"],
    ("plan", ("allowedNamespaces",)): {"matchLabels": {"kubernetes.io/metadata.name": "team-a"}},
}
AT_ONCE = {
    ("job", ("suspend",)): "to suspend and to go on is an attempt more",
    ("job", ("training", "tokens")): "may only be raised",
}
"""Fields whose change cannot be taken back."""
NOT_ALONE = {
    ("job", ("storage", "s3")): "instead of the volume",
    ("plan", ("tenure",)): "with `owned` or `rented`",
    ("plan", ("owned",)): "instead of `rented`",
}
"""Fields that exclude what the base has: no manifest with them alone is valid."""


@dataclass(frozen=True)
class Change:
    """One field of one object, and another value that it may have. ABSENT: the field is taken out."""

    kind: str
    path: Path
    value: Any

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.kind} {'.'.join(self.path)}{' taken out' if self.value is ABSENT else ''}"


@cache
def changes() -> tuple[Change, ...]:
    """One or two a field: another value, and none where it may be left out."""
    return tuple(change for kind, (model, base) in BASES.items() for change in _of_model(kind, model, base, ()))


def _of_model(kind: str, model: type[BaseModel], base: Object, at: Path) -> Iterator[Change]:
    for name, info in model.model_fields.items():
        path = (*at, info.alias or name)
        if (kind, path) in AT_ONCE or (kind, path) in NOT_ALONE or _is_frozen(kind, path):
            continue
        present = base.get(path[-1], ABSENT)
        inner = _inner(info)
        if inner is not None and present is not ABSENT:
            yield from _of_model(kind, inner, present, path)
        elif inner is not None and info.default is not None and not info.is_required():
            yield from _of_model(kind, inner, {}, path)
        else:
            yield Change(kind, path, _another(kind, path, info, present))
        if present is not ABSENT and not info.is_required() and _fits(kind, path, ABSENT):
            yield Change(kind, path, ABSENT)


def _is_frozen(kind: str, path: Path) -> bool:
    """Refused once the job has started, by the rules that `tests/api` holds against the apiserver."""
    if kind != "job" or path[0] in FROZEN_WHEN_STARTED:
        return kind == "job"
    return path[0] in ("curation", "training") and len(path) == 2 and path[1] not in OWN_RULES[path[0]]


def _inner(info: FieldInfo) -> type[BaseModel] | None:
    """The model that a field holds, itself or where it is set."""
    kinds = [info.annotation, *get_args(info.annotation)] if get_origin(info.annotation) is not list else []
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _another(kind: str, path: Path, info: FieldInfo, present: Any) -> Any:
    if (kind, path) in VALUES:
        return VALUES[(kind, path)]
    before = present if present is not ABSENT else info.default
    for value in _candidates(info, before):
        if value != before and _fits(kind, path, value):
            return value
    raise AssertionError(f"{kind} {'.'.join(path)}: no value is taken; VALUES needs one")


def _candidates(info: FieldInfo, before: Any) -> Iterator[Any]:
    if isinstance(before, bool):
        yield not before
    elif isinstance(before, int):
        yield from (before * 2, before + 1_000_000, before + 10_000, before + 1, max(0, before - 1))
    yield from _of_type(info.annotation)


def _of_type(kind: Any) -> Iterator[Any]:
    """Values of a type, those first that change least of what happens: long, dear, another."""
    arguments = get_args(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield from _instances(kind)
    elif get_origin(kind) is list:
        yield from ([item] for item in _of_type(arguments[0]))
    elif get_origin(kind) is dict:
        yield from ({key: value} for key in ("a", "example.com/a", "en") for value in _of_type(arguments[1]))
    elif isinstance(kind, type) and issubclass(kind, StrEnum):
        yield from (member.value for member in kind)
    elif kind is bool:
        yield from (True, False)
    elif kind is int:
        yield from (100_000, 5_000, 64, 8, 2, 1)
    elif kind is str:
        yield from STRINGS
    for one in arguments if get_origin(kind) not in (list, dict) else ():
        if one is not type(None):
            yield from _of_type(one)


STRINGS = (
    SPARE,
    "9999",
    "0.5",
    "0.9",
    "3",
    "640m",
    "6Gi",
    "b",
    "b.jsonl",
    "http://other/v1",
    "2026-01-01",
    "b/c",
    "a/b/c",
    "en",
    "Exists",
)


def _instances(model: type[BaseModel]) -> Iterator[Object]:
    """Of required fields alone; then with one of the others each."""
    first = {
        info.alias or name: next(_of_type(info.annotation))
        for name, info in model.model_fields.items()
        if info.is_required()
    }
    choices = [first]
    for name, info in model.model_fields.items():
        values = list(_of_type(info.annotation))[:16]
        choices += [first | {info.alias or name: value} for value in values]
    yield from choices


def with_value(base: Object, path: Path, value: Any) -> Object:
    """The manifest with the field changed."""
    body = copy.deepcopy(base)
    inside = body
    for name in path[:-1]:
        inside = inside.setdefault(name, {})
    if value is ABSENT:
        inside.pop(path[-1], None)
    else:
        inside[path[-1]] = value
    return body


def _fits(kind: str, path: Path, value: Any) -> bool:
    model, base = BASES[kind]
    return _valid(model, with_value(base, path, value))


def _valid(model: type[Model], body: Object) -> bool:
    try:
        parse_manifest(model, body)
    except (ManifestError, ValidationError):
        return False
    return True


def accepted(change: Change, run: Scenario) -> bool:
    """Whether the apiserver would take it in the job's present phase: only jobs have rules for that."""
    if change.kind != "job":
        return True
    bodies = (run.job["spec"], with_value(run.job["spec"], change.path, change.value))
    status = {"status": run.job["status"]} if run.job.get("status") else {}
    old, new = ({"spec": JobSpec.model_validate(body).to_dict()} | status for body in bodies)
    changed = [rule["rule"].removeprefix(f"{WRITES_STATUS} || ") for rule in transition_rules()]
    own = [
        rule["rule"]
        for rule in cast("dict[str, Any]", JobSpec.model_config["json_schema_extra"])["x-kubernetes-validations"]
    ]
    return all(holds(rule, new, old) for rule in changed) and all(holds(rule, new["spec"], old["spec"]) for rule in own)


# The job in its phases


async def _new() -> Scenario:
    run = Scenario()
    run.job["spec"] = copy.deepcopy(BASES["job"][1])
    run.cluster.objects[(PLANS, "", "gpu")]["spec"] = copy.deepcopy(BASES["plan"][1])
    run.cluster.add(PLANS, {"metadata": {"name": SPARE}, "spec": CPU_PLAN})
    run.cluster.add(
        BUDGETS, {"metadata": {"name": "research", "namespace": "team-a"}, "spec": copy.deepcopy(BASES["budget"][1])}
    )
    await run.run_stage()
    await run.run_stage()
    return run


async def _starting() -> Scenario:
    run = await _new()
    await run.until_pods()
    await run.turn(3)
    return run


async def _running() -> Scenario:
    run = await _starting()
    for name in run.pods:
        run.cluster.run_pod(name)
    run.cluster.tick(60)
    await run.turn(2)
    return run


async def _pending() -> Scenario:
    run = await _new()
    del run.cluster.objects[(PLANS, "", "gpu")]
    run.cluster.tick(10)
    await run.turn(3)
    return run


async def _stopping() -> Scenario:
    run = await _running()
    run.cluster.end_pod(
        "gpt-trn-1-head", 70, json.dumps({"outcome": "Failed", "failureClass": "Internal", "message": "x"})
    )
    await run.turn(3)
    return run


async def _backoff() -> Scenario:
    run = await _running()
    for number in (1, 2, 3, 4):
        run.cluster.end_pod(
            f"gpt-trn-{number}-head", 70, json.dumps({"outcome": "Failed", "failureClass": "Internal", "message": "x"})
        )
        await run.drain()
        if number < 4:
            run.cluster.tick(300)
            await run.run_pods()
    return run


async def _suspended() -> Scenario:
    run = await _running()
    run.job["spec"]["suspend"] = True
    await run.drain()
    return run


async def _finished() -> Scenario:
    run = await _running()
    run.end_head()
    await run.drain()
    await run.run_stage()
    await run.turn(3)
    return run


PHASES: dict[str, Callable[[], Any]] = {
    "pending": _pending,
    "starting": _starting,
    "running": _running,
    "stopping": _stopping,
    "suspended": _suspended,
    "backoff": _backoff,
    "finished": _finished,
}
KEYS = {"job": (JOBS, "team-a", "gpt"), "plan": (PLANS, "", "gpu"), "budget": (BUDGETS, "team-a", "research")}


async def some_turns(run: Scenario) -> None:
    for _ in range(TURNS):
        await run.turn()
        run.cluster.tick(SECONDS)


async def to_a_full_write(run: Scenario) -> None:
    """The running bill is written once a minute; and pods that were made anew have waited for long enough to be told of."""
    await run.turn(2)
    run.cluster.tick(200)
    await run.turn(2)


async def changed_and_reverted(start: Scenario, change: Change | None) -> Scenario:
    """From the phase on: the change, turns, its opposite, turns."""
    run = copy.deepcopy(start)
    key = KEYS[change.kind] if change else KEYS["job"]
    there = run.cluster.objects.get(key)
    before = copy.deepcopy(there["spec"]) if there else None
    if change and there:
        there["spec"] = with_value(there["spec"], change.path, change.value)
        there["metadata"]["resourceVersion"] = str(next(run.cluster._numbers))
    await some_turns(run)
    there = run.cluster.objects.get(key)
    if change and there:
        there["spec"] = before
        there["metadata"]["resourceVersion"] = str(next(run.cluster._numbers))
    await some_turns(run)
    await to_a_full_write(run)
    return run


def picture(run: Scenario) -> Object:
    """Status, pods, budget and bills, without times, without random names and without how often the manifest was written."""
    pods = {pod["metadata"]["name"]: _pod(pod) for pod in run.cluster.of("api/v1/pods")}
    budget = run.cluster.objects[KEYS["budget"]].get("status") or {}
    others = [key[2] for key in run.cluster.objects if key[0] not in ("api/v1/events", "api/v1/pods")]
    whole = {"status": run.job.get("status"), "pods": pods, "budget": budget, "objects": others}
    text = re.sub(r"-[0-9a-f]{8}-token", "-token", json.dumps(_timeless(whole)))
    found: Object = json.loads(text)
    found["objects"].sort()
    return found


def renumbered(found: Object) -> Object:
    """The same, whichever attempt it is that waits for its pods, without those that were given up for a change before it."""
    found = copy.deepcopy(found)
    found["status"]["history"] = [one for one in found["status"].get("history", []) if one["reason"] != "ChangePending"]
    found["status"]["stages"][2].pop("attempt")
    entries = [one for one in found["status"]["ledger"]["entries"] if one.get("billedSeconds")]
    found["status"]["ledger"]["entries"] = entries
    found = json.loads(re.sub(r"gpt-trn-[0-9]+", "gpt-trn-N", json.dumps(found)))
    for pod in found["pods"].values():
        pod["labels"].pop("llmtrain.dev/attempt")
    return found


def _pod(pod: Object) -> Object:
    meta = pod["metadata"]
    return {
        "labels": meta["labels"],
        "annotations": meta["annotations"],
        "spec": pod["spec"],
        "deleted": "deletionTimestamp" in meta,
    }


FORGOTTEN = {
    "observedGeneration",
    "generation",
    "since",
    "updateTime",
    "planResourceVersion",
    "nonce",
    "template",
    "uid",
}


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if k not in FORGOTTEN and not k.endswith("Time")}
    if isinstance(value, list):
        return [_timeless(one) for one in value]
    if isinstance(value, str) and value.startswith("{"):
        return _timeless(json.loads(value))
    return value


def differences(one: Any, other: Any, at: str = "") -> list[str]:
    """Where two pictures differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted({*one, *other})
        return [line for key in keys for line in differences(one.get(key), other.get(key), f"{at}.{key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [
            line for n, pair in enumerate(zip(one, other, strict=True)) for line in differences(*pair, f"{at}[{n}]")
        ]
    return [] if one == other else [f"{at}: {str(one)[:120]} instead of {str(other)[:120]}"]


async def deviations(phase: str, tried: Iterable[Change]) -> tuple[list[str], int]:
    """Changes after which the job is not what it would be without them, and how many were accepted at all."""
    start = await PHASES[phase]()
    untouched = picture(await changed_and_reverted(start, None))
    found, count = list[str](), 0
    for change in tried:
        if accepted(change, start):
            count += 1
            touched = picture(await changed_and_reverted(start, change))
            anew = phase == "starting" and touched["status"]["stages"][2]["attempt"] > 1
            lines = differences(renumbered(touched), renumbered(untouched)) if anew else differences(touched, untouched)
            found += [f"{phase}, {change.name}: {line}" for line in lines[:4]]
    return found, count
