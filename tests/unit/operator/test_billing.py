"""The billed interval, case by case of the rule."""

from datetime import UTC, datetime
from typing import Any

import pytest
from llmtrain_operator.billing import Node, bill, interval
from llmtrain_operator.pricing import Price

NOW = datetime(2026, 3, 1, 12, 30, 0, tzinfo=UTC)
PRICE: dict[str, Any] = {"plan": "p", "planResourceVersion": "1", "tenure": "Rented", "microUsdPerHour": 3_990_000, "incrementSeconds": 1,
         "minimumSeconds": 60}  # fmt: skip
READY = {"n": Node(True, NOW)}


def at(minute: int, second: int = 0) -> str:
    return f"2026-03-01T12:{minute:02d}:{second:02d}Z"


def pod(
    phase: str, *, scheduled: bool = True, state: dict[str, Any] | None = None, deleted: str = "", grace: int = 30
) -> dict[str, Any]:
    meta: dict[str, Any] = {}
    if deleted:
        meta |= {"deletionTimestamp": deleted, "deletionGracePeriodSeconds": grace}
    conditions = [{"type": "PodScheduled", "status": "True" if scheduled else "False", "lastTransitionTime": at(0)}]
    conditions.append({"type": "Ready", "status": "False", "lastTransitionTime": at(7)})
    status: dict[str, Any] = {"phase": phase, "conditions": conditions}
    if state:
        status["containerStatuses"] = [{"name": "stage", "state": state}]
    return {"metadata": meta, "spec": {"nodeName": "n", "containers": [{"name": "stage"}]}, "status": status}


def told_at(body: dict[str, Any], time: str) -> dict[str, Any]:
    """The apiserver was last told of its status then."""
    body["metadata"]["managedFields"] = [{"subresource": "status", "time": time}]
    return body


def disrupted(body: dict[str, Any], status: str) -> dict[str, Any]:
    """Three minutes after it was placed."""
    condition = {"type": "DisruptionTarget", "status": status, "lastTransitionTime": at(3)}
    body["status"]["conditions"].append(condition)
    return body


def patient(body: dict[str, Any]) -> dict[str, Any]:
    """Somebody has asked for a longer grace than its own."""
    body["metadata"] |= {"deletionTimestamp": "2027-03-01T12:20:00Z", "deletionGracePeriodSeconds": 365 * 86400}
    body["spec"]["terminationGracePeriodSeconds"] = 60
    return body


ENDED = {"terminated": {"finishedAt": at(10)}}
RUNNING = {"running": {"startedAt": at(1)}}
CASES: dict[str, tuple[dict[str, Any], dict[str, Node], int, bool]] = {
    "never scheduled": (pod("Pending", scheduled=False), READY, 0, False),
    "running": (pod("Running", state=RUNNING), READY, 1800, False),
    "(a) ended": (pod("Succeeded", state=ENDED), READY, 600, True),
    "(a) deleted, its container ended": (pod("Running", state=ENDED, deleted=at(12)), READY, 600, True),
    "(b) deleted before any container ran, and the kubelet is done": (
        pod("Pending", deleted=at(5), grace=0),
        READY,
        300,
        True,
    ),
    "deleted, reported as failed, and the kubelet is still at it": (
        pod("Failed", state={"terminated": {"exitCode": 137, "finishedAt": None}}, deleted=at(5)),
        READY,
        1800,
        False,
    ),
    "deleted, the kubelet may still start it": (pod("Pending", deleted=at(5)), READY, 1800, False),
    "deleted before any container ran, on a node that is gone": (pod("Pending", deleted=at(5)), {}, 270, True),
    "deleted before any container ran, its node is gone, and its grace may yet be taken": (
        pod("Pending", deleted=at(31)),
        {},
        1800,
        False,
    ),
    "deleted before any container ran, its node is gone, and its grace was taken": (
        pod("Pending", deleted=at(5), grace=0),
        {},
        300,
        True,
    ),
    "deleted before any container ran, with a grace of a year, on a node that is gone": (
        patient(pod("Pending", deleted=at(5))),
        {},
        1200,
        True,
    ),
    "(c) failed before any container ran": (pod("Failed"), READY, 420, True),
    "(e) over and let go, a container said to run": (
        pod("Failed", state=RUNNING, deleted=at(20), grace=0),
        {"n": Node(True, datetime(2026, 3, 1, 11, tzinfo=UTC))},
        1200,
        True,
    ),
    "(e) let go less than five minutes ago": (
        pod("Failed", state=RUNNING, deleted=at(26), grace=0),
        READY,
        1800,
        False,
    ),
    "(e) its kubelet is still at it": (pod("Failed", state=RUNNING, deleted=at(20)), READY, 1800, False),
    "(e) it runs, whoever let it go": (pod("Running", state=RUNNING, deleted=at(20), grace=0), READY, 1800, False),
    "(e) told of after it was let go": (
        told_at(pod("Failed", state=RUNNING, deleted=at(20), grace=0), at(23)),
        READY,
        1380,
        True,
    ),
    "(d) node gone": (pod("Running", state=RUNNING, deleted=at(20)), {}, 1200, True),
    "(d) node silent for long": (
        pod("Running", state=RUNNING, deleted=at(20)),
        {"n": Node(False, datetime(2026, 3, 1, 12, 24, tzinfo=UTC))},
        1200,
        True,
    ),
    "(d) somebody had meant to disrupt it, and spared it": (
        disrupted(pod("Running", state=RUNNING, deleted=at(20)), "False"),
        {},
        1200,
        True,
    ),
    "(d) disrupted": (disrupted(pod("Running", state=RUNNING, deleted=at(20)), "True"), {}, 180, True),
    "(d) its grace is not over: its deletion may yet be asked for at once": (
        pod("Running", state=RUNNING, deleted=at(31)),
        {},
        1800,
        False,
    ),
    "(d) its grace is over: it may yet be collected": (
        pod("Running", state=RUNNING, deleted=at(29, 10)),
        {},
        1800,
        False,
    ),
    "deleted before any container ran, its node is gone, its grace is over, and it may yet be collected": (
        pod("Pending", deleted=at(29, 10)),
        {},
        1800,
        False,
    ),
    "(d) collected, which takes its grace": (
        disrupted(pod("Running", state=RUNNING, deleted=at(29, 50), grace=0), "True"),
        {},
        180,
        True,
    ),
    "(d) evicted before its node went: its kubelet may yet tell when it ended": (
        disrupted(pod("Running", state=RUNNING, deleted=at(31)), "True"),
        {},
        1800,
        False,
    ),
    "(d) disrupted on a node that has long been silent": (
        disrupted(pod("Running", state=RUNNING, deleted=at(31)), "True"),
        {"n": Node(False, datetime(2026, 3, 1, 12, 24, tzinfo=UTC))},
        180,
        True,
    ),
    "(d) its grace is over on a node that has long been silent: nobody collects it": (
        pod("Running", state=RUNNING, deleted=at(29, 50)),
        {"n": Node(False, datetime(2026, 3, 1, 12, 24, tzinfo=UTC))},
        1790,
        True,
    ),
    "(d) deleted with a grace of a year": (patient(pod("Running", state=RUNNING, deleted=at(20))), {}, 1800, True),
    "node silent for a moment": (
        pod("Running", state=RUNNING, deleted=at(20)),
        {"n": Node(False, datetime(2026, 3, 1, 12, 26, tzinfo=UTC))},
        1800,
        False,
    ),
    "deleted, still running": (pod("Running", state=RUNNING, deleted=at(20)), READY, 1800, False),
}


@pytest.mark.parametrize("case", list(CASES))
def test_the_interval_follows_the_rule(case: str) -> None:
    body, nodes, seconds, final = CASES[case]
    found = interval(body, nodes, NOW)
    assert (found.seconds, found.final) == (seconds, final)


def test_the_minimum_is_billed_at_the_frozen_price() -> None:
    short = pod("Succeeded", state={"terminated": {"finishedAt": at(0, 7)}})
    owed = bill(short, Price(**PRICE), 1, READY, NOW)
    assert (owed.seconds, owed.billed, owed.micro_usd) == (7, 60, 66_500)


def test_a_pod_that_was_never_scheduled_owes_nothing_in_spite_of_the_minimum() -> None:
    assert bill(pod("Pending", scheduled=False), Price(**PRICE), 1, READY, NOW).micro_usd == 0
