"""The only place that knows kopf: it watches, and wakes the job loops. It decides nothing.

kopf's own daemons are not used: after a restart kopf starts none for an object that is being deleted, and takes its
finalizer off, which would leave paid pods behind. The finalizer and the loops are therefore ours.
"""

from typing import Any

import kopf

from llmtrain.api import GROUP, VERSION
from llmtrain_operator.jobs import Jobs
from llmtrain_operator.names import LABEL_JOB


def build_registry(jobs: Jobs) -> kopf.OperatorRegistry:
    """Handlers of jobs and of their pods."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

    @kopf.on.event(GROUP, VERSION, "llmtrainingjobs", registry=registry)  # type: ignore[arg-type]
    async def job_seen(name: str, namespace: str, type: str | None, **_: Any) -> None:
        if type != "DELETED":
            jobs.ensure(namespace, name)
        else:
            jobs.wake(namespace, name)

    @kopf.on.event("v1", "pods", labels={LABEL_JOB: kopf.PRESENT}, registry=registry)  # type: ignore[arg-type]
    async def pod_seen(labels: dict[str, str], namespace: str, **_: Any) -> None:
        jobs.wake(namespace, labels[LABEL_JOB])

    return registry


def build_settings() -> kopf.OperatorSettings:
    """Settings: no scanning of the cluster, and pods filtered by the apiserver."""
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.watching.server_timeout = 600
    settings.watching.label_selectors["pods"] = LABEL_JOB
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
