"""Pods whose job is gone without its finalizer: nobody else would ever bill them, delete them or let them go.

Somebody who strips the finalizer off a job leaves its pods behind, held by their own. The sweep takes them down and
books them in the namespace's ledger, each once, by its uid. It also starts the loop of every job that no event told of.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from llmtrain.api import API_VERSION
from llmtrain.api.base import parse_quantity
from llmtrain.api.status import JobStatus, Ledger
from llmtrain_operator.billing import Node, parse_time
from llmtrain_operator.client import Cluster, Object
from llmtrain_operator.finalizers import remove_finalizer
from llmtrain_operator.names import FINALIZER_POD, LABEL_JOB, LABEL_JOB_UID
from llmtrain_operator.namespace_ledger import Ledgers
from llmtrain_operator.nodes import abandoned, read_nodes
from llmtrain_operator.observation import Job
from llmtrain_operator.ownership import is_own, orphan
from llmtrain_operator.priceannotation import annotated_price
from llmtrain_operator.recent import PLANS
from llmtrain_operator.settlement import settle

PODS = "api/v1/pods"
JOBS = f"apis/{API_VERSION}/llmtrainingjobs"
MOST_ACCELERATORS = 1024
PLAN_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
SETTLING = timedelta(seconds=60)
"""A pod younger than this may belong to a job that was listed before it was made."""


@dataclass(frozen=True)
class Sweeper:
    """The sweep, over any cluster and clock. `namespaces` empty: all; `ensure` starts a job's loop."""

    cluster: Cluster
    ledgers: Ledgers
    namespaces: list[str]
    clock: Callable[[], datetime]
    ensure: Callable[[str, str, str], None]

    async def sweep(self) -> int:
        """Look at everything once; how many orphans were seen."""
        orphans: list[Object] = []
        for namespace in self.namespaces or [""]:
            # Pods first: whoever made one of them had its job before.
            pods = await self.cluster.list_metadata(PODS, namespace, LABEL_JOB)
            jobs = await self.cluster.list_metadata(JOBS, namespace, "")
            for job in jobs:
                meta = job["metadata"]
                self.ensure(meta["namespace"], meta["name"], meta["resourceVersion"])
            uids = {job["metadata"]["uid"] for job in jobs}
            orphans += [pod for pod in pods if self._suspicious(pod, uids)]
        if orphans:
            nodes = await read_nodes(self.cluster)
            for pod in orphans:
                await self._take(pod["metadata"], nodes)
        return len(orphans)

    def _suspicious(self, pod: Object, jobs: set[str]) -> bool:
        meta = pod["metadata"]
        born = parse_time(meta.get("creationTimestamp")) or self.clock()
        held = FINALIZER_POD in meta.get("finalizers", [])
        return held and meta["labels"].get(LABEL_JOB_UID) not in jobs and self.clock() - born > SETTLING

    async def _accelerators(self, raw: Object) -> int:
        price = annotated_price(raw)
        plan = await self.cluster.get(PLANS, "", price.plan) if price and PLAN_NAME.fullmatch(price.plan) else None
        return requested(raw, plan)

    async def _take(self, meta: Object, nodes: Mapping[str, Node]) -> None:
        """Delete it, book it once it is over, let it go."""
        namespace, name, labels = meta["namespace"], meta["name"], meta["labels"]
        job = await self.cluster.get(JOBS, namespace, labels[LABEL_JOB])
        raw = await self.cluster.get(PODS, namespace, name)
        gone = job is None or job["metadata"]["uid"] != labels.get(LABEL_JOB_UID)
        if raw is None or raw["metadata"]["uid"] != meta["uid"] or not gone or not is_own(_former_job(meta), raw):
            return
        pod = orphan(raw, await self._accelerators(raw))
        if not pod.deleted:
            await self.cluster.delete(PODS, namespace, name, pod.uid, None)
        entries = settle(Ledger(), [pod], nodes, self.clock()).entries
        if entries:
            await self.ledgers.book(namespace, pod.uid, [entry.to_dict() for entry in entries])
            await remove_finalizer(self.cluster, PODS, raw, FINALIZER_POD)
            if abandoned(pod, nodes, self.clock()):
                await self.cluster.delete(PODS, namespace, name, pod.uid, 0)


def requested(raw: Object, plan: Object | None) -> int:
    """Accelerators of a pod whose job is gone: what its containers request of its plan's resource, and of no other."""
    name = ((plan or {}).get("spec", {}).get("accelerator") or {}).get("resourceName", "")
    requests = [(one.get("resources") or {}).get("requests") or {} for one in raw["spec"].get("containers", [])]
    texts = [str(request[name]) for request in requests if name in request]
    try:
        return min(MOST_ACCELERATORS, int(sum(parse_quantity(text) for text in texts)))
    except ValueError:
        return 0


def _former_job(meta: Object) -> Job:
    """What the pod's labels say of the job that it had."""
    labels = meta["labels"]
    job = {"name": labels[LABEL_JOB], "namespace": meta["namespace"], "uid": labels.get(LABEL_JOB_UID, "")}
    return Job({"metadata": job}, None, "", JobStatus())
