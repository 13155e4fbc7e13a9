"""What other controllers do to a list of finalizers between our read and our write is never undone."""

from collections.abc import Mapping
from typing import Any

import pytest
from llmtrain_operator.client import ApiError, Object
from llmtrain_operator.finalizers import add_finalizer, remove_finalizer
from llmtrain_operator.reconcile import JOBS

from tests.unit.operator.fake_cluster import FakeCluster, clone
from tests.unit.operator.scenario import Scenario
from tests.unit.operator.test_life_cycle import in_training

PODS, OURS, THEIRS = "api/v1/pods", "llmtrain.dev/settle", "kueue.x-k8s.io/managed"


class Busy(FakeCluster):
    """Before each write of finalizers somebody else sets the list to the next of `others`."""

    def __init__(self) -> None:
        super().__init__()
        self.others: list[list[str]] = []
        self.asked = 0

    async def replace_finalizers(self, resource: str, seen: Mapping[str, Any], after: list[str]) -> Object | None:
        self.asked += 1
        if self.others:
            meta = seen["metadata"]
            self.objects[(resource, meta["namespace"], meta["name"])]["metadata"]["finalizers"] = self.others.pop(0)
        return await super().replace_finalizers(resource, seen, after)


def there(cluster: FakeCluster, *finalizers: str) -> Object:
    metadata = {"name": "p", "namespace": "team-a", "finalizers": list(finalizers)}
    return cluster.add(PODS, {"metadata": metadata, "spec": {}, "status": {}})


def left(cluster: FakeCluster) -> list[str]:
    found: list[str] = cluster.objects[(PODS, "team-a", "p")]["metadata"]["finalizers"]
    return found


@pytest.mark.parametrize(
    ("before", "meanwhile", "after"),
    [
        ([OURS], [], []),
        ([OURS], [[OURS, THEIRS]], [THEIRS]),
        ([THEIRS, OURS], [[OURS]], []),
        ([OURS], [[OURS, THEIRS], [THEIRS, OURS, "c"]], [THEIRS, "c"]),
        ([OURS], [[THEIRS]], [THEIRS]),
    ],
    ids=["alone", "gains one", "loses one", "changes twice", "loses ours"],
)
async def test_ours_goes_and_theirs_stay(before: list[str], meanwhile: list[list[str]], after: list[str]) -> None:
    cluster = Busy()
    seen = there(cluster, *before)
    cluster.others = clone(meanwhile)
    await remove_finalizer(cluster, PODS, seen, OURS)
    assert left(cluster) == after
    # One request where nobody else was at it; otherwise one more each time, but for what is done already.
    assert cluster.asked <= 1 + len(meanwhile)


@pytest.mark.parametrize("meanwhile", [[], [[THEIRS]], [[THEIRS], [THEIRS, "c"]]])
async def test_ours_comes_to_theirs(meanwhile: list[list[str]]) -> None:
    cluster = Busy()
    seen = there(cluster)
    cluster.others = clone(meanwhile)
    await add_finalizer(cluster, PODS, seen, OURS)
    assert left(cluster) == [*(meanwhile[-1] if meanwhile else []), OURS]


async def test_another_object_of_that_name_is_not_touched() -> None:
    cluster = FakeCluster()
    seen = there(cluster, OURS)
    del cluster.objects[(PODS, "team-a", "p")]
    there(cluster, OURS)
    assert await remove_finalizer(cluster, PODS, seen, OURS) is None
    assert left(cluster) == [OURS]
    del cluster.objects[(PODS, "team-a", "p")]
    assert await remove_finalizer(cluster, PODS, seen, OURS) is None


async def test_a_list_that_never_stands_still_is_given_up_and_a_refusal_is_told() -> None:
    cluster = Busy()
    seen = there(cluster, OURS)
    cluster.others = [[OURS, str(number)] for number in range(100)]
    with pytest.raises(ApiError, match="kept changing"):
        await remove_finalizer(cluster, PODS, seen, OURS)
    assert cluster.asked < 10
    cluster = Busy()
    seen = there(cluster)
    await cluster.delete(PODS, "team-a", "p", "", None)
    held = there(cluster, THEIRS)
    await cluster.delete(PODS, "team-a", "p", "", None)
    with pytest.raises(ApiError, match="no new finalizers"):
        await add_finalizer(cluster, PODS, held, OURS)
    assert cluster.asked == 1


async def test_a_job_and_its_pods_keep_what_other_controllers_put_on_them_in_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = await in_training()
    real = run.cluster.replace_finalizers

    async def late(resource: str, seen: Mapping[str, Any], after: list[str]) -> Object | None:
        body = run.cluster.objects[(resource, "team-a", seen["metadata"]["name"])]
        if THEIRS not in body["metadata"].setdefault("finalizers", []):
            body["metadata"]["finalizers"].append(THEIRS)
        return await real(resource, seen, after)

    monkeypatch.setattr(run.cluster, "replace_finalizers", late)
    run.cluster.end_pod(next(name for name in run.pods if name.endswith("head")), 64)
    for _ in range(6):
        await run.drain_step()
    assert {name: run.cluster.pod(name)["metadata"]["finalizers"] for name in run.pods} == {
        f"gpt-trn-1-{role}": [THEIRS] for role in ("head", "w0-1", "w1-1")
    }
    new = Scenario()
    new.job["metadata"]["finalizers"] = [THEIRS]
    await new.turn()
    assert set(new.job["metadata"]["finalizers"]) == {THEIRS, "llmtrain.dev/ledger"}
    assert new.cluster.of(JOBS)
