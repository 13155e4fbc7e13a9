"""An LLMTrainingJob as the estimate sees it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from llmtrain.api.base import parse_quantity
from llmtrain.api.cluster import Cluster as ApiCluster
from llmtrain.api.cluster import PodResources
from llmtrain.api.job import JobSpec
from llmtrain.api.plan import PlanSpec
from llmtrain.cost.errors import InputError
from llmtrain.cost.estimate import Estimate, estimate
from llmtrain.cost.plans import Plan, Pods
from llmtrain.cost.work import (
    CheckWork,
    Cluster,
    CurationWork,
    Measured,
    RunSpec,
    StageSpec,
)
from llmtrain.pricing.measured import with_speed
from llmtrain.pricing.plans import priced
from llmtrain.pricing.work import evaluation_work, training_work

GIB = Decimal(2**30)


@dataclass(frozen=True)
class Known:
    """What is known beside the manifest: the sources' size, speeds that were measured."""

    input_bytes: float | None = None
    measured: Measured | None = None
    curation_bytes_per_core_second: float | None = None


NOTHING_KNOWN = Known()
NONE_REFUSED: Mapping[str, InputError] = {}


def estimate_job(
    name: str,
    spec: JobSpec,
    plans: Mapping[str, PlanSpec],
    today: date | None = None,
    known: Known = NOTHING_KNOWN,
) -> Estimate:
    """Estimate a manifest with these plans, by name; InputError names the field that is at fault.

    Plans that no stage is on, such as those it is compared with, are not asked for anything.
    """
    found, refused = priced(plans)
    return estimate(run_of(name, spec, found, known, refused), today)


def run_of(
    name: str,
    spec: JobSpec,
    plans: Mapping[str, Plan],
    known: Known = NOTHING_KNOWN,
    refused: Mapping[str, InputError] = NONE_REFUSED,
) -> RunSpec:
    """The job's stages with their plans. InputError for a plan that is not there, or is among the refused."""
    stages = [_preflight(spec, plans, refused), _curation(spec, plans, known, refused), _training(spec, plans, refused)]
    if spec.evaluation is not None:
        cluster = cluster_of("spec.evaluation.cluster", spec.evaluation.cluster, plans, refused)
        stages.append(StageSpec("Evaluation", cluster, evaluation_work(spec)))
    return RunSpec(name, stages, known.measured, known.curation_bytes_per_core_second)


def training_of(
    name: str, spec: JobSpec, plans: Mapping[str, Plan], refused: Mapping[str, InputError], speed: float
) -> RunSpec:
    """The training alone, which is what plans are compared by: other stages' plans do not matter.

    `speed`: tokens/s that were measured on its own plan, 0: none. Where that cannot be priced, any other stands in for it,
    and what was measured says nothing. InputError where there is none, or evaluators beside it have no price.
    """
    own = spec.training.cluster.plan_ref.name
    if own in plans or not plans:
        return with_speed(RunSpec(name, [_training(spec, plans, refused)]), speed)
    others = {plan: error for plan, error in refused.items() if plan != own}
    return RunSpec(name, [_training(spec, {own: next(iter(plans.values())), **plans}, others)])


def cluster_of(
    field: str, cluster: ApiCluster, plans: Mapping[str, Plan], refused: Mapping[str, InputError] = NONE_REFUSED
) -> Cluster:
    """A stage's pods and plan."""
    workers = cluster.workers
    return Cluster(
        plan_named(f"{field}.planRef.name", cluster.plan_ref.name, plans, refused),
        pods_of(cluster.head, 1, 0),
        pods_of(workers, workers.replicas, workers.accelerators_per_worker),
    )


def plan_named(
    field: str, name: str, plans: Mapping[str, Plan], refused: Mapping[str, InputError] = NONE_REFUSED
) -> Plan:
    """The plan that a field names. InputError where it does not exist, or, as `refused` says, cannot be priced."""
    if name in refused:
        raise refused[name]
    if name not in plans:
        known = ", ".join(sorted(plans)) or "none"
        raise InputError(field, f"ComputePlan `{name}` does not exist; there are: {known}")
    return plans[name]


def pods_of(size: PodResources, count: int, accelerators: int) -> Pods:
    """Pods of this size."""
    return Pods(count, parse_quantity(size.cpu), parse_quantity(size.memory) / GIB, accelerators)


def _preflight(spec: JobSpec, plans: Mapping[str, Plan], refused: Mapping[str, InputError]) -> StageSpec:
    own = spec.preflight.cluster.plan_ref
    field = "spec.preflight.cluster.planRef.name" if own else "spec.curation.cluster.planRef.name"
    plan = plan_named(field, (own or spec.curation.cluster.plan_ref).name, plans, refused)
    return StageSpec("Preflight", Cluster(plan, pods_of(spec.preflight.cluster.head, 1, 0)), CheckWork())


def _curation(spec: JobSpec, plans: Mapping[str, Plan], known: Known, refused: Mapping[str, InputError]) -> StageSpec:
    cluster = cluster_of("spec.curation.cluster", spec.curation.cluster, plans, refused)
    return StageSpec("Curation", cluster, CurationWork(known.input_bytes, float(spec.training.tokens)))


def _training(spec: JobSpec, plans: Mapping[str, Plan], refused: Mapping[str, InputError] = NONE_REFUSED) -> StageSpec:
    cluster = cluster_of("spec.training.cluster", spec.training.cluster, plans, refused)
    return StageSpec("Training", cluster, training_work(spec, cluster.accelerators), _evaluators(spec, plans, refused))


def _evaluators(spec: JobSpec, plans: Mapping[str, Plan], refused: Mapping[str, InputError]) -> Cluster | None:
    """Evaluators live as long as the training does."""
    during = spec.evaluation.during_training if spec.evaluation else None
    if during is None or spec.evaluation is None:
        return None
    field = "spec.evaluation.duringTraining.planRef.name" if during.plan_ref else "spec.evaluation.cluster.planRef.name"
    plan = plan_named(field, (during.plan_ref or spec.evaluation.cluster.plan_ref).name, plans, refused)
    size = during.evaluators
    return Cluster(plan, pods_of(size, 0, 0), pods_of(size, size.replicas, size.accelerators_per_worker))
