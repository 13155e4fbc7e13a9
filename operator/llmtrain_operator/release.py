"""The end of a job: its reservations end, its bill is booked, people are told, its finalizer goes.

Nothing of that is created in the job's own namespace, which may be on its way out and take nothing new. What is refused
is tried again, but the finalizer does not hang on it for good: once that has lasted, or at once where the ledger's own
namespace is being deleted, the job is let go and the log has its bill. Every step may be repeated.
"""

import logging
from dataclasses import replace
from datetime import datetime

from llmtrain.api import API_VERSION
from llmtrain.ledger.csvfile import exact_usd
from llmtrain.ledger.document import Booking
from llmtrain_operator.billing import format_time
from llmtrain_operator.bookings import booking_of_job
from llmtrain_operator.budget_release import release_reservations
from llmtrain_operator.client import ApiError, Cluster, Object
from llmtrain_operator.finalizers import remove_finalizer
from llmtrain_operator.names import FINALIZER_JOB, FINALIZER_POD, job_selector
from llmtrain_operator.namespace_ledger import NAMESPACES, Ledgers
from llmtrain_operator.observation import Job

log = logging.getLogger("llmtrain.operator")
JOBS = f"apis/{API_VERSION}/llmtrainingjobs"
PODS = "api/v1/pods"
EVENTS, NAMESPACE_OF_EVENTS = "api/v1/events", "default"
"""Where events about what has no namespace are kept."""
FORBIDDEN, UNANSWERED = 403, (0, 429, 503, 504)


async def release(cluster: Cluster, ledgers: Ledgers, job: Job, now: datetime, patient: bool) -> None:
    """Let a job go whose pods are all settled. ApiError where that is to be tried again, but for `patient` not without end."""
    await _end_reservations(cluster, job, now, patient)
    booking = booking_of_job(job, ledgers.rejections)
    flaw = await _book(ledgers, job, booking, patient)
    await _tell(cluster, ledgers, job, booking, flaw, now)
    await remove_finalizer(cluster, JOBS, job.raw, FINALIZER_JOB)
    # Whoever has another finalizer on it keeps the job, and it is let go again and again.
    ledgers.unbooked += bool(flaw) and FINALIZER_JOB in job.finalizers


async def _end_reservations(cluster: Cluster, job: Job, now: datetime, patient: bool) -> None:
    """No job is held for good by budgets that are gone, or that the operator may not write any more."""
    try:
        await release_reservations(cluster, job, now)
    except ApiError as error:
        if patient and error.code not in (403, 404):
            raise
        log.warning("job %s/%s: its reservations stay: %s", job.namespace, job.name, error)


async def _book(ledgers: Ledgers, job: Job, booking: Booking, patient: bool) -> str:
    """Why the bill is not booked and will not be; empty where it is."""
    try:
        await ledgers.book(job.namespace, booking)
    except ApiError as error:
        hopeless = error.code == FORBIDDEN and "being terminated" in error.message
        if error.code in UNANSWERED or (patient and not hopeless):
            raise
        return str(error)
    return ""


async def book_lost(cluster: Cluster, ledgers: Ledgers, job: Job, now: datetime) -> None:
    """Book what was settled of a job that went without being let go: somebody took our finalizer off it. The sweep has its other pods.

    `job` is as it was last seen. ApiError where that is to be tried again.
    """
    if not job.status.ledger.entries:
        return
    settled = set(job.status.ledger.settled)
    for raw in (await cluster.find(PODS, job.namespace, job_selector(job.uid))).items:
        # Before the sweep takes it for one that nobody has billed.
        if raw["metadata"]["uid"] in settled:
            await remove_finalizer(cluster, PODS, raw, FINALIZER_POD)
    meta = job.raw["metadata"]
    deleted = meta | {"deletionTimestamp": meta.get("deletionTimestamp") or format_time(now)}
    booking = booking_of_job(replace(job, raw={**job.raw, "metadata": deleted}), ledgers.rejections)
    flaw = await _book(ledgers, job, booking, patient=False)
    await _tell(cluster, ledgers, job, booking, flaw, now)
    ledgers.unbooked += bool(flaw)


async def _tell(cluster: Cluster, ledgers: Ledgers, job: Job, booking: Booking, flaw: str, now: datetime) -> None:
    """What the job cost, and where that is booked; `flaw`: why it is not."""
    total = exact_usd(sum(row.cost_micro_usd for row in booking.rows))
    if flaw:
        text = f"job {job.name} cost {total} USD, which are in no ledger: {flaw}"
        log.error("%s/%s: %s; %s", job.namespace, job.name, text, booking.model_dump_json(by_alias=True))
    else:
        text = f"job {job.name} cost {total} USD, booked in {booking.deleted[:7]} in namespace {ledgers.home}"
        log.info("%s/%s: %s", job.namespace, job.name, text)
    await _post(cluster, job, text, bool(flaw), now)


async def _post(cluster: Cluster, job: Job, text: str, warning: bool, now: datetime) -> None:
    """An event about the namespace, where events of its own would go with it. One that is refused is lost, the log is not."""
    try:
        # Read anew: a namespace that is deleted is so since a moment ago, as are its jobs.
        namespace = await cluster.get(NAMESPACES, "", job.namespace)
        if namespace is not None and (warning or namespace["metadata"].get("deletionTimestamp")):
            await cluster.create(EVENTS, NAMESPACE_OF_EVENTS, event_about(namespace, job, text, warning, now))
    except ApiError as error:
        log.info("event about namespace %s: %s", job.namespace, error)


def event_about(namespace: Object, job: Job, text: str, warning: bool, now: datetime) -> Object:
    """The event; told again it has the same name, and is refused."""
    name, stamp = namespace["metadata"]["name"], format_time(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name}.{job.uid}", "namespace": NAMESPACE_OF_EVENTS},
        "involvedObject": {"apiVersion": "v1", "kind": "Namespace", "name": name, "uid": namespace["metadata"]["uid"]},
        "reason": "JobNotBooked" if warning else "JobBooked",
        "message": text[:1000],
        "type": "Warning" if warning else "Normal",
        "source": {"component": "llmtrain-operator"},
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }
