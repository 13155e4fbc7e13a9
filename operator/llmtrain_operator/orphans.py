"""Pods whose job is gone without its finalizer: nobody else would ever bill them, delete them or let them go.

Somebody who strips the finalizer off a job leaves its pods behind, held by their own. The sweep takes them down and
books them in the namespace's ledger, each once, by its uid. It also starts the loop of every job that no event told of.
"""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import ValidationError

from llmtrain.api import API_VERSION
from llmtrain.api.status import JobStatus, Ledger
from llmtrain_operator.billing import format_time, parse_time
from llmtrain_operator.bookings import booking_of_pod
from llmtrain_operator.border import Kind, Rejections
from llmtrain_operator.client import ApiError, Cluster, Object
from llmtrain_operator.finalizers import remove_finalizer
from llmtrain_operator.guard import Guard, Loop
from llmtrain_operator.names import FINALIZER_POD, LABEL_JOB, LABEL_JOB_UID, read_pod_name
from llmtrain_operator.namespace_ledger import Ledgers
from llmtrain_operator.nodes import PRESUMED, abandoned, doubtful, fetch_node
from llmtrain_operator.observation import Job
from llmtrain_operator.observe import read_job
from llmtrain_operator.orphanprice import orphan
from llmtrain_operator.ownership import taken_in
from llmtrain_operator.podstate import PodState
from llmtrain_operator.priceannotation import annotated_price
from llmtrain_operator.pricing import Plan
from llmtrain_operator.recent import PLANS
from llmtrain_operator.settlement import settle
from llmtrain_operator.strays import put_labels_back

log = logging.getLogger("llmtrain.operator")
PODS, EVENTS = "api/v1/pods", "api/v1/events"
KIND = "LLMTrainingJob"
JOBS = f"apis/{API_VERSION}/llmtrainingjobs"
PLAN_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
SETTLING = timedelta(seconds=60)
"""A pod younger than this may belong to a job that was listed before it was made."""
OVERDUE = timedelta(seconds=10)
"""A pod is gone so long after its `deletionTimestamp`, which has its grace in it, unless something holds it."""
UNCLAIMED = timedelta(minutes=15)
"""A job that knows a pod has billed it by then, also one on a node that is lost."""
REMEMBERED = 10_000
AT_ONCE = 20
"""Pods without our label of which one look asks."""


@dataclass(frozen=True)
class Sweeper:
    """The sweep, over any cluster and clock. `namespaces` empty: all; `ensure` starts a job's loop."""

    cluster: Cluster
    ledgers: Ledgers
    namespaces: list[str]
    clock: Callable[[], datetime]
    ensure: Callable[[str, str, str], None]
    rejections: Rejections = field(default_factory=Rejections)
    guard: Guard = field(default_factory=lambda: Guard(Loop.SWEEP))
    _leaving: dict[str, Object] = field(default_factory=dict)
    """Pods that somebody deletes while our finalizer holds them, by uid."""
    _unlabelled: dict[str, Object] = field(default_factory=dict)
    """Pods that our finalizer holds and that have lost our label, by uid: nobody will tell of their deletion."""

    def pod_leaves(self, meta: Object) -> None:
        """Remember a pod that is being deleted, or has lost our label: a namespace that is deleted waits for it, whoever's it is."""
        pods = self._leaving if meta.get("deletionTimestamp") else self._unlabelled
        if len(pods) < REMEMBERED:
            kept = ("namespace", "name", "uid", "deletionTimestamp")
            pods[meta["uid"]] = {key: meta.get(key) for key in kept}

    def pod_left(self, uid: str) -> None:
        """Forget a pod that has gone: a cluster of hundreds that was taken down would cost a request for each."""
        self._leaving.pop(uid, None)
        self._unlabelled.pop(uid, None)

    async def take_overdue(self) -> None:
        """Look once at each pod that should have gone by now, and at some that have lost our label, in turn.

        Those of a job that is there are left to its loop.
        """
        for uid, meta in list(self._unlabelled.items())[:AT_ONCE]:
            del self._unlabelled[uid]
            with self.guard.each(_called({"metadata": meta})):
                await self._take(meta)
        for uid, meta in list(self._leaving.items()):
            due = parse_time(meta["deletionTimestamp"])
            if due is None or self.clock() - due > OVERDUE:
                del self._leaving[uid]
                with self.guard.each(_called({"metadata": meta})):
                    await self._take(meta)

    async def sweep(self) -> int:
        """Look at everything once; how many orphans were seen."""
        orphans: list[Object] = []
        for namespace in self.namespaces or [""]:
            # Pods first: whoever made one of them had its job before.
            pods = await self.cluster.list_metadata(PODS, namespace, LABEL_JOB)
            jobs = await self.cluster.list_metadata(JOBS, namespace, "")
            for job in jobs:
                meta = job["metadata"]
                with self.guard.each(f"job {meta.get('namespace')}/{meta.get('name')}"):
                    self.ensure(meta["namespace"], meta["name"], meta["resourceVersion"])
            uids = {job["metadata"]["uid"] for job in jobs}
            for pod in pods:
                with self.guard.each(_called(pod)):
                    orphans += [pod] if self._suspicious(pod, uids) else []
        if orphans:
            for pod in orphans:
                # One that cannot be taken, for whatever reason, holds up no other.
                with self.guard.each(_called(pod)):
                    await self._take(pod["metadata"])
        return len(orphans)

    def _suspicious(self, pod: Object, jobs: set[str]) -> bool:
        meta = pod["metadata"]
        born = parse_time(meta.get("creationTimestamp")) or self.clock()
        finalizers = meta.get("finalizers")
        held = isinstance(finalizers, list) and FINALIZER_POD in finalizers
        return held and job_uid(pod) not in jobs and self.clock() - born > SETTLING

    async def _priced(self, raw: Object) -> PodState:
        told = annotated_price(raw)
        name = told.plan if told else ""
        plan = await self.cluster.get(PLANS, "", name) if PLAN_NAME.fullmatch(name) else None
        try:
            return orphan(raw, name, Plan.read(plan) if plan else None)
        except ValidationError:
            return orphan(raw, name, None)

    async def _take(self, meta: Object) -> None:
        """Delete it, book it once it is over, let it go."""
        namespace, name = meta["namespace"], meta["name"]
        raw = await self.cluster.get(PODS, namespace, name)
        if raw is None or raw["metadata"]["uid"] != meta["uid"]:
            return
        former = former_job(raw)
        shape = taken_in(former, raw) if former is not None else None
        if former is None or shape is None:
            await self._let_go_of_strange(raw)
            return
        job = await self.cluster.get(JOBS, namespace, former.name)
        if job is not None and _knows(owner := read_job(job), former, pod_uid=str(meta["uid"])):
            # Its loop ends and bills the pod, once it finds it: somebody may have edited the label by which it looks.
            await put_labels_back(self.cluster, owner, [raw])
            return
        pod = await self._priced(dict(shape.raw))
        if not pod.deleted or pod.lingers:
            # Whose month it is booked in is not known before: the next sweep, seconds later, sees when it was deleted.
            await self.cluster.delete(PODS, namespace, name, pod.uid, pod.own_grace if pod.lingers else None)
            return
        node = await fetch_node(self.cluster, pod.node) if doubtful(pod, self.clock()) else PRESUMED
        nodes = {pod.node: node} if pod.node else {}
        ledger = settle(Ledger(), [pod], nodes, self.clock())
        if ledger.entries:
            if pod.doubt:
                await self._tell(raw, former, pod.doubt)
            await self.ledgers.book(namespace, booking_of_pod(raw, former, ledger, self.ledgers.rejections))
            await remove_finalizer(self.cluster, PODS, raw, FINALIZER_POD)
            if abandoned(pod, nodes, self.clock()):
                await self.cluster.delete(PODS, namespace, name, pod.uid, 0)

    async def _tell(self, raw: Object, former: Job, doubt: str) -> None:
        """A pod that is billed nothing although it ran: the log has it, whatever becomes of the event."""
        text = f"pod {raw['metadata']['name']} of job {former.name}, which is gone, {doubt}"
        log.warning("%s: %s", former.namespace, text)
        try:
            await self.cluster.create(EVENTS, former.namespace, _event(raw, text, self.clock()))
        except ApiError as error:
            log.info("event about %s: %s", _called(raw), error)

    async def _let_go_of_strange(self, raw: Object) -> None:
        """Somebody's own pod with our finalizer: neither billed nor deleted. Once it is deleted nobody else would let it go."""
        meta, named = raw["metadata"], read_pod_name(str(raw["metadata"]["name"]))
        if FINALIZER_POD not in (meta.get("finalizers") or []):
            return
        self.rejections.note(Kind.LABELS, _called(raw), "carries our finalizer, but is no pod of any job's")
        deleted = parse_time(meta.get("deletionTimestamp"))
        if deleted is not None and self.clock() - deleted > UNCLAIMED:
            named = None
        # A job that is there may know the pod by its uid, though owner and labels are gone. Names stay as they were made.
        if named is None or (deleted and await self.cluster.get(JOBS, meta["namespace"], named.job) is None):
            await remove_finalizer(self.cluster, PODS, raw, FINALIZER_POD)
        elif LABEL_JOB not in (meta.get("labels") or {}):
            self.pod_leaves(meta)


def job_uid(pod: Object) -> str:
    """The uid of the job that a pod's label names; empty where it has no labels."""
    labels = pod["metadata"].get("labels")
    return str(labels.get(LABEL_JOB_UID)) if isinstance(labels, dict) else ""


def _knows(job: Job, former: Job, pod_uid: str) -> bool:
    """A job that is there is the one that the pod had, or has the pod's bill, whatever the pod says by now of who that was."""
    ledger = job.status.ledger
    return job.uid == former.uid or pod_uid in {*ledger.settled, *(mark.uid for mark in ledger.high_water)}


def _called(pod: Object) -> str:
    meta = pod.get("metadata") or {}
    return f"pod {meta.get('namespace')}/{meta.get('name')} ({meta.get('uid')})"


def former_job(raw: Object) -> Job | None:
    """The job that a pod had, by what nobody changes: its name, and who controls it; None for a pod of nobody's.

    One whose owner was taken off by `--cascade=orphan` is told by its labels, if all of them say what its name says.
    """
    meta, named = raw["metadata"], read_pod_name(str(raw["metadata"]["name"]))
    controllers = [one for one in meta.get("ownerReferences") or [] if one.get("controller")]
    uids = [str(owner.get("uid") or "") for owner in controllers if owner.get("kind", KIND) == KIND]
    labels = meta.get("labels") or {}
    if not controllers and named is not None:
        uid = str(labels.get(LABEL_JOB_UID) or "")
        uids = [uid] if named.labels(uid).items() <= labels.items() else []
    if named is None or len(uids) != 1 or not uids[0]:
        return None
    job = {"name": named.job, "namespace": meta["namespace"], "uid": uids[0]}
    return Job({"metadata": job}, None, "", JobStatus())


def _event(raw: Object, text: str, now: datetime) -> Object:
    """About the pod; told again it has the same name, and is refused."""
    meta, stamp = raw["metadata"], format_time(now)
    involved = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{meta['name']}.{meta['uid']}", "namespace": meta["namespace"]},
        "involvedObject": involved | {"namespace": meta["namespace"]},
        "reason": "OrphanUnpriced",
        "message": text[:1000],
        "type": "Warning",
        "source": {"component": "llmtrain-operator"},
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }
