"""What one turn of a job sees: the job and its pods as they are, and all that a decision needs beside them. All of it is IO.

What cannot be read is noted in the observation and raises nothing, unless it is the job or its pods: on what is not known
nothing is begun, and nothing is kept from stopping.
"""

import logging
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pydantic import ValidationError

from llmtrain.api.job import JobSpec
from llmtrain.api.status import JobStatus, StageState
from llmtrain_operator.act import CONFIG_MAPS, PODS, is_owned
from llmtrain_operator.billing import Node
from llmtrain_operator.blueprints import attempt_of, evaluator_plan_name, plan_name, stages_of
from llmtrain_operator.border import read, why_not
from llmtrain_operator.budget_state import BudgetState, is_bound, may_select, read_budget
from llmtrain_operator.client import STALE, ApiError, Cluster, Found, Object, is_ahead
from llmtrain_operator.memory import Memory
from llmtrain_operator.names import job_selector
from llmtrain_operator.network import NO_POLICY, NetworkSettings
from llmtrain_operator.nodes import PRESUMED, doubtful
from llmtrain_operator.observation import BUDGETS_UNREAD, PLANS_UNREAD, TEMPLATES_UNREAD, Job, Observation
from llmtrain_operator.ownership import own_pods
from llmtrain_operator.podstate import PodState
from llmtrain_operator.podtemplate import LOST, Templates, from_data
from llmtrain_operator.pricing import Plan
from llmtrain_operator.recent import Recent
from llmtrain_operator.rest import Kept
from llmtrain_operator.strays import find_strays, put_labels_back

log = logging.getLogger("llmtrain.operator")
RESTED_ON = ("stages", "ledger", "history")
"""Parts of a status on which decisions rest; the others are made anew in every turn."""
MAY_HAVE_OBJECTS = (StageState.RUNNING, StageState.STOPPING)


@dataclass(frozen=True)
class Look:
    """A job's pods, until when they are known to have been so, and whether this turn read them."""

    pods: list[PodState]
    read: datetime
    live: bool = True


@dataclass(frozen=True)
class Observer:
    """Reads for one turn at a time. `recent` is what jobs share."""

    cluster: Cluster
    recent: Recent
    clock: Callable[[], datetime]
    image: str
    network: NetworkSettings = NO_POLICY

    async def pods(self, job: Job, kept: Kept | None, memory: Memory) -> Look:
        """The job's pods: as they are now, or, for a loop that was told of a change, at least as new as anybody told of."""
        told = memory.woken and memory.pods.sure and not memory.pods.gap
        memory.woken = memory.pods.sure = memory.pods.gap = False
        if kept is not None:
            return Look(own_pods(job, kept.pods(), memory.pods.held), kept.read, live=False)
        asked = self.clock()
        where = (PODS, job.namespace, job_selector(job.uid))
        found = await self._list_since(where, memory.pods.newest) if told else None
        found = found or await self._list_live(where, memory)
        memory.pods.version, memory.pods.stale, memory.pods.stale_since = found.version, 0, None
        listed = [*found.items, *await find_strays(self.cluster, job, found.items, memory.pods.held)]
        pods = own_pods(job, listed, memory.pods.held)
        memory.pods.held = frozenset(pod.uid for pod in pods if pod.held)
        edited = {pod.uid for pod in pods if pod.mislabelled}
        if edited:
            await put_labels_back(self.cluster, job, [raw for raw in listed if raw["metadata"]["uid"] in edited])
        return Look(pods, asked)

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

    async def observe(self, job: Job, look: Look, memory: Memory) -> Observation:
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

    async def anew(self, seen: Observation, look: Look, memory: Memory) -> Observation:
        """The same beside pods that were read just now. What made them old would otherwise make these old as well."""
        return replace(
            seen,
            pods=look.pods,
            nodes=await self._nodes(look.pods),
            pods_read=look.read.replace(microsecond=0),
            live=look.live,
            objects_left=not look.pods and await self._objects_left(seen.job, memory),
            now=self.clock().replace(microsecond=0),
        )

    async def _nodes(self, pods: Sequence[PodState]) -> Mapping[str, Node]:
        """Nodes of all pods; those of pods in doubt are asked for."""
        asked = {pod.node for pod in pods if doubtful(pod, self.clock())}
        presumed = {pod.node: PRESUMED for pod in pods if pod.node}
        return presumed | await self.recent.nodes(asked) if asked else presumed

    async def _budgets(self, job: Job, unread: dict[str, str]) -> list[BudgetState]:
        """Budgets that bind the job, by name; none where they cannot be read, which is noted."""
        holds = any(stage.state in MAY_HAVE_OBJECTS for stage in job.status.stages)
        read = self.recent.budgets_since if holds else self.recent.budgets
        try:
            found = await read(job.namespace)
        except ApiError as error:
            unread[BUDGETS_UNREAD] = f"TrainingBudgets cannot be read: {error}"[:1024]
            return []
        return sorted(self._parsed_budgets(found, job, unread), key=lambda budget: budget.name)

    def _parsed_budgets(self, found: Sequence[Object], job: Job, unread: dict[str, str]) -> Iterator[BudgetState]:
        """Those that select the job, or in which it has reserved; one that may and does not parse is noted, and stops no other job."""
        labels = job.raw["metadata"].get("labels") or {}
        for raw in found:
            if not (may_select(raw, labels) or is_bound(raw, job.uid)):
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

    async def with_templates(self, seen: Observation, memory: Memory) -> Observation:
        """The same with the templates of the attempt under way; that they cannot be read keeps only new pods from being made."""
        try:
            return replace(seen, templates=await self._templates(seen.job, memory))
        except ApiError as error:
            why = f"the ConfigMap that the attempt began with cannot be read: {error}"[:1024]
            return replace(seen, unread={**seen.unread, TEMPLATES_UNREAD: why})

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
