"""The only place that knows kopf: it watches the jobs, and wakes their loops. It decides nothing.

kopf's own daemons are not used: after a restart kopf starts none for an object that is being deleted, and takes its
finalizer off, which would leave paid pods behind. The finalizer and the loops are therefore ours. Pods are watched by
podwatch.py: kopf keeps a memory and a worker for each. When kopf is to begin, and to begin anew, jobwatch.py says.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import kopf

from llmtrain.api import GROUP, VERSION
from llmtrain_operator.guard import Guard
from llmtrain_operator.jobs import Jobs


def build_registry(jobs: Jobs, guard: Guard) -> kopf.OperatorRegistry:
    """Handlers of jobs. A job that cannot be told of costs one line of the log, not the watch."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

    @kopf.on.event(GROUP, VERSION, "llmtrainingjobs", registry=registry)
    async def job_seen(name: str, namespace: str | None, type: str, event: kopf.RawEvent, **_: Any) -> None:
        with guard.each(f"job {namespace}/{name}"):
            space = str(namespace)  # a job has one; kopf's type is that of any object
            raw = dict[str, Any](event["object"])
            version = str(raw["metadata"].get("resourceVersion", ""))
            if type != "DELETED":
                jobs.ensure(space, name, version, raw)
            else:
                jobs.job_gone(space, name, version)

    return registry


class NoHistory(kopf.DiffBaseStorage):
    """Nobody here asks what changed between two events; to be able to say, kopf copies each object that it sees."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Nothing."""
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        """Nothing."""
        return None

    def store(self, **_: Any) -> None:
        """Nothing is kept."""


def build_settings() -> kopf.OperatorSettings:
    """Settings: no scanning of the cluster, which would need the right to read every CRD and namespace."""
    settings = kopf.OperatorSettings()
    settings.persistence.diffbase_storage = NoHistory()
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.watching.server_timeout = 600
    return settings


async def follow(
    jobs: Jobs, namespaces: Sequence[str], guard: Guard, started: Callable[[], None], stop: asyncio.Event
) -> None:
    """Watch jobs until `stop` is set, or a signal that came before kopf had started; all namespaces where none is given.

    `started` is called once kopf has taken the process' signals, so that whoever should have them takes them back.
    """
    ready = asyncio.Event()

    async def announce() -> None:
        await ready.wait()
        started()

    announcing = asyncio.create_task(announce())
    try:
        await kopf.operator(
            registry=build_registry(jobs, guard),
            settings=build_settings(),
            standalone=True,
            clusterwide=not namespaces,
            namespaces=namespaces,
            stop_flag=stop,
            ready_flag=ready,
        )
    finally:
        announcing.cancel()
