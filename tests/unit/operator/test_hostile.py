"""No JSON at all, wherever a tenant, a pod, another version or a hand may write it, ends a turn, a sweep, a look or a scrape."""

import asyncio
import itertools
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llmtrain_operator.border import Told, read_text
from llmtrain_operator.budget_release import BUDGETS
from llmtrain_operator.client import ApiError, Object
from llmtrain_operator.fitting import fitted_status
from llmtrain_operator.guard import Guard, Loop
from llmtrain_operator.memory import Memory
from llmtrain_operator.metrics import register_all
from llmtrain_operator.orphans import Sweeper
from llmtrain_operator.recent import PLANS
from llmtrain_operator.reconcile import JOBS, Outlook
from llmtrain_operator.snapshots import Snapshots
from llmtrain_operator.upkeep import Upkeep
from prometheus_client import CollectorRegistry, generate_latest

from llmtrain.api.crd import crds
from llmtrain.api.status import Progress
from tests.unit.operator.booked import ledgers
from tests.unit.operator.fake_cluster import FakeCluster, clone
from tests.unit.operator.scenario import Scenario

PODS = "api/v1/pods"
LOWEST, HIGHEST = -(2**63), 2**63 - 1


def status_schema() -> Object:
    """The status of a job as the generated CRD has it."""
    body = next(each for each in crds() if each["spec"]["names"]["kind"] == "LLMTrainingJob")
    schema: Object = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    return schema


KINDS: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "boolean": (bool,),
}


def refusals(schema: Object, value: Any, path: str = "status") -> Iterator[str]:
    """What an apiserver would refuse of a value, by the few keywords that structural schemas here have."""
    kind = schema.get("type", "")
    if kind and (not isinstance(value, KINDS[kind]) or (kind == "integer" and isinstance(value, bool))):
        yield f"{path}: {value!r} is no {kind}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r} is not supported"
    if isinstance(value, str):
        if len(value) > schema.get("maxLength", len(value)):
            yield f"{path}: longer than {schema['maxLength']}"
        if not re.search(schema.get("pattern", ""), value):
            yield f"{path}: {value!r} does not match {schema['pattern']}"
        if value.encode(errors="replace").decode() != value:
            yield f"{path}: is no UTF-8"
    if isinstance(value, int) and not max(LOWEST, schema.get("minimum", LOWEST)) <= value <= HIGHEST:
        yield f"{path}: {value} does not fit"
    most = schema.get("maxItems" if isinstance(value, list) else "maxProperties")
    if isinstance(value, list | dict) and most is not None and len(value) > most:
        yield f"{path}: too many"
    if isinstance(value, list):
        for part in value:
            yield from refusals(schema["items"], part, f"{path}[]")
    if isinstance(value, dict):
        yield from (f"{path}.{key}: is required" for key in schema.get("required", []) if key not in value)
        for key, part in value.items():
            inner = schema.get("properties", {}).get(key) or schema.get("additionalProperties")
            if isinstance(inner, dict):
                yield from refusals(inner, part, f"{path}.{key}")


STATUS = status_schema()


class Checked(FakeCluster):
    """Refuses a status that the CRD refuses, and keeps why."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: list[str] = []

    async def get(self, resource: str, namespace: str, name: str, not_before: str = "") -> Object | None:
        return await super().get(resource, namespace, name, not_before) if name else {"metadata": {}, "items": []}

    def _write(self, write: Callable[[], Any]) -> Any:
        """What no apiserver could store, this one cannot change."""
        try:
            return super()._write(write)
        except (TypeError, AttributeError, KeyError, ValueError) as error:
            raise ApiError(500, "InternalError", str(error)) from error

    async def replace(self, resource: str, namespace: str, name: str, body: Object, subresource: str = "") -> Object:
        if resource == JOBS:
            found = list(refusals(STATUS, body["status"]))
            self.refused += found
            if found:
                raise ApiError(422, "Invalid", "; ".join(found))
        return await super().replace(resource, namespace, name, body, subresource)


WILD: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, -1, 2**31, 2**63, 10**400, 0.5, float("nan"), float("inf"), "", "x" * 300, "a/../b", "-1", "1" * 40,
     "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2026-02-30T25:00:00Z", "2026-03-01T11:00:00Z", "\x1b[2J\x07", "a\nb",
     "\u202eevil", "²", "nan", "1e300", "0-999999999", "Training", "Running", "Distilling", [], {}, [[]], [{}], [None],
     {"a": {"b": [1]}}, [1, "x"], {"": ""}]
)  # fmt: skip
WORDS = st.sampled_from(
    [
        "outcome",
        "reason",
        "message",
        "artifact",
        "existing",
        "scores",
        "workingSeconds",
        "done",
        "total",
        "name",
        "type",
    ]
)
JSON = st.recursive(
    WILD, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3), max_leaves=6
)
POD_PLACES = [
    "metadata.labels", "metadata.labels.llmtrain~dev/job", "metadata.labels.llmtrain~dev/job-uid",
    "metadata.labels.llmtrain~dev/attempt", "metadata.labels.llmtrain~dev/index", "metadata.labels.llmtrain~dev/stage",
    "metadata.labels.llmtrain~dev/role", "metadata.labels.llmtrain~dev/incarnation", "metadata.annotations",
    "metadata.annotations.llmtrain~dev/price", "metadata.annotations.llmtrain~dev/power", "metadata.finalizers",
    "metadata.ownerReferences", "metadata.ownerReferences.0", "metadata.creationTimestamp", "metadata.deletionTimestamp",
    "metadata.deletionGracePeriodSeconds", "metadata.managedFields", "spec.nodeName", "spec.activeDeadlineSeconds",
    "spec.containers.0.resources", "spec.containers.0.resources.requests", "spec.schedulingGates", "status", "status.phase",
    "status.reason", "status.message", "status.podIP", "status.startTime", "status.conditions", "status.conditions.0",
    "status.conditions.0.lastTransitionTime", "status.conditions.0.type", "status.containerStatuses",
    "status.containerStatuses.0", "status.containerStatuses.0.name", "status.containerStatuses.0.state",
    "status.containerStatuses.0.state.running", "status.containerStatuses.0.state.running.startedAt",
    "status.containerStatuses.0.state.terminated", "status.initContainerStatuses",
]  # fmt: skip
JOB_PLACES = [
    "status", "status.stages", "status.stages.0", "status.stages.2.state", "status.stages.2.attempt", "status.stages.2.workers",
    "status.stages.2.workers.0", "status.stages.2.workers.0.incarnation", "status.stages.2.attemptTime",
    "status.stages.2.progress", "status.stages.2.progressTime", "status.stages.2.outcome", "status.stages.2.phases",
    "status.stages.2.scores", "status.stages.2.notBefore", "status.stages.2.runSeconds", "status.stages.2.failures",
    "status.stages.2.message", "status.stages.1.artifact", "status.ledger", "status.ledger.entries", "status.ledger.entries.0",
    "status.ledger.entries.0.costMicroUsd", "status.ledger.entries.0.stage", "status.ledger.highWater",
    "status.ledger.highWater.0", "status.ledger.highWater.0.uid", "status.ledger.highWater.0.aliveSeconds",
    "status.ledger.highWater.0.microUsdPerHour",
    "status.ledger.highWater.0.incrementSeconds", "status.ledger.settled", "status.ledger.counted", "status.waiting",
    "status.conditions", "status.conditions.0", "status.history", "status.estimate", "status.forecast", "status.comparison",
    "status.completionTime", "metadata.labels", "metadata.annotations", "spec", "spec.training", "spec.suspend", "spec.image",
]  # fmt: skip


def write(body: Any, place: str, value: Any) -> None:
    """Put a value at a place, if there is such a place. Labels are a map, as every apiserver has them."""
    *way, last = (step.replace("~", ".") for step in place.split("."))
    for step in way:
        if isinstance(body, dict):
            body = body.setdefault(step, {})
        elif isinstance(body, list) and step.isdecimal() and int(step) < len(body):
            body = body[int(step)]
    if isinstance(body, dict):
        body[last] = value if last != "labels" or isinstance(value, dict) else {}
    elif isinstance(body, list) and body and last.isdecimal():
        body[int(last) % len(body)] = value


NUMBERS = itertools.count(10_000)
"""No two versions of anything have the same, over all examples."""


class Tried:
    """A training under way, in a cluster where somebody writes anything anywhere."""

    def __init__(self, saved: Any) -> None:
        self.run = Scenario()
        self.run.cluster = self.cluster = Checked()
        self.cluster.objects, self.cluster.now = clone(saved)
        self.cluster._numbers = NUMBERS
        self.run.memory, self.run.left = Memory(), {}
        self.bugs: list[str] = []

    def touch(self, resource: str, index: int, place: str, value: Any) -> None:
        found = self.run.cluster.of(resource)
        if found:
            body = found[index % len(found)]
            if resource == JOBS and isinstance(value, int):
                value = min(value, HIGHEST)  # no apiserver stores more
            write(body, place, value)
            if isinstance(body.get("metadata"), dict):
                body["metadata"]["resourceVersion"] = str(next(self.run.cluster._numbers))

    async def go(self, turns: int) -> None:
        run = self.run
        guards = {loop: Guard(loop, self.bugs.append) for loop in Loop}
        snapshots, registry = Snapshots(run.cluster.clock), CollectorRegistry()
        register_all(registry, snapshots, guards[Loop.SCRAPE])
        for _ in range(turns):
            run.memory.woken = True
            outlook = await self.turn()
            if outlook is not None and outlook.status is not None:
                snapshots.put(("team-a", "gpt"), outlook.status, outlook.uid)
            run.cluster.tick(20)
        books = ledgers(run.cluster)
        await Upkeep(run.cluster, run.cluster.clock, [], snapshots, books, guard=guards[Loop.UPKEEP]).look()
        await Sweeper(run.cluster, books, [], run.cluster.clock, lambda *_: None, guard=guards[Loop.SWEEP]).sweep()
        assert b"llmtrain_job_info" in generate_latest(registry)

    async def turn(self) -> Outlook | None:
        """None where the apiserver refused something; that it refuses what we write as a status is a bug of ours."""
        try:
            return await self.run.turn()
        except ApiError as error:
            if error.code == 422:
                self.bugs.append(error.message)
            return None


def training() -> Any:
    """A training whose pods run, as it is stored."""

    async def until() -> Any:
        run = Scenario()
        await run.run_training(60)
        await run.turn()
        budget = {"metadata": {"name": "all", "namespace": "team-a"}, "spec": {"limitUsd": "500", "period": "Month"}}
        run.cluster.add(BUDGETS, budget)
        run.cluster.add("api/v1/namespaces", {"metadata": {"name": "team-a"}})
        return run.cluster.objects, run.cluster.now

    return asyncio.run(until())


SAVED = training()
PLACES = (
    [(PODS, place) for place in POD_PLACES]
    + [(JOBS, place) for place in JOB_PLACES]
    + [("api/v1/nodes", place) for place in ("status", "status.conditions", "status.conditions.0")]
    + [(BUDGETS, place) for place in ("spec", "spec.limitUsd", "spec.jobSelector", "status", "status.reservations")]
    + [(PLANS, place) for place in ("spec", "spec.rented", "spec.accelerator", "status", "status.conditions")]
    + [("api/v1/namespaces", "metadata.labels")]
)
WRITES = st.lists(st.tuples(st.sampled_from(PLACES), st.integers(0, 3), JSON), min_size=1, max_size=4)
WORDS_OF_HEADS = JSON | st.fixed_dictionaries(
    {"outcome": st.sampled_from(["Succeeded", "Failed", "x" * 300]) | JSON},
    optional=dict.fromkeys(("failureClass", "reason", "message", "artifact", "existing", "checkpoint", "scores", "workingSeconds", "redoneSeconds", "checkpointSeconds"), JSON),
)  # fmt: skip
ANSWERS = JSON | st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("done", "total", "unit", "loss", "tokensPerSecond", "mfu", "checkpoint", "detail", "workingSeconds", "redoneSeconds", "checkpointSeconds", "saveSeconds", "group", "evaluatedTokens", "scores"), JSON),
)  # fmt: skip
QUICK = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@QUICK
@given(writes=WRITES)
def test_anything_written_anywhere_ends_nothing(writes: list[tuple[tuple[str, str], int, Any]]) -> None:
    tried = Tried(SAVED)
    for (resource, place), index, value in writes:
        tried.touch(resource, index, place, value)
    asyncio.run(tried.go(3))
    assert tried.bugs == []


@QUICK
@given(answers=st.lists(ANSWERS, min_size=1, max_size=2), words=WORDS_OF_HEADS, code=st.sampled_from([0, 1, 64, 137]))
def test_whatever_a_head_says_every_status_fits_and_the_job_is_settled_and_goes(
    answers: list[Any], words: Any, code: int
) -> None:
    tried = Tried(SAVED)
    run = tried.run

    async def live_and_go() -> None:
        for answer in answers:
            head = next(pod for pod in run.cluster.of(PODS) if pod["metadata"]["name"].endswith("head"))
            run.memory.progress = heard(answer) or run.memory.progress
            run.memory.progress_of = head["metadata"]["uid"]
            run.memory.woken = True
            await tried.turn()
            run.cluster.tick(30)
        run.cluster.end_pod("gpt-trn-1-head", code, json.dumps(words))
        await tried.turn()
        await run.cluster.delete(JOBS, "team-a", "gpt", run.job["metadata"]["uid"], None)
        for _ in range(12):
            run.memory.woken = True
            await tried.turn()
            run.cluster.tick(5)
            for pod in run.cluster.of(PODS):
                if "deletionTimestamp" in pod["metadata"] and pod["status"].get("phase") == "Running":
                    run.cluster.end_pod(pod["metadata"]["name"], 75, json.dumps(words))

    asyncio.run(live_and_go())
    assert (tried.bugs, tried.cluster.refused) == ([], []), "bounded where it comes in, not at the last resort"
    assert (run.pods, (JOBS, "team-a", "gpt") in run.cluster.objects) == ([], False)


def heard(answer: Any) -> Progress | None:
    """What the operator keeps of an answer."""
    told = read_text(Told, json.dumps(answer)).value
    return Progress(**told.model_dump()) if told else None


@QUICK
@given(parts=st.lists(st.tuples(st.sampled_from(JOB_PLACES), JSON), min_size=1, max_size=5))
def test_a_status_of_any_content_is_made_to_fit(parts: list[tuple[str, Any]]) -> None:
    job = clone(next(body for (kind, _, _), body in SAVED[0].items() if kind == JOBS))
    for place, value in parts:
        write(job, place, value)
    status = job["status"] if isinstance(job["status"], dict) else {}
    assert list(refusals(STATUS, fitted_status(status))) == []


def test_what_fits_is_left_as_it_is() -> None:
    status = next(body for (kind, _, _), body in SAVED[0].items() if kind == JOBS)["status"]
    assert list(refusals(STATUS, status)) == []
    assert fitted_status(status) == status
