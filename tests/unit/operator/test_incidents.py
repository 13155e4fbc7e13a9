"""Which cause a pod's waste has: of its start, of its end, of what it did again."""

from typing import Any

import pytest
from llmtrain_operator.incidents import Incidents
from llmtrain_operator.podstate import PodState

from llmtrain.api.status import AttemptRecord, Outcome, Stage, StageState, StageStatus, WorkerState
from llmtrain.ledger.goodput import WASTE, waste
from tests.unit.operator.lifetimes import EPOCH, stamp
from tests.unit.operator.scenario import Scenario

LOST = Outcome(state=StageState.PENDING, reason="NodeLost")
UNPLACED = Outcome(state=StageState.PENDING, reason="Unschedulable", idle=True)
DONE = Outcome(state=StageState.SUCCEEDED, reason="Completed")
FAILED = {"terminated": {"exitCode": 70, "startedAt": stamp(1), "finishedAt": stamp(9)}}
KILLED = {"terminated": {"exitCode": 137, "reason": "OOMKilled", "startedAt": stamp(1), "finishedAt": stamp(9)}}
WELL = {"terminated": {"exitCode": 0, "startedAt": stamp(1), "finishedAt": stamp(9)}}


def pod(attempt: int = 1, incarnation: int = 1, state: Any = WELL, role: str = "worker") -> PodState:
    labels = {"stage": "Training", "attempt": str(attempt), "role": role, "index": "1", "incarnation": str(incarnation)}
    status = {
        "phase": "Failed" if state is not WELL else "Succeeded",
        "containerStatuses": [{"name": "stage", "state": state}],
    }
    meta = {"name": "p", "uid": "p", "labels": {f"llmtrain.dev/{key}": value for key, value in labels.items()}}
    return PodState({"metadata": meta, "spec": {"nodeName": "n", "containers": [{"name": "stage"}]}, "status": status})


def stage(attempt: int = 1, outcome: Outcome | None = None, **slot: Any) -> StageStatus:
    workers = [WorkerState(index=1, **slot)]
    return StageStatus(name=Stage.TRAINING, attempt=attempt, outcome=outcome, workers=workers)


def record(attempt: int, reason: str) -> AttemptRecord:
    return AttemptRecord(stage=Stage.TRAINING, attempt=attempt, end_time="", reason=reason)


@pytest.mark.parametrize(
    ("one", "now", "began", "redone", "ended"),
    [
        (pod(), stage(outcome=DONE), "Start", "WentBack", "Completed"),
        (pod(), stage(outcome=LOST), "Start", "WentBack", "NodeLost"),
        (pod(2), stage(2, DONE), "Suspended", "Suspended", "Completed"),
        (pod(3), stage(3, DONE), "Retried", "Retried", "Completed"),
        (pod(), stage(outcome=UNPLACED), "Unschedulable", "WentBack", "Unschedulable"),
        (pod(incarnation=2), stage(outcome=DONE, incarnation=2, replaced_for="OutOfMemory"),
         "OutOfMemory", "OutOfMemory", "Completed"),
        (pod(incarnation=2), stage(outcome=DONE, incarnation=2), "WorkerReplaced", "WentBack", "Completed"),
        (pod(), stage(incarnation=2, replaced_for="NodeLost"), "Start", "NodeLost", "NodeLost"),
        (pod(state=KILLED), stage(), "Start", "WentBack", "OutOfMemory"),
        (pod(state=FAILED), stage(), "Start", "WentBack", "Internal"),
        (pod(role="head"), stage(), "Start", "WentBack", "Completed"),
        (pod(), stage(2), "Start", "WentBack", "Suspended"),
        (pod(2), None, "Suspended", "Suspended", "Completed"),
    ],
)  # fmt: skip
def test_the_cause_of_each_kind(one: PodState, now: StageStatus | None, began: str, redone: str, ended: str) -> None:
    incidents = Incidents(now, [record(1, "Suspended")], {}, EPOCH)
    found = {kind: incidents.cause(one, kind) for kind in WASTE}
    assert [found[kind] for kind in ("waiting", "pulling", "starting")] == [began] * 3
    assert (found["redone"], found["stopping"]) == (redone, ended)
    assert (found["checkpointing"], found["minimum"]) == ("Checkpoint", "BillingMinimum")


async def test_a_run_with_a_lost_worker_and_a_suspension_tells_what_each_has_cost() -> None:
    run = Scenario()
    await run.run_training(300)
    run.cluster.end_pod("gpt-trn-1-w1-1", 137, reason="Error")
    await run.turn(3)
    for name in run.pods:
        run.cluster.run_pod(name)
    run.cluster.tick(100)
    run.job["spec"]["suspend"] = True
    await run.turn()
    run.cluster.end_pod("gpt-trn-1-head", 75)
    await run.drain()
    run.job["spec"]["suspend"] = False
    await run.run_stage(20)
    ledger = run.status.ledger
    found = {row.cause: row.cost_micro_usd for row in ledger.waste_by_cause}
    assert {"Start", "Infrastructure", "Suspended", "Completed", "BillingMinimum"} <= set(found)
    assert min(found.values()) > 0
    whole = sum(waste(entry.cost_split) for entry in ledger.entries)
    assert sum(found.values()) == whole
    assert [(row.node, row.cost_micro_usd) for row in ledger.waste_by_node] == [("node-1", whole)]
