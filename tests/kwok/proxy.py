"""What stands between an operator and the apiserver: it counts, and does harm where a test asks for it."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import aiohttp
from aiohttp import web

from tests.kwok.plane import Plane

WRITES = {"POST", "PUT", "PATCH", "DELETE"}
Forward = Callable[[], Awaitable[web.StreamResponse]]
HOP = {"transfer-encoding", "content-length", "content-encoding", "connection"}


class Fault:
    """Does no harm; subclasses do."""

    def body(self, request: web.Request, body: bytes) -> bytes:
        """What is passed on of a request's body."""
        return body

    async def request(self, request: web.Request, forward: Forward) -> web.StreamResponse:
        """Answer one request."""
        return await forward()

    async def events(self, lines: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        """Pass on the events of one watch."""
        async for line in lines:
            yield line


class Proxy:
    """A plain HTTP server on loopback with the administrator's rights."""

    def __init__(self, plane: Plane, fault: Fault) -> None:
        self._plane, self.fault = plane, fault
        self.calls: Counter[str] = Counter()
        self.writes = 0
        self._handling: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> "Proxy":
        connector = aiohttp.TCPConnector(ssl=self._plane.tls(), limit=300)
        self._session = aiohttp.ClientSession(self._plane.server, connector=connector, auto_decompress=False)
        application = web.Application(client_max_size=2**26)
        application.router.add_route("*", "/{tail:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port: int = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        handling = list(self._handling)
        for task in handling:
            task.cancel()
        await asyncio.gather(*handling, return_exceptions=True)
        await self._runner.cleanup()
        await self._session.close()
        await asyncio.sleep(0.25)  # aiohttp closes TLS connections a little later

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._handling.add(task)
        task.add_done_callback(self._handling.discard)
        body = self.fault.body(request, await request.read())
        self.calls[request.method] += 1
        self.writes += request.method in WRITES
        return await self.fault.request(request, lambda: self._forward(request, body))

    async def _forward(self, request: web.Request, body: bytes) -> web.StreamResponse:
        headers = {name: request.headers[name] for name in ("Accept", "Content-Type") if name in request.headers}
        headers["Accept-Encoding"] = "identity"  # large lists come compressed otherwise, and are passed on as they come
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._session.request(
            request.method, request.rel_url, data=body or None, headers=headers, timeout=timeout
        ) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP}
            if request.query.get("watch") not in ("true", "1"):
                return web.Response(status=answer.status, body=await answer.read(), headers=kept)
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            # The operator may be gone, which is what most of these tests are about.
            with contextlib.suppress(ConnectionError):
                async with aclosing(_lines(answer)) as lines, aclosing(self.fault.events(lines)) as events:
                    async for line in events:
                        await response.write(line)
            return response


async def _lines(answer: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
    buffer = b""
    async for chunk in answer.content.iter_any():
        buffer += chunk
        while b"\n" in buffer:
            line, buffer = buffer.split(b"\n", 1)
            yield line + b"\n"


class Kill(Fault):
    """Kills the operator right before or right after its n-th write, once."""

    def __init__(self, number: int, after: bool) -> None:
        self._number, self._after, self._count = number, after, 0
        self.kill: Callable[[], Awaitable[None]] | None = None
        self.fired = False

    async def request(self, request: web.Request, forward: Forward) -> web.StreamResponse:
        """See Fault."""
        self._count += request.method in WRITES
        if self.fired or request.method not in WRITES or self._count != self._number or self.kill is None:
            return await forward()
        self.fired = True
        answer = await forward() if self._after else web.Response(status=503)
        await self.kill()
        return answer


class Answers(Fault):
    """For a while requests fail with probability `share` and one of `codes`: 0 is no answer, 409 hits writes alone."""

    def __init__(self, codes: list[int], share: float, hang: float = 20, seconds: float = 20) -> None:
        self._codes, self._share, self._hang, self._seconds = codes, share, hang, seconds
        self._random, self._since = random.Random(5), 0.0

    async def request(self, request: web.Request, forward: Forward) -> web.StreamResponse:
        """See Fault."""
        self._since = self._since or time.monotonic()
        over = time.monotonic() - self._since > self._seconds
        if over or request.query.get("watch") or self._random.random() > self._share:
            return await forward()
        code = self._random.choice(self._codes)
        if code == 409 and request.method not in WRITES:
            return await forward()
        if code == 0:
            await asyncio.sleep(self._hang)
            return web.Response(status=504)
        if self._random.random() < 0.5 and code >= 500:
            await forward()  # the worst kind: done, and said not to be
        headers = {"Retry-After": "1"} if code == 429 else {}
        return web.json_response({"kind": "Status", "code": code, "reason": "Injected"}, status=code, headers=headers)


class Stale(Fault):
    """Lists of pods are served as they were some time ago."""

    def __init__(self, share: float) -> None:
        self._share, self._random = share, random.Random(7)
        self._old: dict[str, bytes] = {}

    async def request(self, request: web.Request, forward: Forward) -> web.StreamResponse:
        """See Fault."""
        key = str(request.rel_url)
        if request.method != "GET" or request.query.get("watch") or not request.path.endswith("/pods"):
            return await forward()
        if key in self._old and self._random.random() < self._share:
            return web.Response(body=self._old[key], content_type="application/json")
        answer = await forward()
        if isinstance(answer, web.Response) and isinstance(answer.body, bytes) and self._random.random() < 0.3:
            self._old[key] = answer.body
        return answer


class Dropped(Fault):
    """Half of the events never arrive."""

    def __init__(self) -> None:
        self._random = random.Random(1)

    async def events(self, lines: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        """See Fault."""
        async for line in lines:
            if self._random.random() < 0.5:
                yield line


class Delayed(Fault):
    """Every event arrives late."""

    async def events(self, lines: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        """See Fault."""
        async for line in lines:
            await asyncio.sleep(0.5)
            yield line


class Shuffled(Fault):
    """Every event arrives twice, the second time after the one that follows it."""

    async def events(self, lines: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        """See Fault."""
        before = b""
        async for line in lines:
            yield line
            if before:
                yield before
            before = line


class Closed(Fault):
    """Every watch ends after three events, every third with 410 Gone."""

    def __init__(self) -> None:
        self._watches = 0

    async def events(self, lines: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        """See Fault."""
        self._watches += 1
        seen = 0
        async for line in lines:
            yield line
            seen += 1
            if seen == 3:
                break
        if self._watches % 3 == 0:
            status = b'{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","code":410,"reason":"Expired","status":"Failure","message":"too old"}}\n'
            yield status
