"""One turn of a job: observe -> decide -> one status write -> act -> events.

The status is written before the acts that rest on it (an attempt's number before its pods, a bill before the
finalizer goes), and every act can be repeated: after a crash the next turn finds the same situation and goes on.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import reduce

from llmtrain.api import API_VERSION
from llmtrain.api.status import HighWater, JobStatus
from llmtrain_operator.act import Actor
from llmtrain_operator.batches import Result, carry_out
from llmtrain_operator.billing import parse_time
from llmtrain_operator.border import Kind, Rejections, put_back
from llmtrain_operator.client import NO_ANSWER, ApiError, Cluster, Object, is_ahead, newer
from llmtrain_operator.crash import tell_crash
from llmtrain_operator.decide import decide
from llmtrain_operator.fitting import fitted_status
from llmtrain_operator.memory import Head, Memory, Rest
from llmtrain_operator.namespace_ledger import Ledgers
from llmtrain_operator.network import NO_POLICY, NetworkSettings
from llmtrain_operator.observation import (
    Action,
    Decision,
    DeleteJob,
    DeleteObjects,
    Event,
    HoldJob,
    Job,
    Observation,
    ReleaseJob,
    ReleasePod,
    Reserve,
)
from llmtrain_operator.observe import Look, Observer, is_odd, read_job, stored_status
from llmtrain_operator.ownership import own_pods
from llmtrain_operator.podstate import PodState
from llmtrain_operator.recent import Recent
from llmtrain_operator.release import book_lost
from llmtrain_operator.requeue import RESYNC_SECONDS, requeue_after
from llmtrain_operator.rest import (
    AHEAD,
    Crowd,
    keep,
    lasting,
    leaves_alone,
    next_look,
    stand,
    stays,
    unpack,
)
from llmtrain_operator.settlement import remembered

log = logging.getLogger("llmtrain.operator")
JOBS = f"apis/{API_VERSION}/llmtrainingjobs"
NOT_SERVED = 404
"""Of a list: its kind is not there."""
UNFIT = (400, 422)
"""What an apiserver answers to a status that its schema refuses."""
RACE_SECONDS = 0.1
"""Somebody else was faster; or the shortest pause before a refused act is tried again."""
PROVISIONAL_SECONDS = 45
"""A job at rest is looked at every minute, and each of these looks writes the bill."""


@dataclass(frozen=True)
class Outlook:
    """When to look again; `gone`: the job does not exist any more, or was let go; `failed`: an act got no proper answer.

    `anew`: the job that is gone has a successor of the same name. `created`: when the job was made, as the API has it.
    """

    seconds: float
    gone: bool = False
    status: JobStatus | None = None
    uid: str = ""
    head: Head | None = None
    failed: bool = False
    anew: bool = False
    created: str = ""


@dataclass
class Reconciler:
    """The IO shell around `decide`."""

    cluster: Cluster
    clock: Callable[[], datetime]
    image: str
    network: NetworkSettings = NO_POLICY
    rejections: Rejections = field(default_factory=Rejections)
    home: str = "default"
    """The operator's own namespace, where the ledger is."""
    recent: Recent = field(init=False)
    ledgers: Ledgers = field(init=False)
    observer: Observer = field(init=False)

    def __post_init__(self) -> None:
        """What jobs share is read once for all of them."""
        self.recent = Recent(self.cluster, self.clock)
        self.ledgers = Ledgers(self.cluster, self.recent, self.home, self.clock, self.rejections)
        self.observer = Observer(self.cluster, self.recent, self.clock, self.image, self.network)

    async def turn(self, namespace: str, name: str, memory: Memory) -> Outlook:
        """One turn. ApiError 409 on the status write means somebody was faster: look again at once."""
        rest, memory.rest, memory.pods.awaited = memory.rest, Rest(), {}
        still_until = None if memory.woken else rest.still_until
        raw = await self._read(namespace, name, memory)
        if raw is None or raw["metadata"]["uid"] != (memory.uid or raw["metadata"]["uid"]):
            return await self._went(raw, memory)
        memory.last, memory.uid = memory.job.kept or memory.last, raw["metadata"]["uid"]
        job = _remembering(read_job(raw), memory)
        kept = rest.kept if memory.woken and memory.pods.are_listed() else None
        seen = await self.observer.observe(job, await self.observer.pods(job, kept, memory), memory)
        decision = decide(seen)
        if decision.stale:
            kept = None
            seen = await self.observer.anew(seen, await self.observer.pods(job, None, memory), memory)
            decision = decide(seen)
        if decision.wants_templates:
            seen = await self.observer.with_templates(seen, memory)
            decision = decide(seen)
        if decision.stale:
            raise ApiError(NO_ANSWER, "OldReads", "the apiserver takes too long: pods are old before they are judged")
        memory.told, memory.progress = memory.progress or memory.told, None
        memory.pods.awaited = decision.awaited
        status = decision.status.to_dict()
        put_back(status, job.unread)
        moved = status != stored_status(raw) if is_odd(job) else lasting(status) != lasting(stored_status(raw))
        raw = await self._write_status(raw, status, moved, seen.now, memory)
        memory.pods.marks = _unwritten(decision.status, raw)
        actor = Actor(self.cluster, self.ledgers, replace(seen.job, status=decision.status), self.clock, memory.made)
        results = await self._act(actor, seen.job, decision.actions, memory)
        await actor.post([*decision.events, *self._rejected(seen)], self.clock())
        released = {one.action.pod.uid for one in results if isinstance(one.action, ReleasePod) and one.error is None}
        memory.pods.held = memory.pods.held.union(actor.pod_uids) - released
        memory.pods.told = reduce(newer, actor.pods, memory.pods.told)
        memory.pods.sure = "" not in actor.pods and not any(_is_unknown(one) for one in results)
        gone = any(isinstance(one.action, ReleaseJob) and one.error is None for one in results)
        memory.last = b"" if gone else memory.last
        seconds = self._seconds(seen, decision, moved, results, memory)
        memory.head = _live_head(seen.pods)
        if leaves_alone(seen, decision):
            still = not moved and not decision.events and seconds == RESYNC_SECONDS
            memory.rest = Rest(kept or keep(seen), still, still_until)
        if memory.rest.still:
            _rest(seen, decision, status, memory)
        failed = any(_is_unknown(one) for one in results)
        return Outlook(seconds, gone, decision.status, seen.job.uid, memory.head, failed, created=seen.job.created)

    async def _went(self, raw: Object | None, memory: Memory) -> Outlook:
        """The job is gone, and `raw` has its name, if anything has. One that somebody let go in our stead is booked as it was last seen."""
        last = read_job(unpack(memory.last)) if memory.last else None
        if last is not None and (raw is not None or await self._is_gone(last)):
            await book_lost(self.cluster, self.ledgers, last, self.clock())
        memory.last = b""
        return Outlook(0, gone=True, anew=raw is not None)

    async def _is_gone(self, job: Job) -> bool:
        """Whether jobs are served, and it is not among them: where they are not, a read finds none, and it may well be there."""
        try:
            listed = await self.cluster.list_metadata(JOBS, job.namespace, "")
        except ApiError as error:
            if error.code != NOT_SERVED:
                raise
            return False
        return job.uid not in {other["metadata"]["uid"] for other in listed}

    def _seconds(
        self, seen: Observation, decision: Decision, moved: bool, results: Sequence[Result], memory: Memory
    ) -> float:
        """Until the next look: where acts were refused, and nothing else was done, until the next of them is due."""
        if any(isinstance(one.action, Reserve) and one.error is not None for one in results):
            return RACE_SECONDS
        done = any(one.error is None for one in results)
        pause, again = requeue_after(seen, decision, moved, done), memory.refused.seconds(self.clock())
        if again is None:
            return pause
        return min(RESYNC_SECONDS, max(again, RACE_SECONDS), pause if done or moved else RESYNC_SECONDS)

    def _rejected(self, seen: Observation) -> Iterator[Event]:
        """An event for each thing that is not used of the job's status or its pods, once until it changes."""
        job = seen.job
        where = f"job {job.namespace}/{job.name} ({job.uid})"
        if job.flaws and self.rejections.note(Kind.JOB_STATUS, where, job.flaws):
            yield Event("InputRejected", f"status: {job.flaws}", warning=True)
        for pod in seen.pods:
            for flaw in pod.flaws:
                if self.rejections.note(flaw.kind, pod.known_as, flaw.why):
                    yield Event("InputRejected", f"pod {pod.name}, {flaw.kind.value}: {flaw.why}", warning=True)

    def _forget_what_acts_change(self, actions: Sequence[Action], namespace: str, memory: Memory) -> None:
        if any(isinstance(action, Reserve) for action in actions):
            self.recent.forget_budgets(namespace)
        if any(isinstance(action, HoldJob | ReleaseJob | DeleteJob) for action in actions):
            memory.job.forget()

    async def rested_turn(self, memory: Memory, crowd: Crowd) -> Outlook | None:
        """A turn of a job that nobody has touched: the running bill, and what its head says.

        None, and nothing done, where more follows or nothing is kept: that is for a live turn. The status is written on
        condition that the job is as it was.
        """
        if memory.rest.kept and self.clock() - memory.rest.kept.read >= crowd.trust:
            memory.rest.kept = None
        if memory.woken:
            return None
        kept, memory.rest.kept, memory.rest.quiet_until = memory.rest.kept, None, None
        if kept is None or not memory.job.kept:
            return None
        raw = unpack(memory.job.kept)
        job = read_job(raw)
        if is_odd(job):
            return None
        known = max(kept.read, crowd.heard or kept.read)
        seen = await self.observer.observe(
            job, Look(own_pods(job, kept.pods(), memory.pods.held), known, live=False), memory
        )
        later = memory.progress not in (None, memory.told) and not self._has_news(memory, crowd)
        decision = decide(replace(seen, progress=None) if later else seen)
        if (
            decision.stale
            or decision.actions
            or decision.events
            or decision.wants_templates
            or stand(decision.status) != stand(seen.job.status)
        ):
            return None
        if not later:
            memory.told, memory.progress = memory.progress or memory.told, None
        status = decision.status.to_dict()
        moved = lasting(status) != lasting(raw["status"])
        await self._write_status(raw, status, moved, seen.now, memory)
        memory.rest = Rest(kept, True, None if moved else memory.rest.still_until)
        _rest(seen, decision, status, memory)
        return Outlook(RESYNC_SECONDS, False, decision.status, seen.job.uid, memory.head, created=seen.job.created)

    async def tell_crash(self, namespace: str, name: str, error: BaseException) -> bool:
        """Tell a job's owner that nobody reconciles it: its loop ended in a bug, or its turns end in errors of the API.

        Whether the job's status tells of it now.
        """
        return await tell_crash(self.cluster, namespace, name, error, self.clock())

    def glance(self, memory: Memory, crowd: Crowd) -> Outlook | None:
        """Without asking anybody: nothing to do for a while; None where a turn is due, or the head has said something."""
        now = self.clock()
        if memory.rest.quiet_until is None or now >= memory.rest.quiet_until or self._has_news(memory, crowd):
            return None
        return Outlook(min(RESYNC_SECONDS, (memory.rest.quiet_until - now).total_seconds()), head=memory.head)

    def _has_news(self, memory: Memory, crowd: Crowd) -> bool:
        return memory.progress not in (None, memory.told) and self.hears(memory, crowd, 0)

    def hears(self, memory: Memory, crowd: Crowd, ahead: float) -> bool:
        """Whether what the head says is taken in so many seconds: at the crowd's pace, or once the bill is due."""
        since = (self.clock() - memory.billed_at).total_seconds() if memory.billed_at else PROVISIONAL_SECONDS
        return since + ahead >= min(crowd.pace, PROVISIONAL_SECONDS)

    async def _read(self, namespace: str, name: str, memory: Memory) -> Object | None:
        """The job, none older than what was seen, written or told of before; a newer one will wake the loop."""
        known, newest = memory.job.current(self.clock()), memory.job.newest
        memory.job.told, memory.job.version = "", newest if known else ""
        raw = known or await self._get_job(namespace, name, newest)
        if raw is None:
            memory.job.forget()
        elif not known:
            memory.job.keep(raw, self.clock())
            memory.billed_at = memory.billed_at or status_written(raw)
        return raw

    async def _get_job(self, namespace: str, name: str, not_before: str) -> Object | None:
        """As it is now where the apiserver has nothing so new: etcd may have been restored from a backup."""
        try:
            return await self.cluster.get(JOBS, namespace, name, not_before)
        except ApiError as error:
            if not not_before or not is_ahead(error):
                raise
        return await self.cluster.get(JOBS, namespace, name)

    async def _write_status(self, raw: Object, status: Object, moved: bool, now: datetime, memory: Memory) -> Object:
        """The job as it is stored then. Written where anything but the running bill has moved, and once a minute for that."""
        last = memory.billed_at
        due = last is None or (now - last).total_seconds() >= PROVISIONAL_SECONDS
        if not moved and (not due or status == stored_status(raw)):
            return raw
        memory.job.forget()
        written = await self._replace_status(raw, status)
        memory.billed_at = now
        memory.job.keep(written, self.clock())
        memory.last = memory.job.kept
        return written

    async def _replace_status(self, raw: Object, status: Object) -> Object:
        """Write the status; where the CRD refuses it, what fits of it: the bill is never held up by what somebody says."""
        where = JOBS, raw["metadata"]["namespace"], raw["metadata"]["name"]
        try:
            return await self.cluster.replace(*where, {**raw, "status": status}, "status")
        except ApiError as error:
            fitting = fitted_status(status) if error.code in UNFIT else status
            if fitting == status:
                raise
            self.rejections.note(Kind.WRITE, f"job {where[1]}/{where[2]} ({raw['metadata']['uid']})", error.message)
        return await self.cluster.replace(*where, {**raw, "status": fitting}, "status")

    async def _act(self, actor: Actor, job: Job, actions: Sequence[Action], memory: Memory) -> list[Result]:
        """Do what was decided and is due; what was refused is told, and tried again later. What is noted as done was done."""
        due = memory.refused.due(_remaining(actions, memory), self.clock())
        try:
            results = await carry_out(actor, due)
        finally:
            self._forget_what_acts_change(actions, job.namespace, memory)
        for one in results:
            if one.error is not None:
                log.warning("job %s/%s: %s: %s", job.namespace, job.name, type(one.action).__name__, one.error)
        memory.refused.take(results, actions, self.clock())
        done = [
            one.action.attempt.cluster for one in results if isinstance(one.action, DeleteObjects) and not one.error
        ]
        asked = [action.attempt.cluster for action in actions if isinstance(action, DeleteObjects)]
        memory.cleared = next((cluster for cluster in asked if cluster in (*done, memory.cleared)), "")
        return results


def status_written(raw: Object) -> datetime | None:
    """When a status was last written, to the second; a thousand restarted loops need not write them all at once."""
    entries = [entry for entry in raw["metadata"].get("managedFields", []) if entry.get("subresource") == "status"]
    times = [parse_time(entry.get("time")) for entry in entries]
    return max((time for time in times if time is not None), default=None)


def _live_head(pods: Sequence[PodState]) -> Head | None:
    found = (pod for pod in pods if pod.is_head and pod.ip and not pod.over and not pod.deleted)
    return next((Head(pod.uid, pod.ip) for pod in found), None)


def _remembering(job: Job, memory: Memory) -> Job:
    """The job with the marks that its status lacks yet."""
    marks, memory.pods.marks = memory.pods.marks, ()
    ledger = remembered(job.status.ledger, marks)
    return replace(job, status=job.status.model_copy(update={"ledger": ledger})) if marks else job


def _unwritten(status: JobStatus, raw: Object) -> list[HighWater]:
    """Marks that the stored job has not."""
    stored = {mark.get("uid") for mark in stored_status(raw).get("ledger", {}).get("highWater", [])}
    return [mark for mark in status.ledger.high_water if mark.uid not in stored]


def _remaining(actions: Sequence[Action], memory: Memory) -> list[Action]:
    """Without what was done in the turn before."""
    done = memory.cleared
    return [act for act in actions if not (isinstance(act, DeleteObjects) and act.attempt.cluster == done)]


def _rest(seen: Observation, decision: Decision, status: Object, memory: Memory) -> None:
    """How long a calm job may be left alone. Looking far ahead once saves looking ahead every minute."""
    look = next_look(seen.job.uid, seen.now)
    if memory.rest.still_until is None or memory.rest.still_until < look:
        ahead = (seen.now + AHEAD, look)
        memory.rest.still_until = next((then for then in ahead if stays(seen, decision, status, then)), None)
    memory.rest.quiet_until = (
        look if memory.rest.still_until is not None and not (seen.budgets or seen.unread) else None
    )


def _is_unknown(result: Result) -> bool:
    """Nobody can say what became of it."""
    return result.error is not None and (result.error.code == NO_ANSWER or result.error.code >= 500)
