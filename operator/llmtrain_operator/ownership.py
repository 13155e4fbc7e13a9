"""Which pods are the job's, and what they cost. Anybody may put our labels on a pod of his own; such a pod is neither
billed nor deleted. Anybody may edit annotations; the price is the operator's own record.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from llmtrain.api.job import JobSpec
from llmtrain.api.status import HighWater, RolePrice, Stage, StageStatus
from llmtrain_operator.blueprints import cluster_of, evaluators_of
from llmtrain_operator.client import Object
from llmtrain_operator.names import HEAD, PRICE_ANNOTATION, ROLES, Attempt
from llmtrain_operator.observation import Job
from llmtrain_operator.podstate import PodState
from llmtrain_operator.priceannotation import annotated_power, annotated_price, shown
from llmtrain_operator.pricing import FREE, Price
from llmtrain_operator.roleprices import fixed, power_of, price_of


def own_pods(job: Job, found: Iterable[Object]) -> list[PodState]:
    """Pods that this operator made for this job, each with its price."""
    marks = {mark.uid: mark for mark in job.status.ledger.high_water}
    stages = {stage.name.value: stage for stage in job.status.stages}
    known = {*marks, *job.status.ledger.settled}
    pods = (PodState(pod) for pod in found if is_own(job, pod, known))
    return [_priced(pod, marks.get(pod.uid), _of_attempt(stages, pod), job.spec) for pod in pods]


def is_own(job: Job, pod: Object, known: Collection[str] = ()) -> bool:
    """Controlled by the job, or its own without an owner; and named as its labels say. `known`: uids of pods that the job's bill knows.

    A job that is deleted with `--cascade=orphan` loses its pods at once. Those that were seen before are known; those that were
    made a moment ago stand in its slots.
    """
    controllers = [o.get("uid") for o in pod["metadata"].get("ownerReferences", []) if o.get("controller")]
    ours = controllers == [job.uid] or pod["metadata"]["uid"] in known
    if not ours and (controllers or not job.deleted or not _has_slot(job, PodState(pod))):
        return False
    return _name_of_labels(job, PodState(pod)) == _name(pod)


def _has_slot(job: Job, pod: PodState) -> bool:
    """Our finalizer is on it, and the current attempt has a place for it."""
    stage = next((one for one in job.status.stages if (one.name, one.attempt) == (pod.stage, pod.attempt)), None)
    if stage is None or not pod.held:
        return False
    slots = stage.evaluators if pod.is_evaluator else stage.workers
    return pod.is_head or any((one.index, one.incarnation) == (pod.index, pod.incarnation) for one in slots)


def _name(pod: Object) -> str:
    return str(pod["metadata"]["name"])


def _of_attempt(stages: Mapping[str, StageStatus], pod: PodState) -> RolePrice | None:
    """What the attempt that the pod belongs to pays for its role; None where it is over, or says nothing of prices."""
    stage = stages.get(pod.stage)
    return fixed(stage, pod.role) if stage is not None and stage.attempt == pod.attempt else None


def _priced(pod: PodState, mark: HighWater | None, role: RolePrice | None, spec: JobSpec | None) -> PodState:
    """What was first observed of the pod holds; before that, what its attempt fixed when it began."""
    known = mark or role
    if known is None:
        return _by_annotation(pod, _wanted(spec, pod))
    price = price_of(known)
    power = power_of(role) if role else annotated_power(pod.raw)
    return replace(pod, price=price, power=power, accelerators=known.accelerators, doubt=_doubt(pod, price))


def _by_annotation(pod: PodState, accelerators: int) -> PodState:
    """Of an attempt that an earlier operator began: it wrote prices nowhere else."""
    price = annotated_price(pod.raw)
    doubt = (
        ""
        if price
        else f"its annotation `{PRICE_ANNOTATION}` holds no price, so it is billed at none: {shown(pod.raw)}"
    )
    power = annotated_power(pod.raw)
    return replace(pod, price=price or FREE, power=power, accelerators=accelerators, doubt=doubt)


def _doubt(pod: PodState, price: Price) -> str:
    """The plan's version is not compared: a mark does not have it, and no bill depends on it."""
    told = annotated_price(pod.raw)
    if told is not None and replace(told, planResourceVersion=price.planResourceVersion) == price:
        return ""
    what = f"it is billed at {price.microUsdPerHour} microdollars an hour, as was fixed before it was made"
    return f"its annotation `{PRICE_ANNOTATION}` was edited and is ignored; {what}: {shown(pod.raw)}"


def _wanted(spec: JobSpec | None, pod: PodState) -> int:
    """Accelerators that the spec asks for in such a pod: the only ones that an operator requests."""
    if spec is None or pod.role == HEAD or pod.stage == Stage.PREFLIGHT:
        return 0
    stage = Stage(pod.stage)
    if not pod.is_evaluator:
        return cluster_of(spec, stage).workers.accelerators_per_worker
    group = evaluators_of(spec, stage)
    return group.evaluators.accelerators_per_worker if group else 0


def _name_of_labels(job: Job, pod: PodState) -> str:
    """The name that a pod with these labels has; empty for labels that no pod of ours has."""
    if pod.stage not in set(Stage) or pod.role not in ROLES:
        return ""
    try:
        attempt = Attempt(job.name, job.namespace, job.uid, Stage(pod.stage), pod.attempt)
        return attempt.pod(pod.role, pod.index, pod.incarnation)
    except ValueError:
        return ""
