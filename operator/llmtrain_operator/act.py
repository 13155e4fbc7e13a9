"""Carry out decisions. Every act can be repeated: creates tolerate what is ours, deletes what is gone."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime

from llmtrain.api import API_VERSION
from llmtrain_operator import manifests
from llmtrain_operator.billing import format_time
from llmtrain_operator.budget_release import BUDGETS
from llmtrain_operator.client import ApiError, Cluster, Object
from llmtrain_operator.finalizers import add_finalizer, remove_finalizer
from llmtrain_operator.names import EVALUATOR, FINALIZER_JOB, FINALIZER_POD, HEAD, LABEL_JOB_UID, WORKER, Attempt
from llmtrain_operator.namespace_ledger import Ledgers
from llmtrain_operator.observation import (
    Action,
    CreateEvaluator,
    CreateHead,
    CreateObjects,
    CreateWorker,
    DeleteJob,
    DeleteObjects,
    DeletePod,
    Event,
    HoldJob,
    Job,
    ReleaseJob,
    ReleasePod,
    Reserve,
    ShortenPod,
)
from llmtrain_operator.release import release
from llmtrain_operator.strays import put_labels_back

log = logging.getLogger("llmtrain.operator")
PODS, SERVICES, SECRETS, CONFIG_MAPS = (f"api/v1/{kind}" for kind in ("pods", "services", "secrets", "configmaps"))
NETWORK_POLICIES = "apis/networking.k8s.io/v1/networkpolicies"
JOBS = f"apis/{API_VERSION}/llmtrainingjobs"
NOTHING = ""
"""Uid of an object that is not there."""


NAME_TAKEN = "NameTaken"


class NameTakenError(ApiError):
    """An object of somebody else has the name that ours must have."""

    def __init__(self, message: str) -> None:
        """`message` names the object."""
        super().__init__(409, NAME_TAKEN, message)


def is_owned(found: Object, uid: str) -> bool:
    """Whether an object belongs to the job with this uid."""
    return uid in [owner.get("uid") for owner in found["metadata"].get("ownerReferences") or []]


async def _all(acts: Iterable[Awaitable[None]]) -> None:
    """Side by side, each to its end; the first error is raised."""
    results = await asyncio.gather(*acts, return_exceptions=True)
    for result in results:
        if result is not None:
            raise result


class Actor:
    """Acts for one job."""

    def __init__(
        self, cluster: Cluster, ledgers: Ledgers, job: Job, clock: Callable[[], datetime], made: dict[str, str]
    ) -> None:
        """`cluster` is where it acts, `ledgers` keeps what deleted jobs have cost, `made` uids of what was created."""
        self._cluster, self._ledgers, self._job, self._clock, self._made = cluster, ledgers, job, clock, made
        self.pods = list[str]()
        """resourceVersions of the pods that it made; an empty one for each that was there already."""
        self.pod_uids = set[str]()
        """Uids of the pods that it made."""

    async def perform(self, action: Action) -> None:
        """Do it."""
        cluster, job = self._cluster, self._job
        match action:
            case CreateObjects(blueprint):
                await self._create_objects(blueprint)
            case CreateHead(source):
                await self._create(PODS, source.pod(HEAD))
            case CreateWorker(source, index, incarnation):
                await self._create(PODS, source.pod(WORKER, index, incarnation))
            case CreateEvaluator(source, index, incarnation):
                await self._create(PODS, source.pod(EVALUATOR, index, incarnation))
            case DeletePod(pod, grace):
                await cluster.delete(PODS, job.namespace, pod.name, pod.uid, grace)
            case ShortenPod(pod, seconds):
                await cluster.shorten_pod(job.namespace, pod.name, pod.uid, seconds)
            case ReleasePod(pod):
                await remove_finalizer(cluster, PODS, pod.raw, FINALIZER_POD)
            case DeleteObjects(attempt):
                await self._delete_objects(attempt)
            case HoldJob():
                await add_finalizer(cluster, JOBS, job.raw, FINALIZER_JOB)
            case ReleaseJob(patient):
                await release(cluster, self._ledgers, job, self._clock(), patient)
            case Reserve(budget, body):
                await cluster.replace(BUDGETS, job.namespace, budget, body, "status")
            case DeleteJob():
                await cluster.delete(JOBS, job.namespace, job.name, job.uid, None)

    async def _create_objects(self, blueprint: manifests.Blueprint) -> None:
        """The ConfigMap is made first and goes last: while it is there, the others may be."""
        await self._create(CONFIG_MAPS, manifests.build_config(blueprint))
        others = [(SERVICES, manifests.build_service(blueprint)), (SECRETS, manifests.build_token(blueprint))]
        if blueprint.network.enabled:
            others.append((NETWORK_POLICIES, manifests.build_network_policy(blueprint)))
        elif f"{CONFIG_MAPS}/{blueprint.attempt.config}" in self._made:
            # An attempt that an earlier operator began may have one, whatever this one is set to.
            self._made[f"{NETWORK_POLICIES}/{blueprint.attempt.policy}"] = NOTHING
        await _all(self._create(resource, body) for resource, body in others)

    async def _create(self, resource: str, body: Object) -> None:
        try:
            made = await self._cluster.create(resource, self._job.namespace, body)
            if resource == PODS:
                self.pods.append(made["metadata"]["resourceVersion"])
                self.pod_uids.add(made["metadata"]["uid"])
            else:
                self._made[f"{resource}/{body['metadata']['name']}"] = made["metadata"]["uid"]
        except ApiError as error:
            # Two creates that count against one quota at once are a conflict as well: nothing was made then.
            if error.code != 409 or error.reason != "AlreadyExists":
                raise
            self.pods += [""] if resource == PODS else []
            if resource != SECRETS:
                await self._check_owner(resource, body["metadata"]["name"])

    async def _check_owner(self, resource: str, name: str) -> None:
        """A 409 is fine for our own object. Secrets cannot be read; nobody else could know their names."""
        found = await self._cluster.get(resource, self._job.namespace, name)
        if found is not None and not is_owned(found, self._job.uid):
            kind = resource.rsplit("/", 1)[1]
            raise NameTakenError(f"{kind} `{name}` exists and is not of this job; delete it or rename the job")
        if found is not None and resource == PODS:
            # It is there and the job's label did not find it, so it has no bill by which a look would: see strays.py.
            await put_labels_back(self._cluster, self._job, [found])

    async def _delete_objects(self, attempt: Attempt) -> None:
        """In the reverse order of _create_objects."""
        await _all(
            (
                self._cluster.delete(SECRETS, attempt.namespace, attempt.token, "", None),
                self._delete_own(SERVICES, attempt.namespace, attempt.head),
                self._delete_own(NETWORK_POLICIES, attempt.namespace, attempt.policy),
            )
        )
        await self._delete_own(CONFIG_MAPS, attempt.namespace, attempt.config)
        self._made.clear()

    async def _delete_own(self, resource: str, namespace: str, name: str) -> None:
        uid = self._made.get(f"{resource}/{name}")
        uid = await self._uid_of_own(resource, namespace, name) if uid is None else uid
        if uid != NOTHING:
            await self._cluster.delete(resource, namespace, name, uid, None)

    async def _uid_of_own(self, resource: str, namespace: str, name: str) -> str:
        """Of the object with this name; NOTHING where there is none, or it is somebody else's."""
        found = await self._cluster.get(resource, namespace, name)
        if found is None or not (is_owned(found, self._job.uid) or self._is_orphaned(found)):
            return NOTHING
        return str(found["metadata"]["uid"])

    def _is_orphaned(self, found: Object) -> bool:
        """`--cascade=orphan` has taken the owner off what the job had made; the label still says whose it was."""
        meta = found["metadata"]
        mine = (meta.get("labels") or {}).get(LABEL_JOB_UID) == self._job.uid
        return self._job.deleted and mine and not meta.get("ownerReferences")

    async def post(self, events: list[Event], now: datetime) -> None:
        """Tell what was written. An event that is refused, whatever for, is lost; the status is not."""
        for number, event in enumerate(events):
            try:
                await self._cluster.create("api/v1/events", self._job.namespace, self._event(event, now, number))
            except ApiError as error:
                log.info("event %s of job %s/%s: %s", event.reason, self._job.namespace, self._job.name, error)

    def _event(self, event: Event, now: datetime, number: int) -> Object:
        job, stamp = self._job, format_time(now)
        name = f"{job.name}.{int(now.timestamp() * 1000):x}{number:02x}"
        involved = {"apiVersion": API_VERSION, "kind": "LLMTrainingJob", "name": job.name, "uid": job.uid}
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": job.namespace},
            "involvedObject": involved | {"namespace": job.namespace},
            "reason": event.reason,
            "message": event.message,
            "type": "Warning" if event.warning else "Normal",
            "source": {"component": "llmtrain-operator"},
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
        }
