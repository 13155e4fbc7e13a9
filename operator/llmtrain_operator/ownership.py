"""Which pods are the job's, and what they cost. Anybody may put our labels on a pod of his own; such a pod is neither
billed nor deleted. Anybody may edit annotations; the price is the operator's own record.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from llmtrain.api.job import JobSpec
from llmtrain.api.status import HighWater, RolePrice, Stage, StageStatus
from llmtrain_operator.blueprints import cluster_of, evaluators_of
from llmtrain_operator.border import Kind, Rejection
from llmtrain_operator.client import Object
from llmtrain_operator.names import HEAD, PRICE_ANNOTATION, PodName, read_pod_name
from llmtrain_operator.observation import Job
from llmtrain_operator.podshape import shaped
from llmtrain_operator.podstate import PodState
from llmtrain_operator.priceannotation import annotated_power, annotated_price, shown
from llmtrain_operator.pricing import FREE, Price
from llmtrain_operator.roleprices import power_of, price_of

_Role = tuple[Stage, int, str]
"""Stage, attempt, role."""


@dataclass(frozen=True)
class _Shape:
    """A pod object less what does not fit, its labels as its name says."""

    raw: Mapping[str, Any]
    name: PodName
    left_out: tuple[Rejection, ...] = ()
    mislabelled: bool = False


def own_pods(job: Job, found: Iterable[Object], held: Collection[str] = ()) -> list[PodState]:
    """Pods that this operator made for this job, each with its price. `held`: uids of pods that it knows, though no bill says so."""
    marks, roles = {mark.uid: mark for mark in job.status.ledger.high_water}, _roles(job.status.stages)
    known = {*marks, *job.status.ledger.settled, *held}
    shapes = (_shape(job, raw) for raw in found if is_own(job, raw, known))
    return [_priced(one, marks.get(one.raw["metadata"]["uid"]), roles, job.spec) for one in shapes if one is not None]


def taken_in(job: Job, raw: Object) -> PodState | None:
    """The pod less what does not fit, its labels as its name says, without its price; None for what has not the shape of a pod."""
    shape = _shape(job, raw)
    return None if shape is None else _unpriced(shape)


def _shape(job: Job, raw: Object) -> _Shape | None:
    pod, flaws = shaped(raw)
    named = read_pod_name(_name(raw))
    if pod is None or named is None:
        return None
    labels, meant = pod["metadata"].get("labels") or {}, named.labels(job.uid)
    if meant.items() <= labels.items():
        return _Shape(pod, named, flaws)
    edited = ", ".join(f"`{key}`" for key, value in meant.items() if labels.get(key) != value)
    told = Rejection(
        Kind.LABELS, f"its labels {edited} were edited; the pod is what its name says, and they are put back"
    )
    mended = {**pod, "metadata": {**pod["metadata"], "labels": {**labels, **meant}}}
    return _Shape(mended, named, (*flaws, told), True)


def _unpriced(shape: _Shape) -> PodState:
    return PodState(shape.raw, left_out=shape.left_out, mislabelled=shape.mislabelled)


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


def _roles(stages: Iterable[StageStatus]) -> Mapping[_Role, RolePrice]:
    """What the current attempts pay for their roles, as far as they say so: the first that is written counts."""
    return {(stage.name, stage.attempt, one.role): one for stage in stages for one in reversed(stage.prices)}


def _priced(shape: _Shape, mark: HighWater | None, roles: Mapping[_Role, RolePrice], spec: JobSpec | None) -> PodState:
    """What was first observed of the pod holds; before that, what its attempt fixed when it began."""
    role = roles.get((shape.name.stage, shape.name.attempt, shape.name.role))
    known = mark or role
    if known is None:
        return _by_annotation(_unpriced(shape), spec)
    price = price_of(known)
    return PodState(
        shape.raw,
        price,
        power_of(role) if role else annotated_power(shape.raw),
        known.accelerators,
        _doubt(shape.raw, price),
        shape.left_out,
        shape.mislabelled,
    )


def _by_annotation(pod: PodState, spec: JobSpec | None) -> PodState:
    """Of an attempt that an earlier operator began: it wrote prices nowhere else."""
    price = annotated_price(pod.raw)
    doubt = (
        ""
        if price
        else f"its annotation `{PRICE_ANNOTATION}` holds no price, so it is billed at none: {shown(pod.raw)}"
    )
    power = annotated_power(pod.raw)
    return replace(pod, price=price or FREE, power=power, accelerators=_wanted(spec, pod), doubt=doubt)


def _doubt(raw: Mapping[str, Any], price: Price) -> str:
    """The plan's version is not compared: a mark does not have it, and no bill depends on it."""
    told = annotated_price(raw)
    if told is not None and told.bills_as(price):
        return ""
    what = f"it is billed at {price.microUsdPerHour} microdollars an hour, as was fixed before it was made"
    return f"its annotation `{PRICE_ANNOTATION}` was edited and is ignored; {what}: {shown(raw)}"


def _wanted(spec: JobSpec | None, pod: PodState) -> int:
    """Accelerators that the spec asks for in such a pod: the only ones that an operator requests."""
    if spec is None or pod.role == HEAD or pod.stage == Stage.PREFLIGHT:
        return 0
    stage = Stage(pod.stage)
    if not pod.is_evaluator:
        return cluster_of(spec, stage).workers.accelerators_per_worker
    group = evaluators_of(spec, stage)
    return group.evaluators.accelerators_per_worker if group else 0
