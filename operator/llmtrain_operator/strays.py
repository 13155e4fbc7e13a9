"""Pods that are billed and that the job's label no longer finds: somebody has edited it. They are found by their uids.

A pod that runs and is not seen would be booked as vanished, run on unbilled, and be held by our finalizer for good.
"""

import logging
from collections.abc import Collection, Iterable, Sequence

from llmtrain_operator.client import ApiError, Cluster, Object
from llmtrain_operator.names import read_pod_name
from llmtrain_operator.observation import Job

log = logging.getLogger("llmtrain.operator")
PODS = "api/v1/pods"


async def find_strays(cluster: Cluster, job: Job, found: Iterable[Object], held: Collection[str] = ()) -> list[Object]:
    """Pods of the job that have an open bill, or that our finalizer is known to hold, and that are not among those `found` by its
    label; nothing is asked where none is missing.
    """
    listed = {(pod.get("metadata") or {}).get("uid") for pod in found}
    missing = {*(mark.uid for mark in job.status.ledger.high_water), *held} - listed
    if not missing:
        return []
    there = await cluster.list_metadata(PODS, job.namespace, "")
    names = [body["metadata"]["name"] for body in there if body["metadata"].get("uid") in missing]
    pods = [await cluster.get(PODS, job.namespace, name) for name in names]
    return [pod for pod in pods if pod is not None and pod["metadata"]["uid"] in missing]


async def put_labels_back(cluster: Cluster, job: Job, pods: Sequence[Object]) -> None:
    """Give pods of the job, as they are stored, the labels that they were made with.

    One that is refused is seen by its uid at the next look again.
    """
    for pod in pods:
        meta = pod["metadata"]
        named = read_pod_name(str(meta["name"]))
        meant = named.labels(job.uid) if named is not None else {}
        if meant.items() <= (meta.get("labels") or {}).items():
            continue
        try:
            await cluster.label_pod(job.namespace, meta["name"], meta["uid"], meant)
        except ApiError as error:
            log.warning("job %s/%s: labels of pod %s: %s", job.namespace, job.name, meta["name"], error)
