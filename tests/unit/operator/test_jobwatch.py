"""kopf is started once jobs are served, and anew where they are served again or versions have gone back."""

import asyncio
import contextlib
from collections.abc import Sequence

import pytest
from llmtrain_operator.client import ApiError
from llmtrain_operator.jobwatch import JobWatch

from tests.unit.virtual_time import in_virtual_time

ABSENT = ApiError(404, "NotFound", "the server could not find the requested resource")
SILENT = ApiError(0, "NoAnswer", "cut")
Answer = str | ApiError


class Server:
    """Answers each question for the newest version of jobs in turn; then never more."""

    def __init__(self, *answers: Answer) -> None:
        self.answers, self.spent = list(answers), asyncio.Event()

    async def newest_version(self, resource: str, namespace: str) -> str:
        if not self.answers:
            self.spent.set()
            await asyncio.Event().wait()
        answer = self.answers.pop(0)
        if isinstance(answer, ApiError):
            raise answer
        return answer


class Follower:
    """What stands for kopf: it counts how often it was started, and ends when it is asked to."""

    def __init__(self, ends: Sequence[BaseException | None] = ()) -> None:
        self.started = self.stopped = 0
        self.ends = list(ends)
        """How it ends by itself, a start each; afterwards it does not."""

    async def follow(self, stop: asyncio.Event) -> None:
        self.started += 1
        if self.ends:
            end = self.ends.pop(0)
            if end is not None:
                raise end
            return
        await stop.wait()
        self.stopped += 1


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmtrain_operator.jobwatch.ABSENT_SECONDS", 0)
    monkeypatch.setattr("llmtrain_operator.jobwatch.SERVED_SECONDS", 0)


async def played(server: Server, follower: Follower) -> int:
    """Until the server has answered all that it has, and then the process ends; how often it was asked to stop before."""
    watch = JobWatch(server, [], follower.follow, lambda: None)
    task = asyncio.create_task(watch.run())
    await asyncio.wait_for(server.spent.wait(), 5)
    stopped = follower.stopped
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return stopped


@pytest.mark.parametrize(
    ("answers", "started", "stopped"),
    [
        ((ABSENT, ABSENT), 0, 0),
        ((ABSENT, "10"), 1, 0),
        (("10", "10", "12"), 1, 0),
        (("10", SILENT, "12", ApiError(403, "Forbidden", ""), "12"), 1, 0),
        (("10", ABSENT), 1, 1),
        (("10", ABSENT, ABSENT, "20", "20"), 2, 1),
        (("900", "40"), 1, 1),
        (("900", "40", "41", "42"), 2, 1),
    ],
    ids=["never", "later", "served", "not answered", "gone", "gone and back", "restored", "restored and followed"],
)
@in_virtual_time
async def test_it_is_started_where_jobs_are_served_and_anew_where_that_began_anew(
    answers: Sequence[Answer], started: int, stopped: int
) -> None:
    follower = Follower()
    assert await played(Server(*answers), follower) == stopped
    assert follower.started == started
    assert follower.stopped == started, "it is asked to stop, not cancelled, where the process ends"


@in_virtual_time
async def test_each_namespace_is_asked_for() -> None:
    asked = list[str]()

    class Two(Server):
        async def newest_version(self, resource: str, namespace: str) -> str:
            asked.append(namespace)
            return await super().newest_version(resource, namespace)

    server, follower = Two("10", "11", "12"), Follower()
    task = asyncio.create_task(JobWatch(server, ["a", "b"], follower.follow, lambda: None).run())
    await asyncio.wait_for(server.spent.wait(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (asked[:3], follower.started) == (["a", "b", "a"], 1)


@in_virtual_time
async def test_a_bug_of_the_watch_is_raised_to_whoever_begins_it_anew() -> None:
    watch = JobWatch(Server("10"), [], Follower([ValueError("broken")]).follow, lambda: None)
    with pytest.raises(ValueError, match="broken"):
        await asyncio.wait_for(watch.run(), 5)


@in_virtual_time
async def test_a_watch_that_ends_unasked_had_a_signal() -> None:
    """kopf holds the process' signals until they are taken back from it."""
    over = list[str]()
    watch = JobWatch(Server("10"), [], Follower([None]).follow, lambda: over.append("over"))
    await asyncio.wait_for(watch.run(), 5)
    assert over == ["over"]
