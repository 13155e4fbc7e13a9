"""Done means carried out: a refused act is told, tried again ever more slowly, and holds up no act of another kind."""

from datetime import timedelta
from typing import Any

import pytest
from llmtrain_operator.batches import carry_out
from llmtrain_operator.budget_release import BUDGETS
from llmtrain_operator.client import ApiError, Object
from llmtrain_operator.names import FINALIZER_JOB, FINALIZER_POD
from llmtrain_operator.observation import (
    Action,
    CreateHead,
    CreateObjects,
    CreateWorker,
    DeletePod,
    HoldJob,
    ReleasePod,
)
from llmtrain_operator.podstate import PodState
from llmtrain_operator.reconcile import JOBS
from llmtrain_operator.refused import Refused

from tests.unit.operator.fake_cluster import START
from tests.unit.operator.scenario import Scenario

FULL = ApiError(403, "Forbidden", "exceeded quota: team, requested: count/pods=1, used: count/pods=3")
WEBHOOK = ApiError(500, "InternalError", 'failed calling webhook "v.example.com": no endpoints available')
SILENT = ApiError(0, "NoAnswer", "TimeoutError")
BLUEPRINT: Any = None


def pod(name: str) -> PodState:
    return PodState({"metadata": {"name": name, "uid": name}})


class Script:
    """Refuses what it is told to; notes what it was asked for."""

    def __init__(self, *refused: type, error: ApiError = FULL) -> None:
        self.refused, self.error = refused, error
        self.asked = list[Action]()

    async def perform(self, action: Action) -> None:
        self.asked.append(action)
        if isinstance(action, self.refused):
            raise self.error


async def test_what_is_given_up_goes_before_what_is_created_and_is_not_held_up_by_a_refusal() -> None:
    script = Script(CreateHead, DeletePod)
    decided: list[Action] = [
        CreateObjects(BLUEPRINT),
        CreateHead(BLUEPRINT),
        *(CreateWorker(BLUEPRINT, n, 1) for n in range(5)),
        DeletePod(pod("a")),
        DeletePod(pod("b")),
        ReleasePod(pod("c")),
    ]
    results = await carry_out(script, decided)
    kinds = [type(one).__name__ for one in script.asked]
    assert kinds == ["DeletePod", "DeletePod", "ReleasePod", "CreateObjects", "CreateHead"]
    assert [one.error for one in results] == [FULL, FULL, None, None, FULL]


async def test_pods_are_not_created_where_what_they_mount_was_refused() -> None:
    script = Script(CreateObjects)
    await carry_out(script, [CreateObjects(BLUEPRINT), CreateHead(BLUEPRINT)])
    assert len(script.asked) == 1


async def test_an_apiserver_that_does_not_answer_is_not_asked_three_hundred_times() -> None:
    script = Script(DeletePod, error=SILENT)
    await carry_out(script, [DeletePod(pod(str(n))) for n in range(300)])
    assert len(script.asked) <= 25


async def test_one_pod_that_may_not_be_deleted_does_not_keep_the_others() -> None:
    class Picky(Script):
        async def perform(self, action: Action) -> None:
            self.asked.append(action)
            if isinstance(action, DeletePod) and action.pod.uid == "3":
                raise WEBHOOK

    script = Picky()
    results = await carry_out(script, [DeletePod(pod(str(n))) for n in range(60)])
    assert len(results) == len(script.asked) == 60


async def test_a_bug_is_no_refusal() -> None:
    class Broken(Script):
        async def perform(self, action: Action) -> None:
            raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        await carry_out(Broken(), [DeletePod(pod("a"))])


@pytest.mark.parametrize(
    ("error", "pauses"),
    [
        (WEBHOOK, [1, 2, 4, 8, 16, 32, 60, 60, 60]),
        (SILENT, [1, 2, 4, 8, 16, 32, 60, 60, 60]),
        (ApiError(409, "Conflict", "resourcequotas"), [0, 2, 4, 8, 16, 32, 60, 60, 60]),
        (FULL, [15, 30, 60, 60, 60, 60, 60, 60, 60]),
    ],
    ids=["webhook", "silent", "conflict", "quota"],
)
async def test_a_refused_act_is_tried_again_ever_more_slowly(error: ApiError, pauses: list[int]) -> None:
    refused, now, decided = Refused(), START, [HoldJob()]
    for pause in pauses:
        due = refused.due(decided, now)
        assert due == decided
        refused.take(await carry_out(Script(HoldJob, error=error), due), decided, now)
        assert refused.seconds(now) == pause
        assert pause == 0 or not refused.due(decided, now + timedelta(seconds=pause - 1))
        now += timedelta(seconds=pause)
    told = refused.told()[0]
    assert (told.act, told.code, told.since, told.times) == ("HoldJob", error.code, START, 9)
    assert told.message == error.message
    refused.take(await carry_out(Script(), decided), decided, now)
    assert not refused
    assert refused.told() == ()


async def test_an_error_that_passes_by_itself_is_told_once_it_repeats() -> None:
    refused = Refused()
    decided: list[Action] = [HoldJob()]
    for times in (1, 2):
        refused.take(await carry_out(Script(HoldJob, error=WEBHOOK), decided), decided, START)
        assert [one.times for one in refused.told()] == ([] if times == 1 else [2])


async def test_what_is_not_asked_for_any_more_is_forgotten() -> None:
    refused = Refused()
    refused.take(await carry_out(Script(HoldJob), [HoldJob()]), [HoldJob()], START)
    refused.take([], [], START)
    assert not refused


async def test_creates_are_tried_soon_after_the_job_gave_something_up() -> None:
    refused = Refused()
    decided: list[Action] = [ReleasePod(pod("a")), CreateWorker(BLUEPRINT, 0, 2)]
    refused.take(await carry_out(Script(CreateWorker), decided), decided, START)
    assert refused.seconds(START) == 1


async def in_training() -> Scenario:
    run = Scenario()
    await run.run_training(120)
    return run


async def test_a_dead_worker_is_released_while_a_quota_refuses_its_successor() -> None:
    """The quota counts pods: it is the dead one that the successor waits for."""
    run = await in_training()

    def quota(resource: str, body: Object) -> ApiError | None:
        return FULL if resource == "api/v1/pods" and len(run.pods) >= 3 else None

    run.cluster.refuse = quota
    run.cluster.end_pod("gpt-trn-1-w0-1", 137, reason="Error")
    for _ in range(4):
        await run.turn()
        run.cluster.tick(1)
    assert run.pods == ["gpt-trn-1-head", "gpt-trn-1-w0-2", "gpt-trn-1-w1-1"]


def refuse(run: Scenario, monkeypatch: pytest.MonkeyPatch, method: str, resource: str, error: ApiError) -> list[str]:
    """Until the patch is undone, writes of this kind are refused; the names that were asked for."""
    real, asked = getattr(run.cluster, method), list[str]()

    async def write(kind: str, of: Any, *rest: Any) -> Any:
        if kind != resource:
            return await real(kind, of, *rest)
        asked.append(of["metadata"]["name"] if isinstance(of, dict) else rest[0])
        raise error

    monkeypatch.setattr(run.cluster, method, write)
    return asked


async def test_a_job_is_gone_once_its_finalizer_is_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Scenario()
    await run.run_stage()
    await run.cluster.delete(JOBS, "team-a", "gpt", "", None)
    with monkeypatch.context() as patched:
        asked = refuse(run, patched, "replace_finalizers", JOBS, FULL)
        gone = [(await run.turn()).gone for _ in range(3)]
        assert (gone, asked) == ([False] * 3, ["gpt"])
        assert FINALIZER_JOB in run.job["metadata"]["finalizers"]
    run.cluster.tick(15)
    assert (await run.turn()).gone
    assert not run.cluster.of(JOBS)


async def test_objects_that_could_not_be_deleted_are_not_noted_as_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    run = await in_training()
    run.job["spec"]["suspend"] = True
    with monkeypatch.context() as patched:
        asked = refuse(run, patched, "delete", "api/v1/services", WEBHOOK)
        for _ in range(60):
            await run.drain_step()
        assert run.status.state == "Stopping"
        assert run.pods == []
        assert 5 <= len(asked) <= 9, "neither hot nor forgotten"
    run.cluster.tick(60)
    await run.drain()
    assert run.status.state == "Suspended"
    assert not [one for one in run.cluster.of("api/v1/services") if "trn" in one["metadata"]["name"]]


@pytest.mark.parametrize("code", [0, 403, 404, 409, 422, 429, 500, 503])
async def test_an_event_is_never_worth_a_turn(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Scenario()
    create = run.cluster.create

    async def without_events(resource: str, namespace: str, body: Object) -> Object:
        if resource == "api/v1/events":
            raise ApiError(code, "", "refused")
        return await create(resource, namespace, body)

    monkeypatch.setattr(run.cluster, "create", without_events)
    for _ in range(4):
        await run.run_stage()
    await run.turn()
    assert run.status.state == "Succeeded"


async def test_a_pod_stays_held_until_its_release_is_carried_out(monkeypatch: pytest.MonkeyPatch) -> None:
    run = await in_training()
    run.end_head()
    with monkeypatch.context() as patched:
        refuse(run, patched, "replace_finalizers", "api/v1/pods", WEBHOOK)
        for _ in range(20):
            await run.drain_step()
        held = [one for one in run.cluster.of("api/v1/pods") if FINALIZER_POD in one["metadata"]["finalizers"]]
        assert len(held) == 3
    bill = run.status.ledger.total_micro_usd
    run.cluster.tick(60)
    await run.drain()
    assert run.status.state == "Pending"
    assert run.status.ledger.total_micro_usd == bill


def condition(run: Scenario, kind: str) -> tuple[str, str, str] | None:
    found = next((one for one in run.status.conditions if one.type == kind), None)
    return (found.status, found.reason, found.message) if found else None


async def test_a_refused_delete_is_told_with_the_apiservers_words_while_it_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = await in_training()
    run.job["spec"]["suspend"] = True
    with monkeypatch.context() as patched:
        refuse(run, patched, "delete", "api/v1/pods", WEBHOOK)
        for _ in range(30):
            await run.drain_step()
        told, waiting = condition(run, "ReconcileBlocked"), run.status.waiting
        assert told is not None
        assert told[:2] == ("True", "DeletePodRefused")
        assert told[2].endswith(f"(500 InternalError): {WEBHOOK.message}")
        assert waiting is not None
        assert (waiting.reason, WEBHOOK.message in waiting.message) == ("DeletePodRefused", True)
        assert condition(run, "Progressing") == ("False", "DeletePodRefused", waiting.message)
    run.cluster.tick(60)
    await run.drain()
    assert run.status.state == "Suspended"
    await run.turn()
    assert condition(run, "ReconcileBlocked") is None


async def test_a_job_that_cannot_be_held_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Scenario()
    refuse(run, monkeypatch, "replace_finalizers", JOBS, ApiError(403, "Forbidden", "cannot patch resource"))
    await run.turn(3)
    told = condition(run, "ReconcileBlocked")
    assert told is not None
    assert told[1] == "HoldJobRefused"
    assert run.status.waiting is not None
    assert run.status.waiting.reason == "HoldJobRefused"
    assert "cannot patch resource" in run.status.waiting.message
    assert not run.pods


async def test_a_job_whose_reservation_is_refused_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Scenario()
    run.cluster.add(BUDGETS, {"metadata": {"name": "team", "namespace": "team-a"}, "spec": {"limitUsd": "1000.00"}})
    refuse(run, monkeypatch, "replace", BUDGETS, ApiError(403, "Forbidden", "cannot update trainingbudgets/status"))
    for _ in range(6):
        await run.turn()
        run.cluster.tick(10)
    waiting = run.status.waiting
    assert waiting is not None
    assert (waiting.reason, "cannot update" in waiting.message) == ("ReserveRefused", True)
    assert condition(run, "Progressing") == ("False", "ReserveRefused", waiting.message)


async def test_a_training_whose_reservation_is_refused_says_so_and_progresses(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Scenario()
    run.cluster.add(BUDGETS, {"metadata": {"name": "team", "namespace": "team-a"}, "spec": {"limitUsd": "1000.00"}})
    await run.run_training(100)
    refuse(run, monkeypatch, "replace", BUDGETS, ApiError(403, "Forbidden", "cannot update trainingbudgets/status"))
    for _ in range(6):
        run.cluster.tick(60)
        await run.turn()
    assert run.status.waiting is not None
    assert run.status.waiting.reason == "ReserveRefused"
    blocked, progressing = condition(run, "ReconcileBlocked"), condition(run, "Progressing")
    assert blocked is not None
    assert progressing is not None
    assert (blocked[:2], progressing[:2]) == (("True", "ReserveRefused"), ("True", "TrainingRunning"))


async def test_a_refusal_costs_two_statuses_not_one_a_try(monkeypatch: pytest.MonkeyPatch) -> None:
    run = await in_training()
    run.job["spec"]["suspend"] = True
    refuse(run, monkeypatch, "delete", "api/v1/pods", WEBHOOK)
    for _ in range(10):
        await run.turn()
        run.cluster.tick(10)
    counting, replace = list[str](), run.cluster.replace

    async def counted(resource: str, namespace: str, name: str, body: Object, subresource: str = "") -> Object:
        counting.append(resource)
        return await replace(resource, namespace, name, body, subresource)

    monkeypatch.setattr(run.cluster, "replace", counted)
    for _ in range(30):
        await run.turn()
        run.cluster.tick(10)
    assert len(counting) <= 300 / 45, "the bill of each minute"
