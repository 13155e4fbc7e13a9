"""Nodes are asked for by name, of pods in doubt alone: a list of five thousand takes hundreds of megabytes."""

import asyncio

import pytest
from llmtrain_operator.client import ApiError, Found, Object
from llmtrain_operator.recent import NODES_AT_ONCE, Recent
from llmtrain_operator.reconcile import JOBS

from tests.unit.operator.fake_cluster import FakeCluster, stamp
from tests.unit.operator.scenario import Scenario
from tests.unit.operator.test_acts import in_training

NODES = "api/v1/nodes"


class Asked(FakeCluster):
    """Notes which nodes are asked for; a list of them is a mistake."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = list[str]()
        self.at_once = self.most = 0

    async def get(self, resource: str, namespace: str, name: str, not_before: str = "") -> Object | None:
        if resource == NODES:
            self.asked.append(name)
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            await asyncio.sleep(0)
            self.at_once -= 1
        return await super().get(resource, namespace, name, not_before)

    async def find(self, resource: str, namespace: str, selector: str, not_before: str = "") -> Found:
        assert resource != NODES
        return await super().find(resource, namespace, selector, not_before)


def ready(cluster: FakeCluster, name: str, status: str = "True") -> None:
    condition = {"type": "Ready", "status": status, "lastTransitionTime": stamp(cluster.now)}
    cluster.add(NODES, {"metadata": {"name": name}, "status": {"conditions": [condition]}})


async def test_turns_share_what_they_ask_and_few_are_asked_at_once() -> None:
    cluster = Asked()
    for number in range(100):
        ready(cluster, f"n{number}")
    recent, names = Recent(cluster, cluster.clock), [f"n{number}" for number in range(100)]
    turns = await asyncio.gather(*(recent.nodes(names) for _ in range(50)))
    assert sorted(cluster.asked) == sorted(names)
    assert cluster.most == NODES_AT_ONCE
    assert all(node.ready for node in turns[-1].values())
    cluster.tick(6)
    await recent.nodes(names[:3])
    assert len(cluster.asked) == 103
    assert len(recent._nodes) == 3, "nobody asks for the others any more"


async def test_a_node_that_does_not_answer_or_is_gone_is_asked_for_anew() -> None:
    cluster = Asked()
    ready(cluster, "quiet", "Unknown")
    recent = Recent(cluster, cluster.clock)
    for _ in range(3):
        nodes = await recent.nodes(["quiet", "gone"])
        assert (nodes["quiet"].ready, nodes["gone"].gone) == (False, True)
    assert cluster.asked == ["gone", "quiet"] * 3


async def test_a_node_that_cannot_be_read_is_presumed_to_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """No bill ends for a right that is missing."""
    cluster = Asked()
    recent = Recent(cluster, cluster.clock)

    async def forbidden(*_: object) -> Object | None:
        cluster.asked.append("forbidden")
        raise ApiError(403, "Forbidden", "cannot get nodes")

    monkeypatch.setattr(cluster, "get", forbidden)
    assert (await recent.nodes(["n"]))["n"].ready
    assert (await recent.nodes(["n"]))["n"].ready
    assert len(cluster.asked) == 1


def watched(run: Scenario) -> Asked:
    asked = Asked()
    vars(asked).update({key: value for key, value in vars(run.cluster).items() if key not in ("asked", "most")})
    run.cluster = asked
    return asked


async def test_a_cluster_that_ends_in_time_asks_for_no_node() -> None:
    run = await in_training()
    asked = watched(run)
    run.job["spec"]["suspend"] = True
    await run.drain()
    assert (run.status.state, asked.asked) == ("Suspended", [])


@pytest.mark.parametrize("how", ["gone", "silent"])
async def test_of_a_pod_whose_end_is_overdue_the_node_is_asked_for(how: str) -> None:
    """Three pods on three nodes; the kubelet of one has died with its node."""
    run = await in_training()
    asked = watched(run)
    for number, name in enumerate(run.pods):
        ready(run.cluster, f"n{number}")
        run.cluster.pod(name)["spec"]["nodeName"] = f"n{number}"
    lost = run.cluster.pod("gpt-trn-1-w1-1")
    if how == "gone":
        del run.cluster.objects[(NODES, "", "n2")]
    else:
        node = run.cluster.objects[(NODES, "", "n2")]
        node["status"]["conditions"][0] |= {"status": "Unknown", "lastTransitionTime": stamp(run.cluster.now)}
    await run.cluster.delete("api/v1/pods", "team-a", lost["metadata"]["name"], "", 30)
    await run.turn()
    assert asked.asked == [], "its kubelet has half a minute"
    run.cluster.tick(45)
    await run.turn()
    assert set(asked.asked) == {"n2"}
    run.cluster.tick(300)
    await run.turn(3)
    assert "gpt-trn-1-w1-1" not in run.pods
    assert "gpt-trn-1-w1-2" in run.pods


async def test_an_alive_worker_of_an_older_incarnation_is_removed() -> None:
    """Its slot has had a successor; its own delete was refused, or somebody restored it."""
    run = await in_training()
    slot = run.job["status"]["stages"][2]["workers"][0]
    slot["incarnation"] = 2
    await run.turn()
    assert "deletionTimestamp" in run.cluster.pod("gpt-trn-1-w0-1")["metadata"]
    assert "gpt-trn-1-w0-2" in run.pods
    assert "deletionTimestamp" not in run.cluster.pod("gpt-trn-1-w1-1")["metadata"]
    run.cluster.tick(1)
    run.cluster.end_pod("gpt-trn-1-w0-1", 75)
    await run.turn(2)
    assert run.pods == ["gpt-trn-1-head", "gpt-trn-1-w0-2", "gpt-trn-1-w1-1"]
    assert run.status.stages[2].workers[0].incarnation == 2, "nothing failed"


@pytest.mark.parametrize("deleted", [False, True])
async def test_pods_of_a_job_whose_spec_does_not_parse_go_with_their_node(deleted: bool) -> None:
    """No kubelet confirms their end: they, the job and its namespace would stay for ever."""
    run = Scenario()
    await run.run_training(100)
    run.job["spec"]["training"]["tokens"] = "many"
    if deleted:
        await run.cluster.delete(JOBS, "team-a", "gpt", "", None)
    await run.turn()
    del run.cluster.objects[("api/v1/nodes", "", "node-1")]
    for _ in range(60):
        if run.cluster.of(JOBS):
            run.cluster.tick(15)
            run.memory.woken = True
            await run.turn()
    assert run.pods == []
    assert bool(run.cluster.of(JOBS)) is not deleted
