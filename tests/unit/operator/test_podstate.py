"""What a pod says is read once, and what was read is never taken for another question's answer."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from llmtrain_operator.billing import Node, interval
from llmtrain_operator.podstate import PodState
from llmtrain_operator.pricing import Price

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
READY, GONE = Node(True, NOON), Node(False, None, gone=True)
PRICE = Price("gpu", "7", "Rented", 3_990_000, 1, 60)


def raw(**metadata: Any) -> dict[str, Any]:
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-03-01T12:00:00Z"}
    running = {"name": "stage", "state": {"running": {"startedAt": "2026-03-01T12:01:00Z"}}}
    status = {"phase": "Running", "conditions": [scheduled], "containerStatuses": [running]}
    return {"metadata": {"name": "p", "uid": "u", **metadata}, "spec": {"nodeName": "n"}, "status": status}


@pytest.mark.parametrize("times", [1, 2])
def test_a_span_that_is_kept_is_that_of_its_node_and_its_time(times: int) -> None:
    """The same pod is asked at another time, when its node is found to be gone, and as it became."""
    pod = PodState(raw(deletionTimestamp="2026-03-01T12:02:00Z", deletionGracePeriodSeconds=30))
    asked = [({"n": node}, NOON + timedelta(minutes=after)) for after in (1, 5, 30) for node in (READY, GONE)]
    for nodes, now in asked * times:
        assert pod.span(nodes, now) == interval(pod.raw, nodes, now)
    assert pod.span({}, NOON) == interval(pod.raw, {}, NOON)
    later = replace(pod, raw=raw())
    assert not later.span({"n": GONE}, asked[-1][1]).final
    assert pod.span({"n": GONE}, asked[-1][1]).final


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ({}, True),
        ({"planResourceVersion": "8"}, True),
        ({"plan": "cpu"}, False),
        ({"tenure": "Owned"}, False),
        ({"microUsdPerHour": 3_990_001}, False),
        ({"incrementSeconds": 60}, False),
        ({"minimumSeconds": 0}, False),
    ],
)
def test_prices_bill_alike_where_all_but_the_plans_version_is_the_same(other: dict[str, Any], same: bool) -> None:
    assert PRICE.bills_as(replace(PRICE, **other)) is same
