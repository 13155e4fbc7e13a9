"""What heads say of themselves, read beside the job loops and best effort: no decision rests on it.

A head that does not answer delays nobody: its job's loop goes on with what it knows. The head is the tenant's: a redirect
is not followed, nothing is unpacked, and what it answers is bounded before anybody sees it.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import aiohttp

from llmtrain.api.stageconfig import HTTP_PORT
from llmtrain.api.status import Progress
from llmtrain.network import authority
from llmtrain_operator.border import Kind, Rejections, Told, read_text
from llmtrain_operator.memory import Head, Memory

log = logging.getLogger("llmtrain.operator")
TIMEOUT_SECONDS = 2
CONCURRENCY = 50
LARGEST_ANSWER = 65536
HTTP_OK = 200


@dataclass
class ProgressReader:
    """At most one question to a head at a time. `crashed` is told of a question that ended in a bug."""

    rejections: Rejections = field(default_factory=Rejections)
    crashed: Callable[[], None] = lambda: None
    _asking: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)
    _session: aiohttp.ClientSession | None = None

    def ask(self, head: Head, memory: Memory) -> None:
        """Ask the head; its answer is in `memory` when the next turn looks."""
        if head.uid not in self._asking:
            task = asyncio.create_task(self._ask(head, memory))
            self._asking[head.uid] = task
            task.add_done_callback(partial(self._asked, head))

    def _asked(self, head: Head, task: "asyncio.Task[None]") -> None:
        self._asking.pop(head.uid, None)
        if not task.cancelled() and task.exception() is not None:
            self.crashed()
            log.error("progress of pod %s: a bug", head.uid, exc_info=task.exception())

    async def close(self) -> None:
        """Ask no more."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _ask(self, head: Head, memory: Memory) -> None:
        if self._session is None:
            self._session = _open_session()
        try:
            url = f"http://{authority(head.ip, HTTP_PORT)}/progress"
            async with self._session.get(url, allow_redirects=False) as answer:
                if answer.status != HTTP_OK:
                    return
                text = await _body(answer)
        except (OSError, TimeoutError, aiohttp.ClientError):
            return
        told = read_text(Told, text) if len(text) <= LARGEST_ANSWER else None
        flaws = told.flaws if told else f"`/progress` answers more than {LARGEST_ANSWER} bytes"
        if flaws:
            self.rejections.note(Kind.PROGRESS, f"pod {head.uid}", flaws)
        if told and told.value is not None:
            memory.progress, memory.progress_of = Progress(**told.value.model_dump()), head.uid


def _open_session() -> aiohttp.ClientSession:
    """A session that keeps no cookies of pods, and unpacks nothing: 64 KiB may hold 64 MB."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
        connector=aiohttp.TCPConnector(limit=CONCURRENCY),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers={"Accept-Encoding": "identity"},
    )


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    """The answer, or its first bytes where it is too long."""
    text = b""
    async for part in answer.content.iter_any():
        text += part
        if len(text) > LARGEST_ANSWER:
            break
    return text
