"""One turn of a job: observe -> decide -> one status write -> act -> events.

The status is written before the acts that rest on it (an attempt's number before its pods, a bill before the
finalizer goes), and every act can be repeated: after a crash the next turn finds the same situation and goes on.
"""

import logging
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import reduce

from pydantic import ValidationError

from llmtrain.api import API_VERSION
from llmtrain.api.job import JobSpec
from llmtrain.api.status import HighWater, JobStatus, StageState
from llmtrain_operator.act import CONFIG_MAPS, PODS, Actor, is_owned
from llmtrain_operator.batches import Result, carry_out
from llmtrain_operator.billing import Node, parse_time
from llmtrain_operator.blueprints import attempt_of, evaluator_plan_name, plan_name, stages_of
from llmtrain_operator.border import Kind, Rejections, put_back, read, why_not
from llmtrain_operator.budget_state import BudgetState, may_select, read_budget
from llmtrain_operator.client import NO_ANSWER, STALE, ApiError, Cluster, Found, Object, is_ahead, newer
from llmtrain_operator.crash import tell_crash
from llmtrain_operator.decide import decide
from llmtrain_operator.fitting import fitted_status
from llmtrain_operator.memory import Head, Memory, Rest
from llmtrain_operator.names import job_selector
from llmtrain_operator.namespace_ledger import Ledgers
from llmtrain_operator.network import NO_POLICY, NetworkSettings
from llmtrain_operator.nodes import PRESUMED, doubtful
from llmtrain_operator.observation import (
    BUDGETS_UNREAD,
    PLANS_UNREAD,
    Action,
    CreateEvaluator,
    CreateHead,
    CreateWorker,
    Decision,
    DeleteJob,
    DeleteObjects,
    DeletePod,
    Event,
    HoldJob,
    Job,
    Observation,
    ReleaseJob,
    ReleasePod,
    Reserve,
)
from llmtrain_operator.ownership import own_pods
from llmtrain_operator.podstate import PodState
from llmtrain_operator.podtemplate import LOST, Templates, from_data
from llmtrain_operator.pricing import Plan
from llmtrain_operator.recent import Recent
from llmtrain_operator.rest import (
    AHEAD,
    Crowd,
    Kept,
    keep,
    lasting,
    leaves_alone,
    next_look,
    stand,
    stays,
    unpack,
)
from llmtrain_operator.settlement import remembered
from llmtrain_operator.strays import find_strays, put_labels_back

log = logging.getLogger("llmtrain.operator")
JOBS = f"apis/{API_VERSION}/llmtrainingjobs"
UNFIT = (400, 422)
"""What an apiserver answers to a status that its schema refuses."""
RESTED_ON = ("stages", "ledger", "history")
"""Parts of a status on which decisions rest; the others are made anew in every turn."""
RESYNC_SECONDS = 15.0
FINISHED_SECONDS = 120.0
"""A finished job costs nothing; what is left to do is its time to live."""
SOON_SECONDS = 1.0
RACE_SECONDS = 0.1
"""Somebody else was faster; or the shortest pause before a refused act is tried again."""
ENDING_SECONDS = 5.0
"""Pods that end wake the loop; this is in case a watch has missed one. Of a hundred jobs that end at once, a look each second at
every one takes the time that their ends need."""
TOLD_BY_PODS = (CreateHead, CreateWorker, CreateEvaluator, DeletePod, ReleasePod)
"""Acts that show as changes of pods, which wake the loop."""
MAY_HAVE_OBJECTS = (StageState.RUNNING, StageState.STOPPING)
PROVISIONAL_SECONDS = 45
"""A job at rest is looked at every minute, and each of these looks writes the bill."""


@dataclass(frozen=True)
class Outlook:
    """When to look again; `gone`: the job does not exist any more, or was let go; `failed`: an act got no proper answer."""

    seconds: float
    gone: bool = False
    status: JobStatus | None = None
    uid: str = ""
    head: Head | None = None
    failed: bool = False


@dataclass(frozen=True)
class Look:
    """A job's pods, until when they are known to have been so, and whether this turn read them."""

    pods: list[PodState]
    read: datetime
    live: bool = True


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

    def __post_init__(self) -> None:
        """What jobs share is read once for all of them."""
        self.recent = Recent(self.cluster, self.clock)
        self.ledgers = Ledgers(self.cluster, self.recent, self.home, self.clock, self.rejections)

    async def turn(self, namespace: str, name: str, memory: Memory) -> Outlook:
        """One turn. ApiError 409 on the status write means somebody was faster: look again at once."""
        rest, memory.rest, memory.pods.awaited = memory.rest, Rest(), {}
        still_until = None if memory.woken else rest.still_until
        raw = await self._read(namespace, name, memory)
        if raw is None:
            return Outlook(0, gone=True)
        job = _remembering(read_job(raw), memory)
        kept = rest.kept if memory.woken and memory.pods.are_listed() else None
        seen = await self._observe(job, await self._pods(job, kept, memory), memory)
        decision = decide(seen)
        if decision.stale:
            kept = None
            seen = await self._observe(job, await self._pods(job, None, memory), memory)
            decision = decide(seen)
        if decision.wants_templates:
            seen = replace(seen, templates=await self._templates(seen.job, memory))
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
        memory.pods.told = reduce(newer, actor.pods, memory.pods.told)
        memory.pods.sure = "" not in actor.pods and not any(_is_unknown(one) for one in results)
        gone = any(isinstance(one.action, ReleaseJob) and one.error is None for one in results)
        seconds = self._seconds(seen, decision, moved, results, memory)
        memory.head = _live_head(seen.pods)
        if leaves_alone(seen, decision):
            still = not moved and not decision.events and seconds == RESYNC_SECONDS
            memory.rest = Rest(kept or keep(seen), still, still_until)
        if memory.rest.still:
            _rest(seen, decision, status, memory)
        failed = any(_is_unknown(one) for one in results)
        return Outlook(seconds, gone, decision.status, seen.job.uid, memory.head, failed)

    def _seconds(
        self, seen: Observation, decision: Decision, moved: bool, results: Sequence[Result], memory: Memory
    ) -> float:
        """Until the next look: where acts were refused, and nothing else was done, until the next of them is due."""
        if any(isinstance(one.action, Reserve) and one.error is not None for one in results):
            return RACE_SECONDS
        done = any(one.error is None for one in results)
        pause, again = _pause(seen, decision, moved, done), memory.refused.seconds(self.clock())
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
        seen = await self._observe(job, Look(own_pods(job, kept.pods()), known, live=False), memory)
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
        return Outlook(RESYNC_SECONDS, False, decision.status, seen.job.uid, memory.head)

    async def tell_crash(self, namespace: str, name: str, error: BaseException) -> None:
        """Tell a job's owner that its loop ended in a bug."""
        await tell_crash(self.cluster, namespace, name, error, self.clock())

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

    async def _pods(self, job: Job, kept: Kept | None, memory: Memory) -> Look:
        """The job's pods: as they are now, or, for a loop that was told of a change, at least as new as anybody told of."""
        told = memory.woken and memory.pods.sure and not memory.pods.gap
        memory.woken = memory.pods.sure = memory.pods.gap = False
        if kept is not None:
            return Look(own_pods(job, kept.pods()), kept.read, live=False)
        asked = self.clock()
        where = (PODS, job.namespace, job_selector(job.uid))
        found = await self._list_since(where, memory.pods.newest) if told else None
        found = found or await self._list_live(where, memory)
        memory.pods.version, memory.pods.stale, memory.pods.stale_since = found.version, 0, None
        listed = [*found.items, *await find_strays(self.cluster, job, found.items)]
        pods = own_pods(job, listed)
        edited = {pod.uid for pod in pods if pod.mislabelled}
        if edited:
            await put_labels_back(self.cluster, job, [raw for raw in listed if raw["metadata"]["uid"] in edited])
        return Look(pods, asked)

    async def _get_job(self, namespace: str, name: str, not_before: str) -> Object | None:
        """As it is now where the apiserver has nothing so new: etcd may have been restored from a backup."""
        try:
            return await self.cluster.get(JOBS, namespace, name, not_before)
        except ApiError as error:
            if not not_before or not is_ahead(error):
                raise
        return await self.cluster.get(JOBS, namespace, name)

    async def _list_since(self, where: tuple[str, str, str], version: str) -> Found | None:
        """None where the apiserver has nothing so new."""
        try:
            return await self.cluster.find_since(*where, version)
        except ApiError as error:
            if not is_ahead(error):
                raise
        return None

    async def _list_live(self, where: tuple[str, str, str], memory: Memory) -> Found:
        """No older than the last list; ApiError 0 for an older one, unless etcd must have been restored from a backup."""
        try:
            return await self.cluster.find(*where, memory.pods.version)
        except ApiError as error:
            if error.reason != STALE or not memory.pods.is_past(self.clock()):
                raise
        log.warning("%s %s: lists are older than before: etcd was restored, what was known is forgotten", *where[1:])
        memory.forget_versions()
        return await self.cluster.find(*where)

    async def _observe(self, job: Job, look: Look, memory: Memory) -> Observation:
        """The job and its pods with all that a decision needs beside them."""
        pods = look.pods
        nodes = await self._nodes(pods)
        unread = dict[str, str]()
        plans = await self._plans(job.spec, unread) if job.spec else {}
        return Observation(
            job=job,
            pods=pods,
            nodes=nodes,
            plans=plans,
            now=self.clock().replace(microsecond=0),
            pods_read=look.read.replace(microsecond=0),
            live=look.live,
            objects_left=not pods and await self._objects_left(job, memory),
            image=self.image,
            nonce=secrets.token_hex(4),
            network=self.network,
            progress=memory.progress if memory.progress_of in {pod.uid for pod in pods} else None,
            budgets=await self._budgets(job, unread),
            namespace_labels=await self._namespace_labels(job.namespace, plans, unread),
            unread=unread,
            refusals=memory.refused.told(),
        )

    async def _nodes(self, pods: Sequence[PodState]) -> Mapping[str, Node]:
        """Nodes of all pods; those of pods in doubt are asked for."""
        asked = {pod.node for pod in pods if doubtful(pod, self.clock())}
        presumed = {pod.node: PRESUMED for pod in pods if pod.node}
        return presumed | await self.recent.nodes(asked) if asked else presumed

    async def _budgets(self, job: Job, unread: dict[str, str]) -> list[BudgetState]:
        """Budgets that select the job, by name; none where they cannot be read, which is noted."""
        holds = any(stage.state in MAY_HAVE_OBJECTS for stage in job.status.stages)
        read = self.recent.budgets_since if holds else self.recent.budgets
        try:
            found = await read(job.namespace)
        except ApiError as error:
            unread[BUDGETS_UNREAD] = f"TrainingBudgets cannot be read: {error}"[:1024]
            return []
        labels = job.raw["metadata"].get("labels") or {}
        return sorted(self._parsed_budgets(found, labels, unread), key=lambda budget: budget.name)

    def _parsed_budgets(
        self, found: Sequence[Object], labels: dict[str, str], unread: dict[str, str]
    ) -> Iterator[BudgetState]:
        """Those that select a job with these labels; one that may and does not parse is noted, and stops no job that it does not select."""
        for raw in found:
            if not may_select(raw, labels):
                continue
            try:
                yield read_budget(raw, self.clock())
            except ValidationError as error:
                unread[BUDGETS_UNREAD] = f"TrainingBudget `{raw['metadata']['name']}` does not parse: {why_not(error)}"[
                    :1024
                ]

    async def _namespace_labels(
        self, namespace: str, plans: Mapping[str, Plan], unread: dict[str, str]
    ) -> Mapping[str, str]:
        if not any(plan.spec.allowed_namespaces for plan in plans.values()):
            return {}
        try:
            found = await self.recent.get("api/v1/namespaces", "", namespace)
        except ApiError as error:
            unread[PLANS_UNREAD] = f"labels of namespace {namespace} cannot be read: {error}"[:1024]
            return {}
        labels: Mapping[str, str] = (found or {"metadata": {}})["metadata"].get("labels") or {}
        return labels

    async def _objects_left(self, job: Job, memory: Memory) -> bool:
        stage = next((stage for stage in job.status.stages if stage.state in MAY_HAVE_OBJECTS), None)
        if stage is None or attempt_of(job, stage).cluster == memory.cleared:
            return False
        try:
            found = await self.cluster.get(CONFIG_MAPS, job.namespace, attempt_of(job, stage).config)
        except ApiError as error:
            # Nobody knows that they are gone: to delete them again harms nothing, and tells why it cannot be done.
            log.warning("job %s/%s: its objects: %s", job.namespace, job.name, error)
            return True
        return found is not None and is_owned(found, job.uid)

    async def _templates(self, job: Job, memory: Memory) -> Templates:
        """What the pods of the attempt under way are made from, as its ConfigMap has it: read once, for it is immutable."""
        stage = next(stage for stage in job.status.stages if stage.state is StageState.RUNNING)
        if memory.templates_of != stage.template:
            found = await self.cluster.get(CONFIG_MAPS, job.namespace, attempt_of(job, stage).config)
            own = found is not None and is_owned(found, job.uid)
            memory.templates = from_data(found.get("data") or {}) if found is not None and own else LOST
            memory.templates_of = stage.template
        return memory.templates

    async def _plans(self, spec: JobSpec, unread: dict[str, str]) -> dict[str, Plan]:
        """Plans that the job names, as far as they are there. What was known of one that cannot be read serves what runs."""
        names = {plan_name(spec, stage) for stage in stages_of(spec)} | set(spec.compare_plans)
        names |= {name for stage in stages_of(spec) if (name := evaluator_plan_name(spec, stage))}
        plans = {}
        for name in sorted(names):
            try:
                plan = await self.recent.plan(name)
            except ApiError as error:
                unread[PLANS_UNREAD] = f"ComputePlan `{name}` cannot be read: {error}"[:1024]
                plan = self.recent.last_plan(name)
            except ValidationError as error:
                unread[PLANS_UNREAD] = f"ComputePlan `{name}` does not parse: {why_not(error, 'spec.')}"[:1024]
                plan = self.recent.last_plan(name)
            if plan is not None:
                plans[name] = plan
        return plans

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


def read_job(raw: Object) -> Job:
    """Parse a job; an invalid spec is a condition, not an exception, and so is a status that another version or a hand wrote."""
    found = read(JobStatus, raw.get("status") or {})
    status = found.value or JobStatus()
    unread = tuple(part for part in found.removed if part[0][0] in RESTED_ON) if found.value else ()
    if unread or found.value is None:
        # Nothing is begun on what is known in part; what can be read is billed and ended, what cannot is kept as it is.
        return Job(raw, None, f"`status` cannot be read: {found.flaws}"[:1024], status, found.flaws, True, unread)
    try:
        return Job(raw, JobSpec.model_validate(raw.get("spec") or {}), "", status, found.flaws)
    except ValidationError as error:
        return Job(raw, None, why_not(error, "spec."), status)


def is_odd(job: Job) -> bool:
    """The job is not what this version writes: it is always looked at live, and as a whole."""
    return job.spec is None or bool(job.flaws)


def stored_status(raw: Object) -> Object:
    """The job's status as it was read; empty where it has none."""
    status = raw.get("status")
    return status if isinstance(status, dict) else {}


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


def _pause(seen: Observation, decision: Decision, moved: bool, done: bool) -> float:
    """None after a step that no pod will tell of; soon while something is under way; otherwise the resync period.

    `done`: something was carried out.
    """
    moves = done or (decision.actions and not seen.refusals)
    asked = seen.job.spec is not None and seen.job.spec.suspend
    suspended = asked and decision.status.state == "Suspended" and not decision.actions and not seen.pods
    if moved and not suspended and not any(isinstance(action, TOLD_BY_PODS) for action in decision.actions):
        return 0.0
    if any(pod.deleted for pod in seen.pods) or decision.status.state == "Stopping":
        return ENDING_SECONDS if seen.pods else SOON_SECONDS
    if moves:
        return SOON_SECONDS
    if decision.status.completion_time and not seen.pods:
        return _until_expiry(seen, decision)
    if decision.status.state != "Pending" or decision.status.waiting is None:
        return RESYNC_SECONDS if decision.status.state != "Pending" else SOON_SECONDS
    return min(RESYNC_SECONDS, max(SOON_SECONDS, _until_next_attempt(seen, decision)))


def _until_expiry(seen: Observation, decision: Decision) -> float:
    """Seconds until a finished job is deleted, two minutes at the most."""
    ended, spec = parse_time(decision.status.completion_time), seen.job.spec
    if ended is None or spec is None or not spec.ttl_seconds_after_finished:
        return FINISHED_SECONDS
    left = ended.timestamp() + spec.ttl_seconds_after_finished - seen.now.timestamp()
    return min(FINISHED_SECONDS, max(SOON_SECONDS, left))


def _until_next_attempt(seen: Observation, decision: Decision) -> float:
    """Seconds until the backoff of a pending stage is over; the resync period where there is none."""
    times = [parse_time(s.not_before) for s in decision.status.stages if s.not_before and s.state == "Pending"]
    left = [(time - seen.now).total_seconds() for time in times if time is not None]
    return min((seconds for seconds in left if seconds > 0), default=RESYNC_SECONDS)
