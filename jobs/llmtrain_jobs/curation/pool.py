"""Tasks in order: as many at a time as there are workers for, results in the order of the arguments.

Ordered tasks that each write files of their own, instead of one Ray Data pipeline: the bytes are the same whatever
the number of workers, and what was finished before a kill is found by its file.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from llmtrain_jobs.cluster import connect
from llmtrain_jobs.context import Context

Task = Callable[[dict[str, Any], Any], Any]
WAITING_PER_WORKER = 2


class Pool(Protocol):
    """Where tasks run."""

    def map(self, task: Task, arguments: Sequence[Any]) -> Iterator[Any]:
        """`task(config, argument)` for every argument, in order."""

    def close(self) -> None:
        """Nothing runs after it."""


class RayPool:
    """Workers of the pod's Ray cluster, or of one machine."""

    def __init__(self, context: Context) -> None:
        """Waits for the workers."""
        self._context, self._ray = context, connect(context)
        self._config = self._ray.put(context.config.to_dict())
        self._most = WAITING_PER_WORKER * max(1, context.config.workers)

    def map(self, task: Task, arguments: Sequence[Any]) -> Iterator[Any]:
        """A worker that dies is replaced, its task begins anew; a task that raises ends the stage."""
        remote = self._ray.remote(num_cpus=1, max_retries=5)(task)
        waiting: deque[Any] = deque()
        following = iter(arguments)
        while True:
            while len(waiting) < self._most and (argument := next(following, None)) is not None:
                waiting.append(remote.remote(self._config, argument))
            if not waiting:
                return
            yield self._result(waiting.popleft())

    def _result(self, reference: Any) -> Any:
        while not self._ray.wait([reference], timeout=0.5)[0]:
            self._context.check_stop()
        self._context.check_stop()
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise (error.cause or error) from error

    def close(self) -> None:
        """Leave the cluster."""
        self._ray.shutdown()


class InProcess:
    """One task after the other, here."""

    def __init__(self, context: Context) -> None:
        """Nothing to wait for."""
        self._context, self._config = context, context.config.to_dict()

    def map(self, task: Task, arguments: Sequence[Any]) -> Iterator[Any]:
        """In order."""
        for argument in arguments:
            self._context.check_stop()
            yield task(self._config, argument)

    def close(self) -> None:
        """Nothing to leave."""
