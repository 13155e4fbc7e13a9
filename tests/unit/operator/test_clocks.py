"""A node whose clock is off: its pods' bills are bounded by what the apiserver was told and when, and people are told."""

from datetime import timedelta
from typing import Any

import pytest
from llmtrain_operator.billing import Interval, interval

from tests.unit.operator.fake_cluster import FakeCluster, stamp
from tests.unit.operator.lifetimes import at
from tests.unit.operator.lifetimes import stamp as clock
from tests.unit.operator.scenario import Scenario
from tests.unit.operator.test_containers import HEAD, in_training


def pod(taken: int, started: int, finished: int, reported: int | None = 1810) -> dict[str, Any]:
    """Placed at 0; what its node tells of it, and when the apiserver was last told, all in seconds."""
    run = {"startedAt": clock(started), "finishedAt": clock(finished), "exitCode": 0}
    entries = [] if reported is None else [{"subresource": "status", "time": clock(reported)}]
    later = {"manager": "llmtrain-operator", "time": clock(5000)}
    return {
        "metadata": {"managedFields": [*entries, later]},
        "spec": {"nodeName": "n"},
        "status": {
            "phase": "Succeeded",
            "startTime": clock(taken),
            "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": clock(0)}],
            "containerStatuses": [{"name": "stage", "state": {"terminated": run}}],
        },
    }


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        ((1, 10, 1800), 1800),
        ((1, 10, 1840), 1840),
        ((1, 10, 1841), 1810),
        ((601, 610, 2400), 1810),
        ((-30, 10, 1770), 1770),
        ((-31, 10, 1769), 1810),
        ((-7200, -7190, -5400), 1810),
        ((1, 10, -600), 1810),
        ((1, 10, 90_000), 1810),
    ],
    ids=["right", "30 s ahead", "31 s ahead", "ahead all the time", "30 s behind", "31 s behind", "hours behind",
         "set back meanwhile", "set to tomorrow meanwhile"],
)  # fmt: skip
def test_an_end_that_cannot_be_is_when_the_apiserver_was_told(times: tuple[int, int, int], seconds: int) -> None:
    assert interval(pod(*times), {}, at(4000)) == Interval(at(0), at(seconds), final=True)


def test_where_nobody_noted_when_it_was_told_it_is_when_it_is_seen() -> None:
    assert interval(pod(1, 10, 90_000, reported=None), {}, at(1900)).seconds == 1900


@pytest.mark.parametrize(
    ("noted", "finished", "seconds"), [(-10_000_000, 1800, 1800), (10**9, 1800, 1800), (10**9, -600, 4000)]
)
def test_what_nobody_can_have_noted_is_not_believed(noted: int, finished: int, seconds: int) -> None:
    """Whoever may edit a pod may edit its `managedFields`: no bill becomes nothing, and none lasts until the year 2057."""
    assert interval(pod(1, 10, finished, reported=noted), {}, at(4000)).seconds == seconds


@pytest.mark.parametrize("after", [5, 60, 300])
async def test_a_pod_whose_managed_fields_were_edited_owes_no_less_than_was_seen_of_it(after: int) -> None:
    """The edit says that the apiserver was told that it is over while it was still seen to run."""
    run = await in_training({})
    placed = run.cluster.now
    for _ in range(10):
        run.cluster.tick(60)
        await run.turn()
    run.end_head()
    edited = [{"subresource": "status", "time": stamp(placed + timedelta(seconds=after))}]
    run.cluster.pod(HEAD)["metadata"] |= {"managedFields": edited, "resourceVersion": "edited"}
    await run.drain()
    head = next(entry for entry in run.status.ledger.entries if (entry.stage, entry.role) == ("Training", "head"))
    assert head.pod_seconds == 600


def test_conditions_of_a_pod_that_never_started_are_bounded_as_well() -> None:
    body = pod(0, 0, 0)
    del body["status"]["containerStatuses"]
    body["status"] |= {"phase": "Failed", "reason": "DeadlineExceeded"}
    body["status"]["conditions"].append({"type": "Ready", "status": "False", "lastTransitionTime": clock(9000)})
    assert interval(body, {}, at(9500)).seconds == 1810


def set_clock(cluster: FakeCluster, name: str, hours: int) -> None:
    """As if its node's clock had been ahead all the time."""
    status = cluster.pod(name)["status"]
    off = cluster.now.replace(hour=cluster.now.hour + hours)
    status["startTime"] = stamp(off)
    status["containerStatuses"][0]["state"]["running"]["startedAt"] = stamp(off)


@pytest.mark.parametrize("hours", [3, -3])
async def test_a_job_tells_of_a_node_whose_clock_is_off_once_and_never_bills_more_than_was_seen(hours: int) -> None:
    run = await in_training({})
    placed = run.cluster.now
    set_clock(run.cluster, HEAD, hours)
    for _ in range(5):
        run.cluster.tick(60)
        await run.turn()
    told = [one for one in run.status.conditions if one.type == "ClockSkewed"]
    assert [(one.status, one.reason) for one in told] == [("True", "NodeClockOff")]
    assert f"`node-1` is {10_800 - 60 if hours > 0 else 10_800} s or more {'ahead of' if hours > 0 else 'behind'}" in (
        told[0].message)  # fmt: skip
    assert [e["reason"] for e in run.cluster.of("api/v1/events")].count("NodeClockOff") == 1
    mark = max(mark.pod_seconds for mark in run.status.ledger.high_water)
    assert mark <= (run.cluster.now - placed).total_seconds()
    run.end_head()
    run.cluster.pod(HEAD)["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"] = stamp(
        run.cluster.now.replace(hour=run.cluster.now.hour + hours)
    )
    seen = run.cluster.now
    await run.drain()
    head = next(entry for entry in run.status.ledger.entries if (entry.stage, entry.role) == ("Training", "head"))
    assert head.pod_seconds == int((seen - placed).total_seconds())
    assert head.split.working == 50
    assert any(one.type == "ClockSkewed" for one in run.status.conditions), "it stays"


async def test_no_condition_is_there_where_clocks_agree() -> None:
    run = Scenario()
    await run.run_stage()
    assert [one.type for one in run.status.conditions if one.type == "ClockSkewed"] == []
