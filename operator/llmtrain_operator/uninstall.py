"""`python -m llmtrain_operator.uninstall`: what the chart runs before it takes the operator away.

While the operator still lives every job is suspended (or deleted), so that running ones save, and every pod is billed
and gone. Then the operator is scaled to nothing and the jobs' finalizers are taken off: without an operator nobody else
would, and the jobs could not be deleted. A new operator puts them back and goes on where the jobs stand.

It does so only while Helm is uninstalling the release (helm.py): the chart may also be rendered and applied by hand.

Environment: LLMTRAIN_UNINSTALL_POLICY (Suspend or Delete), LLMTRAIN_UNINSTALL_SECONDS, LLMTRAIN_NAMESPACES,
LLMTRAIN_OPERATOR_NAMESPACE, LLMTRAIN_OPERATOR_DEPLOYMENT, LLMTRAIN_RELEASE and LLMTRAIN_RELEASE_REVISION,
LLMTRAIN_UNINSTALL_UNASKED ("true": whether Helm is uninstalling is not asked).
"""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from llmtrain.api import API_VERSION
from llmtrain_operator.client import ApiError, Cluster, KubernetesCluster, Object, connect
from llmtrain_operator.finalizers import remove_finalizer
from llmtrain_operator.helm import Release, refusal
from llmtrain_operator.names import FINALIZER_JOB, LABEL_JOB

JOBS = f"apis/{API_VERSION}/llmtrainingjobs"
PODS = "api/v1/pods"
DEPLOYMENTS = "apis/apps/v1/deployments"
POLL_SECONDS = 2.0
TRIES = 5


class Policy(StrEnum):
    """What becomes of the jobs."""

    SUSPEND = "Suspend"
    DELETE = "Delete"


class StillThereError(Exception):
    """Pods or jobs that did not go in time; the message names them."""


class RefusedError(Exception):
    """Helm is not uninstalling the release; the message says what to do instead."""


@dataclass(frozen=True)
class Uninstaller:
    """The steps, over any cluster and clock. `namespaces` empty: all."""

    cluster: Cluster
    policy: Policy
    namespaces: list[str]
    operator_namespace: str
    operator: str
    seconds: float
    clock: Callable[[], float]
    pause: Callable[[float], Awaitable[None]]

    async def run(self) -> None:
        """Leave nothing that costs or hangs. StillThereError where something does not go; it may be run again."""
        for job in await self._jobs():
            await (self._delete(job) if self.policy is Policy.DELETE else self._suspend(job))
        await self._until_none(self._remaining)
        await self._scale_down()
        await self._until_none(self._operator_pods)
        for job in await self._jobs():
            await self._free(job)

    async def _jobs(self) -> list[Object]:
        return [job for space in self.namespaces or [""] for job in (await self.cluster.find(JOBS, space, "")).items]

    async def _delete(self, job: Object) -> None:
        meta = job["metadata"]
        await self.cluster.delete(JOBS, meta["namespace"], meta["name"], meta["uid"], None)

    async def _suspend(self, job: Object) -> None:
        """`spec.suspend` on what is not suspended; tried again where somebody else wrote meanwhile."""
        meta = job["metadata"]
        for _ in range(TRIES):
            fresh = await self.cluster.get(JOBS, meta["namespace"], meta["name"])
            if fresh is None or fresh["spec"].get("suspend") or ended(fresh):
                return
            fresh["spec"]["suspend"] = True
            try:
                await self.cluster.replace(JOBS, meta["namespace"], meta["name"], fresh)
            except ApiError as error:
                if error.code != 409:
                    raise
            else:
                return
        raise StillThereError(f"{name_of(job)} kept changing while it was suspended")

    async def _remaining(self) -> list[str]:
        """Stage pods and, where jobs are deleted, jobs."""
        spaces = self.namespaces or [""]
        pods = [pod for space in spaces for pod in (await self.cluster.find(PODS, space, LABEL_JOB)).items]
        jobs = await self._jobs() if self.policy is Policy.DELETE else []
        return [f"pod {name_of(pod)}" for pod in pods] + [f"job {name_of(job)}" for job in jobs]

    async def _operator_pods(self) -> list[str]:
        deployment = await self.cluster.get(DEPLOYMENTS, self.operator_namespace, self.operator)
        if deployment is None:
            return []
        labels = deployment["spec"]["selector"]["matchLabels"]
        selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        pods = (await self.cluster.find(PODS, self.operator_namespace, selector)).items
        return [f"pod {name_of(pod)}" for pod in pods]

    async def _scale_down(self) -> None:
        """By the subresource: whatever else somebody changes of the Deployment meanwhile stays his."""
        metadata = {"name": self.operator, "namespace": self.operator_namespace}
        scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata, "spec": {"replicas": 0}}
        for _ in range(TRIES):
            try:
                await self.cluster.replace(DEPLOYMENTS, self.operator_namespace, self.operator, scale, "scale")
            except ApiError as error:
                if error.code == 404:
                    return
                if error.code != 409:
                    raise
            else:
                return
        raise StillThereError(f"deployment {self.operator_namespace}/{self.operator} kept changing")

    async def _free(self, job: Object) -> None:
        await remove_finalizer(self.cluster, JOBS, job, FINALIZER_JOB)

    async def _until_none(self, remaining: Callable[[], Awaitable[list[str]]]) -> None:
        end = self.clock() + self.seconds
        while left := await remaining():
            if self.clock() > end:
                raise StillThereError(f"still there after {self.seconds:.0f} s: {', '.join(left[:10])}")
            print(f"waiting for {len(left)}: {', '.join(left[:5])}", flush=True)
            await self.pause(POLL_SECONDS)


def ended(job: Object) -> bool:
    """The job will not start another pod."""
    return (job.get("status") or {}).get("state") in ("Succeeded", "Failed")


def name_of(body: Object) -> str:
    """Namespace and name."""
    return f"{body['metadata']['namespace']}/{body['metadata']['name']}"


async def run() -> None:
    """From the environment. RefusedError where Helm is not uninstalling the release."""
    cluster = await connect()
    try:
        if os.environ.get("LLMTRAIN_UNINSTALL_UNASKED") != "true":
            await ask_helm(cluster)
        await Uninstaller(
            cluster=cluster,
            policy=Policy(os.environ["LLMTRAIN_UNINSTALL_POLICY"]),
            namespaces=[name for name in os.environ.get("LLMTRAIN_NAMESPACES", "").split(",") if name],
            operator_namespace=os.environ["LLMTRAIN_OPERATOR_NAMESPACE"],
            operator=os.environ["LLMTRAIN_OPERATOR_DEPLOYMENT"],
            seconds=float(os.environ.get("LLMTRAIN_UNINSTALL_SECONDS", "600")),
            clock=time.monotonic,
            pause=asyncio.sleep,
        ).run()
    finally:
        await cluster.close()


async def ask_helm(cluster: KubernetesCluster) -> None:
    """Nothing where Helm is uninstalling the release; RefusedError where it is not, ApiError where nobody can say."""
    release = Release(
        namespace=os.environ["LLMTRAIN_OPERATOR_NAMESPACE"],
        name=os.environ.get("LLMTRAIN_RELEASE", ""),
        revision=int(os.environ.get("LLMTRAIN_RELEASE_REVISION", "1")),
    )
    why = await refusal(cluster.get_metadata, release)
    if why:
        raise RefusedError(
            f"refused, nothing was changed: {why}. This Job works under `helm uninstall` alone. Where the chart is applied "
            "by anything else, leave the Job out with `uninstall.policy: Keep`, or let it run on its own word with "
            "`uninstall.onlyByHelm: false`"
        )


def main() -> None:
    """Entry point; exit 1 says what is still there, or why nothing was done."""
    try:
        asyncio.run(run())
    except RefusedError as error:
        sys.exit(str(error))
    except (ApiError, StillThereError) as error:
        sys.exit(f"{error}; run `helm uninstall` again, or with --no-hooks to leave things as they are")


if __name__ == "__main__":
    main()
