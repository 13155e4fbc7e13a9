"""Jobs are followed from wherever they are: before their CRD is there, after it came back, after etcd was restored."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest
from llmtrain_operator.client import ApiError, Object
from llmtrain_operator.jobwatch import GONE, JobWatch

ABSENT = ApiError(404, "NotFound", "the server could not find the requested resource")
CUT = ApiError(0, "NoAnswer", "cut")
Event = tuple[str, str, str]
"""Kind, name of the job, version."""


class Server:
    """What it has at each watch that begins: jobs with versions, the newest version, what the watch then tells."""

    def __init__(self, *lives: tuple[Sequence[tuple[str, str]] | ApiError, str, Sequence[Event | ApiError]]) -> None:
        self.lives, self.over = list(lives), asyncio.Event()
        self.begun, self.listed = list[str](), 0

    async def newest_version(self, resource: str, namespace: str) -> str:
        if not self.lives:
            self.over.set()
            await asyncio.Event().wait()
        jobs, newest, _ = self.lives[0]
        if isinstance(jobs, ApiError):
            self.lives.pop(0)
            raise jobs
        return newest

    async def list_metadata(self, resource: str, namespace: str, selector: str) -> list[Object]:
        self.listed += 1
        jobs = self.lives[0][0]
        assert not isinstance(jobs, ApiError)
        return [self._job(name, version) for name, version in jobs]

    async def watch_objects(self, resource: str, namespace: str, version: str) -> AsyncIterator[tuple[str, Object]]:
        self.begun.append(version)
        for event in self.lives.pop(0)[2]:
            if isinstance(event, ApiError):
                raise event
            yield event[0], self._job(event[1], event[2])

    def _job(self, name: str, version: str) -> Object:
        return {"metadata": {"namespace": "a", "name": name, "resourceVersion": version}}


async def told(server: Server, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is told of which job, at which version; with a star where the job came along."""
    monkeypatch.setattr("llmtrain_operator.jobwatch.PAUSE_SECONDS", 0)
    monkeypatch.setattr("llmtrain_operator.jobwatch.ABSENT_SECONDS", 0)
    tales = list[str]()

    def ensure(namespace: str, name: str, version: str, raw: Object | None) -> None:
        tales.append(f"{name} {version}{'*' if raw else ''}")

    watch = JobWatch(server, [], ensure, lambda namespace, name, version: tales.append(f"{name} gone {version}"))
    task = asyncio.create_task(watch.run())
    await asyncio.wait_for(server.over.wait(), 5)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return tales


async def test_jobs_are_listed_once_and_followed_from_there(monkeypatch: pytest.MonkeyPatch) -> None:
    first = [("ADDED", "b", "12"), ("MODIFIED", "a", "13"), ("BOOKMARK", "", "20"), ("DELETED", "b", "21")]
    server = Server(([("a", "5")], "10", first), ([("a", "13")], "30", [("MODIFIED", "a", "31")]))
    assert await told(server, monkeypatch) == ["a 5", "b 12*", "a 13*", "b gone 21", "a 31*"]
    assert (server.begun, server.listed) == (["10", "21"], 1)


async def test_a_cut_connection_costs_no_list_and_a_version_that_is_too_old_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server(
        ([("a", "5")], "10", [("MODIFIED", "a", "11"), CUT]),
        ([("a", "11")], "12", [ApiError(GONE, "Expired", "too old")]),
        ([("a", "15"), ("b", "16")], "20", []),
    )
    assert await told(server, monkeypatch) == ["a 5", "a 11*", "a 15", "b 16"]
    assert (server.begun, server.listed) == (["10", "11", "20"], 2)


async def test_what_went_while_nobody_followed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(([("a", "5"), ("b", "6")], "10", [ApiError(GONE, "Expired", "")]), ([("a", "5")], "20", []))
    assert await told(server, monkeypatch) == ["a 5", "b 6", "a 5", "b gone 20"]


async def test_a_crd_that_comes_later_or_goes_and_comes_back_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(
        (ABSENT, "", []),
        (ABSENT, "", []),
        ([("a", "5")], "10", [("DELETED", "a", "11"), ABSENT]),
        (ABSENT, "", []),
        ([("c", "20")], "30", []),
    )
    assert await told(server, monkeypatch) == ["a 5", "a gone 11", "c 20"]


async def test_after_a_restore_jobs_are_listed_and_followed_in_the_new_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watch from the old version would be silent until the new history is as long."""
    server = Server(([("a", "500"), ("b", "501")], "900", [CUT]), ([("a", "40")], "50", []))
    assert await told(server, monkeypatch) == ["a 500", "b 501", "a 40", "b gone 50"]
    assert server.begun == ["900", "50"]


async def test_one_object_that_cannot_be_read_ends_no_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(([("a", "5")], "10", [("MODIFIED", "a", "11")]))

    async def broken(resource: str, namespace: str, version: str) -> AsyncIterator[tuple[str, Object]]:
        server.lives.pop(0)
        yield "MODIFIED", {"metadata": {"resourceVersion": "11"}}
        yield "MODIFIED", {"metadata": {"namespace": "a", "name": "a", "resourceVersion": "12"}}

    monkeypatch.setattr(server, "watch_objects", broken)
    assert await told(server, monkeypatch) == ["a 5", "a 12*"]
