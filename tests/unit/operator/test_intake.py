"""Pods whose labels, owners or times somebody has edited, and a status that does not parse: billed, ended, told, never hidden."""

from typing import Any

import pytest
from llmtrain_operator.act import PODS
from llmtrain_operator.client import ApiError
from llmtrain_operator.clocks import parse_time
from llmtrain_operator.observation import Job
from llmtrain_operator.observe import read_job
from llmtrain_operator.ownership import own_pods
from llmtrain_operator.podshape import shaped
from llmtrain_operator.reconcile import JOBS

from tests.unit.operator.fake_cluster import clone, stamp
from tests.unit.operator.scenario import Scenario, recorded_micro_usd


async def training() -> Scenario:
    run = Scenario()
    await run.run_training(100)
    return run


def touch(run: Scenario, name: str) -> dict[str, Any]:
    """The pod's metadata; it has a new version, as any write gives it one."""
    meta: dict[str, Any] = run.cluster.pod(name)["metadata"]
    meta["resourceVersion"] = str(next(run.cluster._numbers))
    run.memory.woken = True
    return meta


EDITS: list[tuple[str, dict[str, str | None]]] = [
    ("all", {}),
    ("job-uid", {"llmtrain.dev/job-uid": None}),
    ("job-uid of another", {"llmtrain.dev/job-uid": "uid-7"}),
    ("job", {"llmtrain.dev/job": ""}),
    ("attempt", {"llmtrain.dev/attempt": "many"}),
    ("a large index", {"llmtrain.dev/index": "9" * 60}),
    ("role", {"llmtrain.dev/role": "king"}),
    ("stage", {"llmtrain.dev/stage": "Baking", "llmtrain.dev/incarnation": "-1"}),
]


@pytest.mark.parametrize(("title", "edit"), EDITS)
@pytest.mark.parametrize("name", ["gpt-trn-1-head", "gpt-trn-1-w0-1"])
async def test_labels_that_were_edited_hide_no_pod_and_are_put_back(
    name: str, title: str, edit: dict[str, str | None]
) -> None:
    run = await training()
    meta = touch(run, name)
    before = {key: value for key, value in meta["labels"].items() if key.startswith("llmtrain.dev/")}
    meta["labels"] = {k: v for k, v in {**before, **edit}.items() if v is not None} if title != "all" else {}
    await run.turn()
    assert run.status.state == "Running"
    assert len(run.status.ledger.high_water) == 3
    assert before.items() <= run.cluster.pod(name)["metadata"]["labels"].items()
    told = [e for e in run.cluster.of("api/v1/events") if e["reason"] in ("InputRejected", "PodVanished")]
    assert [(e["reason"], name in e["message"]) for e in told] == [("InputRejected", True)]
    for pod in list(run.pods):
        run.cluster.end_pod(pod, 0, '{"outcome": "Succeeded", "artifact": "t1"}')
    await run.drain()
    assert sum(e.cost_micro_usd for e in run.status.ledger.entries) == recorded_micro_usd(run.cluster) > 0


async def test_a_pod_whose_labels_cannot_be_put_back_is_billed_and_ended_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = await training()

    async def refuse(*_: Any) -> None:
        raise ApiError(403, "Forbidden", "a policy says no")

    monkeypatch.setattr(run.cluster, "label_pod", refuse)
    touch(run, "gpt-trn-1-w1-1")["labels"] = {}
    await run.turn(2)
    assert len(run.status.ledger.high_water) == 3
    run.job["spec"]["suspend"] = True
    await run.drain()
    assert run.pods == []
    assert sum(e.cost_micro_usd for e in run.status.ledger.entries) == recorded_micro_usd(run.cluster) > 0


async def test_a_pod_that_lost_its_labels_before_it_had_a_bill_is_found_by_its_name() -> None:
    run = Scenario()
    await run.until_pods()
    (name,) = run.pods
    touch(run, name)["labels"] = {}
    run.memory.pods.marks = ()
    run.job["status"]["ledger"].pop("highWater", None)
    for _ in range(20):
        run.memory.woken = True
        await run.turn()
        run.cluster.tick(5)
    assert run.pods == [name]
    assert run.cluster.pod(name)["metadata"]["labels"]["llmtrain.dev/job-uid"] == run.job["metadata"]["uid"]
    assert [mark.uid for mark in run.status.ledger.high_water] == [run.cluster.pod(name)["metadata"]["uid"]]


@pytest.mark.parametrize("owners", [None, [], [{}], [{"uid": 7, "controller": True}], "nobody"])
async def test_a_pod_that_is_billed_stays_the_jobs_whoever_owns_it_now(owners: Any) -> None:
    run = await training()
    meta = touch(run, "gpt-trn-1-w0-1")
    meta["ownerReferences"] = owners
    await run.turn(2)
    assert len(run.status.ledger.high_water) == 3
    run.job["spec"]["suspend"] = True
    await run.drain()
    assert run.pods == []
    assert sum(e.cost_micro_usd for e in run.status.ledger.entries) == recorded_micro_usd(run.cluster) > 0


@pytest.mark.parametrize("owner", [True, False], ids=["owner kept", "owner off as well"])
async def test_a_pod_that_was_billed_and_hidden_for_a_while_is_not_billed_again(owner: bool) -> None:
    """Somebody holds it with a finalizer of his own, takes its labels off once it is billed, and puts them back."""
    run = await training()
    name = "gpt-trn-1-w0-1"
    touch(run, name)["finalizers"].append("example.com/mine")
    run.cluster.end_pod(name, 137, reason="Error")
    run.memory.woken = True
    await run.turn(3)
    meta = touch(run, name)
    assert meta["finalizers"] == ["example.com/mine"], "it is billed and let go"
    billed = next(e for e in run.status.ledger.entries if e.stage == "Training")
    labels, owners = meta["labels"], meta["ownerReferences"]
    meta["labels"], meta["ownerReferences"] = {}, owners if owner else []
    for _ in range(3):
        run.cluster.tick(60)  # the running bill is written, and what is out of sight leaves with it
        run.memory.woken = True
        await run.turn()
    assert run.status.ledger.settled == [], "out of sight"
    meta = touch(run, name)
    meta["labels"], meta["ownerReferences"] = labels, owners
    for _ in range(3):
        run.memory.woken = True
        await run.turn()
    assert next(e for e in run.status.ledger.entries if e.stage == "Training") == billed


@pytest.mark.parametrize(
    "text", ["", "yesterday", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-02-30T00:00:00Z", None, 7, ["a"], "x" * 9999]
)  # fmt: skip
def test_a_time_that_is_none_is_none(text: Any) -> None:
    assert parse_time(text) is None


@pytest.mark.parametrize("text", ["2026-03-01T12:00:00.123456Z", "2026-03-01T13:00:00+01:00", "2026-03-01T12:00:00Z"])
def test_times_of_the_api_are_read_as_before(text: str) -> None:
    time = parse_time(text)
    assert time is not None
    assert stamp(time) == "2026-03-01T12:00:00Z"


async def test_of_a_pod_that_does_not_fit_the_rest_is_used_and_what_is_left_out_is_named() -> None:
    run = await training()
    pod = clone(run.cluster.pod("gpt-trn-1-head"))
    pod["metadata"]["resourceVersion"] = "another"
    pod["status"]["conditions"].append({"type": 5})
    pod["status"]["startTime"] = "9999-12-31T23:59:59Z"
    pod["metadata"]["deletionGracePeriodSeconds"] = -1
    (found,) = own_pods(read_job(run.job), [pod])
    assert found.raw["status"]["conditions"] == pod["status"]["conditions"][:-1]
    assert "startTime" not in found.raw["status"]
    assert "deletionGracePeriodSeconds" not in found.raw["metadata"]
    why = "; ".join(flaw.why for flaw in found.flaws)
    assert all(
        part in why for part in ("status.conditions.1", "status.startTime", "metadata.deletionGracePeriodSeconds")
    )
    assert shaped({"metadata": 7})[0] is None
    assert own_pods(read_job(run.job), [{"metadata": {"name": "gpt-trn-1-head"}}, {}, {"metadata": None}]) == []


NEWER: list[tuple[str, Any]] = [
    ("stages.2.state", "Migrating"),
    ("stages.2", {"name": "Distillation", "state": "Running"}),
    ("ledger.entries.0.stage", "Distillation"),
    ("ledger.highWater.0.stage", "Distillation"),
    ("stages.2.workers.0.index", "second"),
]


def put(status: Any, place: str, value: Any) -> Any:
    """The status with a value at a place, and what was there."""
    *way, last = (int(step) if step.isdecimal() else step for step in place.split("."))
    for step in way:
        status = status[step]
    before, status[last] = status[last], value
    return before


@pytest.mark.parametrize(("place", "value"), NEWER)
async def test_a_status_that_another_version_wrote_begins_nothing_is_billed_ended_and_told(
    place: str, value: Any
) -> None:
    run = await training()
    stored = run.job["status"]
    before = put(stored, place, value)
    entries = len(stored["ledger"]["entries"])
    for _ in range(8):
        run.memory.woken = True
        await run.drain_step()
    status = run.job["status"]
    assert run.pods == []
    accepted = next(one for one in status["conditions"] if one["type"] == "Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "StatusUnreadable")
    assert "`status` cannot be read" in accepted["message"]
    assert len(status["ledger"]["entries"]) >= entries, "what cannot be read is kept"
    if not place.startswith("ledger.highWater"):
        assert put(status, place, before) == value, "as it was"
        run.memory.job.forget()
        for _ in range(20):
            await run.turn()
            run.cluster.tick(5)
            if run.pods:
                break
        assert run.pods, "put right, it goes on"
        assert read_job(run.job).spec is not None


@pytest.mark.parametrize(
    "part", [{"conditions": [{"type": "Odd"}]}, {"waiting": 7}, {"estimate": {"usd": []}}, {"forecast": "x"}]
)
async def test_what_is_only_shown_is_made_anew_and_the_job_goes_on(part: dict[str, Any]) -> None:
    run = await training()
    run.job["status"] |= part
    run.memory.woken = True
    await run.turn(2)
    assert run.status.state == "Running"
    assert len(run.pods) == 3
    assert read_job(run.job).status == run.status


async def test_a_job_whose_status_does_not_parse_can_be_deleted() -> None:
    run = await training()
    put(run.job["status"], "stages.2.state", "Migrating")
    await run.cluster.delete(JOBS, "team-a", "gpt", run.job["metadata"]["uid"], None)
    for _ in range(12):
        if (JOBS, "team-a", "gpt") not in run.cluster.objects:
            break
        run.memory.woken = True
        await run.turn()
        run.cluster.tick(5)
        for pod in run.cluster.of(PODS):
            if "deletionTimestamp" in pod["metadata"] and pod["status"].get("phase") == "Running":
                run.cluster.end_pod(pod["metadata"]["name"], 75)
    assert run.cluster.of(PODS) == []
    assert (JOBS, "team-a", "gpt") not in run.cluster.objects


def test_a_job_of_any_status_parses() -> None:
    strange: list[Any] = [[1], 7, "x", {"stages": 5}, {"ledger": {"entries": [{}]}}]
    for status in strange:
        job: Job = read_job({"metadata": {"name": "a"}, "spec": {}, "status": status})
        assert job.spec is None
        assert job.status.to_dict()


async def test_a_pod_that_is_billed_and_cannot_be_let_go_yet_is_hidden_by_no_edit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its uid would leave the ledger, and our finalizer would hold it for good."""
    run = await training()
    name, real = "gpt-trn-1-w0-1", run.cluster.replace_finalizers

    async def refuse(resource: str, *rest: Any) -> Any:
        if resource == PODS:
            raise ApiError(403, "Forbidden", "a policy says no")
        return await real(resource, *rest)

    monkeypatch.setattr(run.cluster, "replace_finalizers", refuse)
    run.cluster.end_pod(name, 137, reason="Error")
    run.memory.woken = True
    await run.turn(2)
    assert run.status.ledger.settled
    touch(run, name)["labels"] = {}
    for _ in range(3):
        run.cluster.tick(60)
        run.memory.woken = True
        await run.turn()
    monkeypatch.setattr(run.cluster, "replace_finalizers", real)
    run.job["spec"]["suspend"] = True
    for _ in range(3):
        run.cluster.tick(60)
        run.memory.woken = True
        await run.drain()
    assert run.pods == []
    assert sum(e.cost_micro_usd for e in run.status.ledger.entries) == recorded_micro_usd(run.cluster) > 0


@pytest.mark.parametrize("part", ["labels", "ownerReferences"])
async def test_a_pod_that_nobody_has_looked_at_yet_is_hidden_by_no_edit(part: str) -> None:
    """Of a job that stops at once: nobody creates it again, and so stumbles over it."""
    run = Scenario()
    await run.until_pods()
    (name,) = run.pods
    meta = touch(run, name)
    meta[part] = type(meta[part])()
    run.cluster.run_pod(name)
    run.memory.pods.marks = ()
    run.job["spec"]["suspend"] = True
    run.cluster.tick(20)
    await run.drain()
    assert (run.pods, run.status.state) == ([], "Suspended")
    assert sum(e.cost_micro_usd for e in run.status.ledger.entries) == recorded_micro_usd(run.cluster) > 0
