"""Which pods are the job's, and what they cost. Anybody may put our labels on a pod of his own; such a pod is neither
billed nor deleted. Anybody may edit annotations; the price is the operator's own record.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from llmtrain.api.job import JobSpec
from llmtrain.api.status import HighWater, RolePrice, Stage, StageStatus
from llmtrain_operator.blueprints import cluster_of, evaluators_of
from llmtrain_operator.border import Kind, Rejection
from llmtrain_operator.client import Object
from llmtrain_operator.names import HEAD, PRICE_ANNOTATION, read_pod_name
from llmtrain_operator.observation import Job
from llmtrain_operator.podshape import shaped
from llmtrain_operator.podstate import PodState
from llmtrain_operator.priceannotation import annotated_power, annotated_price, shown
from llmtrain_operator.pricing import FREE, Price
from llmtrain_operator.roleprices import fixed, power_of, price_of


def own_pods(job: Job, found: Iterable[Object], held: Collection[str] = ()) -> list[PodState]:
    """Pods that this operator made for this job, each with its price. `held`: uids of pods that it knows, though no bill says so."""
    marks = {mark.uid: mark for mark in job.status.ledger.high_water}
    stages = {stage.name.value: stage for stage in job.status.stages}
    known = {*marks, *job.status.ledger.settled, *held}
    pods = (taken_in(job, pod) for pod in found if is_own(job, pod, known))
    return [_priced(pod, marks.get(pod.uid), _of_attempt(stages, pod), job.spec) for pod in pods if pod is not None]


def taken_in(job: Job, raw: Object) -> PodState | None:
    """The pod less what does not fit, its labels as its name says; None for what has not the shape of a pod."""
    pod, flaws = shaped(raw)
    named = read_pod_name(_name(raw))
    if pod is None or named is None:
        return None
    labels, meant = pod["metadata"].get("labels") or {}, named.labels(job.uid)
    if meant.items() <= labels.items():
        return PodState(pod, left_out=flaws)
    edited = ", ".join(f"`{key}`" for key, value in meant.items() if labels.get(key) != value)
    told = Rejection(
        Kind.LABELS, f"its labels {edited} were edited; the pod is what its name says, and they are put back"
    )
    mended = {**pod, "metadata": {**pod["metadata"], "labels": {**labels, **meant}}}
    return PodState(mended, left_out=(*flaws, told), mislabelled=True)


def is_own(job: Job, pod: Object, known: Collection[str] = ()) -> bool:
    """Named as a pod of the job, which nobody can change, and controlled by it, or `known` by its uid from before.

    Labels and owners may be edited by whoever may edit pods: a pod that is billed stays so, whatever they say. A job that is
    deleted with `--cascade=orphan` loses its pods at once: those that were made a moment ago stand in its slots.
    """
    meta = pod.get("metadata") or {}
    named = read_pod_name(_name(pod))
    if named is None or named.job != job.name:
        return False
    owners = meta.get("ownerReferences")
    listed = [owner for owner in owners if isinstance(owner, dict)] if isinstance(owners, list) else []
    controllers = [owner.get("uid") for owner in listed if owner.get("controller")]
    if controllers == [job.uid] or meta.get("uid") in known:
        return True
    found = None if controllers or not job.deleted else taken_in(job, pod)
    return found is not None and _has_slot(job, found)


def _has_slot(job: Job, pod: PodState) -> bool:
    """Our finalizer is on it, and the current attempt has a place for it."""
    stage = next((one for one in job.status.stages if (one.name, one.attempt) == (pod.stage, pod.attempt)), None)
    if stage is None or not pod.held:
        return False
    slots = stage.evaluators if pod.is_evaluator else stage.workers
    return pod.is_head or any((one.index, one.incarnation) == (pod.index, pod.incarnation) for one in slots)


def _name(pod: Object) -> str:
    return str((pod.get("metadata") or {}).get("name"))


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
