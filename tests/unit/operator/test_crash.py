"""A job whose reconcile loop ends in a bug says so, and loses nothing of its status."""

from typing import Any

import pytest
from llmtrain_operator.client import ApiError
from llmtrain_operator.crash import tell_crash
from llmtrain_operator.reconcile import JOBS

from tests.unit.operator.fake_cluster import clone
from tests.unit.operator.scenario import Scenario


async def test_a_crash_is_told_once_in_a_condition_and_the_next_turn_takes_it_back() -> None:
    run = Scenario()
    await run.turn(3)
    before = clone(run.job["status"])
    await tell_crash(run.cluster, "team-a", "gpt", KeyError("\x1b[2Juid"), run.cluster.now)
    told = next(one for one in run.job["status"]["conditions"] if one["type"] == "Progressing")
    assert (told["status"], told["reason"]) == ("False", "ReconcileFailed")
    assert "KeyError" in told["message"]
    assert "\x1b" not in told["message"]
    assert {**run.job["status"], "conditions": 0} == {**before, "conditions": 0}
    version = run.job["metadata"]["resourceVersion"]
    await tell_crash(run.cluster, "team-a", "gpt", KeyError("\x1b[2Juid"), run.cluster.now)
    assert run.job["metadata"]["resourceVersion"] == version, "the same crash again writes nothing"
    run.memory.woken = True
    await run.turn()
    assert next(one for one in run.job["status"]["conditions"] if one["type"] == "Progressing")["status"] == "True"


@pytest.mark.parametrize("status", [None, {}, {"conditions": 7}, {"conditions": [None, {"type": "Progressing"}]}])
async def test_a_crash_is_told_whatever_the_status_is(status: Any) -> None:
    run = Scenario()
    run.job["status"] = status
    await tell_crash(run.cluster, "team-a", "gpt", RecursionError("deep"), run.cluster.now)
    assert run.job["status"]["conditions"][-1]["reason"] == "ReconcileFailed"


async def test_a_crash_that_cannot_be_told_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Scenario()

    async def refuse(*_: Any) -> Any:
        raise ApiError(503, "Unavailable", "later")

    monkeypatch.setattr(run.cluster, "replace", refuse)
    await tell_crash(run.cluster, "team-a", "gpt", KeyError("x"), run.cluster.now)
    del run.cluster.objects[(JOBS, "team-a", "gpt")]
    await tell_crash(run.cluster, "team-a", "gpt", KeyError("x"), run.cluster.now)
