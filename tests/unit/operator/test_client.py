"""The client against answers of any kind: what it waits for, and what it makes of an answer that is no apiserver's."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from llmtrain_operator import client
from llmtrain_operator.batches import Result
from llmtrain_operator.client import ApiError, KubernetesCluster
from llmtrain_operator.jobs import Failing
from llmtrain_operator.observation import CreateHead
from llmtrain_operator.refused import Refused

from tests.unit.operator.fake_cluster import START

PODS = "api/v1/pods"
BLUEPRINT: Any = None
SLOW_DOWN = json.dumps({"reason": "TooManyRequests", "message": "too many"}).encode()


class Answer:
    """One answer of HTTP."""

    def __init__(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
        self.status, self.data, self.headers = status, data, headers

    async def __aenter__(self) -> "Answer":
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def read(self) -> bytes:
        return self.data

    @property
    async def content(self) -> AsyncIterator[bytes]:
        for line in self.data.splitlines(keepends=True):
            yield line


class Server:
    """Answers every request alike; `asked` is when, in seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, status: int, data: bytes = b"{}", **headers: str) -> None:
        self.answer = Answer(status, data, {key.replace("_", "-"): value for key, value in headers.items()})
        self.asked, self.now = list[float](), 0.0
        monkeypatch.setattr(client, "asyncio", SimpleNamespace(Semaphore=asyncio.Semaphore, sleep=self.sleep))

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    async def request(self, *_: Any) -> Answer:
        self.asked.append(self.now)
        return self.answer

    def cluster(self) -> KubernetesCluster:
        connection: Any = self
        return KubernetesCluster(connection, clock=lambda: self.now)


WAITS: dict[str, list[float]] = {
    "": [0, 0.25, 0.75, 1.75, 3.75],
    "1": [0, 1, 2, 3, 4],
    "5": [0, 5, 10, 15],
    "15": [0, 15],
    "30": [0],
    "600": [0],
}


@pytest.mark.parametrize("after", WAITS)
async def test_one_request_waits_for_a_quarter_of_a_minute_at_most(after: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is asked to wait longer is told for how long."""
    server = Server(monkeypatch, 429, SLOW_DOWN, **({"Retry_After": after} if after else {}))
    with pytest.raises(ApiError) as refused:
        await server.cluster().create(PODS, "team-a", {"metadata": {"name": "p"}})
    assert server.asked == WAITS[after]
    assert refused.value.retry_after == (min(float(after), 30) if after else 4)


async def test_who_asks_sooner_than_the_server_wants_has_the_answer_of_before(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, 429, SLOW_DOWN, Retry_After="20")
    cluster = server.cluster()
    for now, left in ((0, 20), (5, 15), (19, 1), (20, 20)):
        server.now = now
        with pytest.raises(ApiError, match="too many") as refused:
            await cluster.get(PODS, "team-a", "p")
        assert (refused.value.code, refused.value.retry_after) == (429, left)
    assert server.asked == [0, 20]
    with pytest.raises(ApiError):
        await cluster.get(PODS, "team-a", "another")
    assert server.asked == [0, 20, 20], "nothing was said of others"


@pytest.mark.parametrize("after", ["", "1", "5", "7", "15", "30", "600"])
async def test_creates_that_are_to_come_later_are_told_within_a_minute_and_not_tried_sooner(
    after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(monkeypatch, 429, SLOW_DOWN, **({"Retry_After": after} if after else {}))
    cluster, refused, action = server.cluster(), Refused(), CreateHead(BLUEPRINT)
    while not refused.told():
        with pytest.raises(ApiError) as error:
            await cluster.create(PODS, "team-a", {"metadata": {"name": "p"}})
        now = START + timedelta(seconds=server.now)
        refused.take([Result(action, error.value)], [action], now)
        server.now += refused.seconds(now) or 0
    assert server.asked[-1] <= 45, "the write that tells of it follows"
    assert min(later - before for before, later in pairwise(server.asked)) >= min(float(after or 0.25), 30)


def test_a_job_whose_reads_are_to_come_later_is_told_within_a_minute() -> None:
    failing, now, error = Failing(), 0.0, ApiError(429, "TooManyRequests", "too many", 30)
    while True:
        pause = failing.pause(error)
        if failing.is_to_be_told(error, now):
            break
        assert pause >= 30
        now += pause
    assert now <= 45


STRANGE = [
    b"null",
    b"[]",
    b'"denied"',
    b"<html>Bad gateway</html>",
    b"\xff\xfe",
    b"",
    b"7",
    b'{"message": null}',
    b"[" * 5000,
]


@pytest.mark.parametrize("data", STRANGE, ids=repr)
@pytest.mark.parametrize("status", [200, 201, 403, 502])
async def test_an_answer_that_is_no_apiservers_is_an_error_of_the_api_and_no_bug(
    status: int, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load balancer, a proxy or a login page answers in its stead."""
    cluster = Server(monkeypatch, status, data).cluster()
    for asked in (cluster.get(PODS, "team-a", "p"), cluster.find(PODS, "team-a", "")):
        with pytest.raises(ApiError) as error:
            await asked
        assert error.value.code == (status if status >= 300 else 0)
        assert error.value.message.isprintable()


@pytest.mark.parametrize("data", [*STRANGE[:5], b'{"type": "ADDED"}', b'{"type": "ADDED", "object": 7}'], ids=repr)
async def test_a_watch_that_says_something_else_ends_in_an_error_of_the_api(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Server(monkeypatch, 200, data + b"\n").cluster()
    with pytest.raises(ApiError):
        async for _ in cluster.watch_metadata(PODS, "", "", "1"):
            pass
