"""Who is woken by a change of a pod, and who is not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from llmtrain_operator.client import ApiError, Object
from llmtrain_operator.connection import proxy_of
from llmtrain_operator.observation import Tale
from llmtrain_operator.podwatch import GONE, PodWatch

from tests.unit.virtual_time import in_virtual_time

Event = tuple[str, str] | tuple[str, str, Object]


class Stream:
    """Watches one after the other; each begins where it is told to and ends with what the apiserver says."""

    def __init__(self, *watches: list[Event | ApiError]) -> None:
        self._watches = list(watches)
        self.own: set[str] = set()
        self.asked: list[str] = []
        self.newest = "100"
        self.over = asyncio.Event()

    async def newest_version(self, resource: str, namespace: str) -> str:
        return self.newest

    def forget_own(self) -> None:
        self.own.clear()

    def is_own(self, version: str) -> bool:
        return version in self.own

    async def watch_metadata(
        self, resource: str, namespace: str, selector: str, version: str
    ) -> AsyncIterator[tuple[str, Object]]:
        self.asked.append(version)
        if not self._watches:
            self.over.set()
            await asyncio.Event().wait()
        for event in self._watches.pop(0):
            if isinstance(event, ApiError):
                raise event
            self.newest = event[1]
            labels = {"llmtrain.dev/job": "gpt"}
            meta = {"namespace": "team-a", "labels": labels, "resourceVersion": event[1], "uid": "uid-1"}
            yield event[0], meta | (event[2] if len(event) == 3 else {})


async def told(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> tuple[list[tuple[str, Tale]], int]:
    """What was told of the job's pod by version, and how often everybody was woken."""
    monkeypatch.setattr("llmtrain_operator.podwatch.PAUSE_SECONDS", 0)
    tales: list[tuple[str, Tale]] = []
    everybody: list[None] = []

    def tell(space: str, job: str, uid: str, version: str, tale: Tale) -> None:
        assert (space, job, uid) == ("team-a", "gpt", "uid-1")
        tales.append((version, tale))

    watch = PodWatch(stream, [], tell, lambda: everybody.append(None))
    task = asyncio.create_task(watch.run())
    await asyncio.wait_for(stream.over.wait(), 5)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return tales, len(everybody)


@in_virtual_time
async def test_the_operators_own_writes_wake_nobody_but_an_object_that_is_gone_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = Stream(
        [("ADDED", "101"), ("MODIFIED", "102"), ("MODIFIED", "103"), ("BOOKMARK", "104"), ("DELETED", "105")]
    )
    stream.own = {"101", "103", "105"}
    assert await told(stream, monkeypatch) == ([("102", Tale.CHANGED), ("105", Tale.GONE)], 1)


@in_virtual_time
async def test_of_a_pod_that_is_billed_and_released_only_its_going_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    ending, held = {"deletionTimestamp": "2026-01-01T00:00:00Z"}, {"finalizers": ["llmtrain.dev/settle"]}
    stream = Stream(
        [
            ("MODIFIED", "101", held),
            ("MODIFIED", "102", ending | held | {"deletionGracePeriodSeconds": 30}),
            ("MODIFIED", "1021", ending | held | {"deletionGracePeriodSeconds": 0}),
            ("MODIFIED", "103", ending | {"finalizers": ["example.com/other"]}),
            ("MODIFIED", "104", ending),
            ("MODIFIED", "105", {}),
            ("DELETED", "106", ending),
        ]
    )
    tales, _ = await told(stream, monkeypatch)
    changed = [(version, Tale.CHANGED) for version in ("101", "102", "105")]
    assert tales == [*changed[:2], ("1021", Tale.ENDED), changed[2], ("106", Tale.GONE)]


@in_virtual_time
async def test_who_is_deleted_or_unlabelled_while_our_finalizer_holds_it_is_told_as_leaving(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A watch by label calls a pod deleted that has lost the label; of one that is truly deleted it told before."""
    monkeypatch.setattr("llmtrain_operator.podwatch.PAUSE_SECONDS", 0)
    ending, held = {"deletionTimestamp": "2026-01-01T00:00:00Z"}, {"finalizers": ["llmtrain.dev/settle"]}
    stream = Stream(
        [
            ("MODIFIED", "101", held),
            ("DELETED", "102", held),
            ("MODIFIED", "103", held | ending),
            ("DELETED", "104", held | ending),
            ("DELETED", "105", {}),
            ("DELETED", "106", {"finalizers": ["example.com/other"]}),
        ]
    )
    seen: list[str] = []
    gone: list[str] = []
    watch = PodWatch(
        stream,
        [],
        lambda *_: None,
        lambda: None,
        leaving=lambda meta: seen.append(meta["resourceVersion"]),
        left=gone.append,
    )
    task = asyncio.create_task(watch.run())
    await asyncio.wait_for(stream.over.wait(), 5)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert seen == ["102", "103"]
    assert gone == ["uid-1", "uid-1"], "what our finalizer holds may have lost our label"


@in_virtual_time
async def test_a_watch_that_ends_goes_on_where_it_was_and_one_that_is_too_old_wakes_everybody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = Stream([("MODIFIED", "102")], [ApiError(0, "NoAnswer", "cut")], [ApiError(GONE, "Expired", "too old")])
    assert await told(stream, monkeypatch) == ([("102", Tale.CHANGED)], 2)
    assert stream.asked == ["100", "102", "102", "102"]


@in_virtual_time
async def test_a_watch_does_not_go_on_ahead_of_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """etcd was restored from a backup while the connection was cut: from the old version the watch would be silent."""
    monkeypatch.setattr("llmtrain_operator.podwatch.PAUSE_SECONDS", 0)
    stream, told = Stream([("MODIFIED", "902")], [("MODIFIED", "51")]), list[str]()
    stream.own = {"51"}  # what the operator wrote in the history that was lost
    versions = iter(["900", "50"])

    async def newest(resource: str, namespace: str) -> str:
        return next(versions, "99")

    monkeypatch.setattr(stream, "newest_version", newest)
    watch = PodWatch(
        stream,
        [],
        lambda space, job, uid, version, tale: told.append(version),
        lambda: told.append("all"),
        restored=lambda: told.append("restored"),
    )
    task = asyncio.create_task(watch.run())
    await asyncio.wait_for(stream.over.wait(), 5)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert told == ["all", "902", "restored", "all", "51"]
    assert stream.asked == ["900", "50", "51"]


@pytest.mark.parametrize(
    ("server", "expected"),
    [("https://10.0.0.1:443", "http://proxy:3128"), ("https://inside.example", None), ("http://10.0.0.1", None)],
)
def test_the_apiserver_is_asked_through_the_proxy_that_the_environment_names(
    server: str, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "no_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", ".example")
    assert proxy_of(server) == expected
