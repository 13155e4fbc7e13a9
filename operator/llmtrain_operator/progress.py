"""What heads say of themselves, read beside the job loops and best effort: no decision rests on it.

A head that does not answer delays nobody: its job's loop goes on with what it knows.
"""

import asyncio
from dataclasses import dataclass, field

import aiohttp
from pydantic import ValidationError

from llmtrain.api.stageconfig import HTTP_PORT
from llmtrain.api.status import Progress
from llmtrain_operator.memory import Head, Memory

TIMEOUT_SECONDS = 2
CONCURRENCY = 50
LARGEST_ANSWER = 65536


@dataclass
class ProgressReader:
    """At most one question to a head at a time."""

    _asking: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)
    _session: aiohttp.ClientSession | None = None

    def ask(self, head: Head, memory: Memory) -> None:
        """Ask the head; its answer is in `memory` when the next turn looks."""
        if head.uid not in self._asking:
            task = asyncio.create_task(self._ask(head, memory))
            self._asking[head.uid] = task
            task.add_done_callback(lambda _: self._asking.pop(head.uid, None))

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
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=CONCURRENCY))
        try:
            async with self._session.get(f"http://{head.ip}:{HTTP_PORT}/progress") as answer:
                text = await answer.content.read(LARGEST_ANSWER)
            memory.progress, memory.progress_of = Progress.model_validate_json(text), head.uid
        except (OSError, TimeoutError, aiohttp.ClientError, ValidationError):
            return
