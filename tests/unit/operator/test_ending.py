"""A cluster that is taken down: when its job is woken, and which bills are written together."""

import pytest
from llmtrain_operator.client import Object
from llmtrain_operator.observation import Tale

from llmtrain.api.status import Stage
from tests.unit.operator.scenario import recorded_micro_usd
from tests.unit.operator.test_reads import Told

CHANGED, ENDED, GONE = Tale


class Ending(Told):
    """Training on a head and two workers, which is asked to suspend. `writes`: what is settled in each status written since."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = list[int]()
        self.uids = dict[str, str]()

    async def begin(self, running: str = "head w0 w1") -> None:
        for _ in (Stage.PREFLIGHT, Stage.CURATION):
            await self.run.run_stage()
        await self.until_created()
        for who in running.split():
            self.run.cluster.run_pod(self.pod(who)["metadata"]["name"])
        await self.listed()
        self.uids = {who: self.pod(who)["metadata"]["uid"] for who in ("head", "w0", "w1")}
        self.run.cluster.tick(100)
        self.run.job["spec"]["suspend"] = True
        self.jobs._wake(self.loop)
        await self.look()

    def pod(self, who: str) -> Object:
        return next(pod for pod in self.run.cluster.of("api/v1/pods") if f"-{who}" in pod["metadata"]["name"])

    async def look(self) -> None:
        """A turn; of a status that it writes, how many pods are settled."""
        before = self.run.job.get("status")
        await self.listed()
        if self.run.job["status"] != before:
            self.writes.append(len(self.run.status.ledger.settled))

    def end(self, who: str, seconds: int = 1) -> None:
        """Its container ends after so many seconds."""
        self.run.cluster.tick(seconds)
        self.run.cluster.end_pod(self.pod(who)["metadata"]["name"], 75)

    def wakes(self, who: str, tale: Tale) -> bool:
        """Whether the job is woken by what is told of a pod."""
        self.cluster.version += 1000
        self.jobs.pod_told("team-a", "gpt", self.uids.get(who, who), str(self.cluster.version), tale)
        return self.loop.wake.is_set()


@pytest.fixture
async def ending() -> Ending:
    ending = Ending()
    await ending.begin()
    ending.writes.clear()
    return ending


async def test_a_head_that_only_now_starts_is_no_news_to_a_job_that_ends() -> None:
    ending = Ending()
    await ending.begin("w0")
    assert not ending.wakes("head", CHANGED), "it has nothing to save"
    assert ending.wakes("head", ENDED)


async def test_of_an_ending_cluster_each_phase_is_looked_at_once_and_two_of_them_are_written(ending: Ending) -> None:
    assert [ending.wakes("w0", GONE), ending.wakes("w1", ENDED)] == [False, False], "the workers wait for the head"
    assert ending.wakes("head", CHANGED), "its containers may have ended"
    await ending.look()
    ending.end("head")
    assert ending.wakes("head", ENDED)
    await ending.look()
    for worker, wakes in (("w0", False), ("w1", True)):
        ending.end(worker)
        assert not ending.wakes(worker, CHANGED)
        assert ending.wakes(worker, ENDED) == wakes
    await ending.look()
    assert [ending.wakes(who, GONE) for who in ("w1", "head", "w0")] == [False, False, True]
    await ending.look()
    assert ending.run.status.state == "Suspended"
    assert ending.writes == [3, 0], "one for the three bills, one once all have gone"
    assert ending.run.status.ledger.total_micro_usd == recorded_micro_usd(ending.run.cluster)


async def test_a_pod_that_goes_unbilled_is_as_good_as_one_that_ends(ending: Ending) -> None:
    assert ending.wakes("head", GONE), "somebody stripped its finalizer, and the workers are paid for in vain"


async def test_a_pod_that_takes_longer_to_end_does_not_hold_the_bills_of_others(ending: Ending) -> None:
    ending.end("head")
    await ending.look()
    ending.end("w0")
    await ending.look()
    assert ending.writes == []
    ending.run.cluster.tick(5)
    await ending.look()
    assert ending.writes == [2]
    ending.end("w1")
    await ending.look()
    await ending.look()
    assert ending.run.status.state == "Suspended"
    assert ending.run.status.ledger.total_micro_usd == recorded_micro_usd(ending.run.cluster)


async def test_a_pod_of_a_cluster_that_works_is_booked_as_soon_as_it_has_ended() -> None:
    working = Told()
    await working.run.run_stage()
    await working.run.until_pods()
    assert len(working.run.pods) > 1
    await working.run.turn(2)
    for name in working.run.pods:
        working.run.cluster.run_pod(name)
    await working.run.turn()
    working.run.cluster.tick(10)
    working.run.end_head()
    await working.run.turn()
    assert len(working.run.status.ledger.settled) == 1
