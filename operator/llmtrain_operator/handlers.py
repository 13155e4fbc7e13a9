"""The only place that knows kopf: it watches the jobs, and wakes their loops. It decides nothing.

kopf's own daemons are not used: after a restart kopf starts none for an object that is being deleted, and takes its
finalizer off, which would leave paid pods behind. The finalizer and the loops are therefore ours. Pods are watched by podwatch.py: kopf keeps a memory and a worker for each.
"""

from typing import Any

import kopf

from llmtrain.api import GROUP, VERSION
from llmtrain_operator.jobs import Jobs


def build_registry(jobs: Jobs) -> kopf.OperatorRegistry:
    """Handlers of jobs."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

    @kopf.on.event(GROUP, VERSION, "llmtrainingjobs", registry=registry)
    async def job_seen(name: str, namespace: str | None, type: str, event: kopf.RawEvent, **_: Any) -> None:
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
    """Settings: no scanning of the cluster."""
    settings = kopf.OperatorSettings()
    settings.persistence.diffbase_storage = NoHistory()
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.watching.server_timeout = 600
    return settings


async def watch(jobs: Jobs, namespaces: list[str]) -> None:
    """Run until a signal; all namespaces where none is given."""
    await kopf.operator(
        registry=build_registry(jobs),
        settings=build_settings(),
        standalone=True,
        clusterwide=not namespaces,
        namespaces=namespaces,
    )
