"""From a job to the blueprint of its next attempt: which cluster, which plan, which config."""

from collections.abc import Mapping

from llmtrain.api.cluster import Cluster
from llmtrain.api.duringtraining import DuringTraining
from llmtrain.api.elastic import sizes_of
from llmtrain.api.job import JobSpec
from llmtrain.api.stageconfig import StageConfig
from llmtrain.api.status import RolePrice, Stage, StageStatus
from llmtrain.api.training import Device
from llmtrain.cost.errors import InputError
from llmtrain.pricing.plans import chip_of
from llmtrain_operator.idle_release import GIVING_BACK_SECONDS
from llmtrain_operator.manifests import Blueprint, EvaluatorGroup
from llmtrain_operator.names import EVALUATOR, HEAD, WORKER, Attempt
from llmtrain_operator.observation import Job, Observation
from llmtrain_operator.pricing import Plan, pod_price
from llmtrain_operator.roleprices import role_price


def stages_of(spec: JobSpec) -> list[Stage]:
    """The stages that this job has, in their order."""
    stages = [Stage.PREFLIGHT, Stage.CURATION, Stage.TRAINING]
    return [*stages, Stage.EVALUATION] if spec.evaluation else stages


def cluster_of(spec: JobSpec, stage: Stage) -> Cluster:
    """The cluster that the spec gives a stage. Preflight's has a head alone; its `workers` are not used."""
    if stage is Stage.PREFLIGHT:
        own = spec.preflight.cluster
        return Cluster(plan_ref=own.plan_ref or spec.curation.cluster.plan_ref, head=own.head)
    if stage is Stage.EVALUATION and spec.evaluation:
        return spec.evaluation.cluster
    return spec.curation.cluster if stage is Stage.CURATION else spec.training.cluster


def worker_count(spec: JobSpec, stage: Stage) -> int:
    """Worker pods of a stage's cluster; of an elastic one those of `replicas` that can train together."""
    if stage is Stage.PREFLIGHT:
        return 0
    replicas = cluster_of(spec, stage).workers.replicas
    return (sizes_of(spec).fitting(replicas) or replicas) if is_elastic(spec, stage) else replicas


def is_elastic(spec: JobSpec, stage: Stage) -> bool:
    """Whether the stage goes on with fewer workers than are wanted."""
    return stage is Stage.TRAINING and spec.training.cluster.workers.min_replicas > 0


def least_workers(spec: JobSpec, stage: Stage) -> int:
    """Workers without which the stage does not run."""
    least = spec.training.cluster.workers.least
    return min(least, worker_count(spec, stage)) if is_elastic(spec, stage) else worker_count(spec, stage)


def evaluators_of(spec: JobSpec, stage: Stage) -> DuringTraining | None:
    """The evaluator group beside a stage: training has one where step 5 asks for it."""
    return spec.evaluation.during_training if stage is Stage.TRAINING and spec.evaluation else None


def evaluator_plan_name(spec: JobSpec, stage: Stage) -> str:
    """The ComputePlan that prices a stage's evaluators; empty where it has none."""
    group = evaluators_of(spec, stage)
    if group is None or spec.evaluation is None:
        return ""
    return (group.plan_ref or spec.evaluation.cluster.plan_ref).name


def evaluator_count(spec: JobSpec, stage: Stage) -> int:
    """Evaluator pods beside a stage."""
    group = evaluators_of(spec, stage)
    return group.evaluators.replicas if group else 0


def evaluator_group(plans: Mapping[str, Plan], spec: JobSpec, stage: Stage) -> EvaluatorGroup | None:
    """Size and plan of a stage's evaluators; None where it has none or their plan does not exist."""
    group, plan = evaluators_of(spec, stage), plans.get(evaluator_plan_name(spec, stage))
    return EvaluatorGroup(group.evaluators, plan) if group and plan else None


def plan_name(spec: JobSpec, stage: Stage) -> str:
    """The ComputePlan that prices a stage."""
    return cluster_of(spec, stage).plan_ref.name


def attempt_of(job: Job, stage: StageStatus) -> Attempt:
    """Names of the stage's current attempt."""
    return Attempt(job.name, job.namespace, job.uid, stage.name, stage.attempt, stage.nonce)


def peak_tflops(spec: JobSpec, plan: Plan) -> str | None:
    """Peak of the plan's accelerator, TFLOP/s; None where CPUs do the work or no table knows the accelerator."""
    if spec.training.device is Device.CPU or plan.spec.accelerator is None:
        return None
    try:
        return f"{chip_of(plan.spec.accelerator).peak_tflops:g}"
    except InputError:
        return None


def product_of(plan: Plan | None) -> str | None:
    """The accelerator that a plan is for; None for CPUs, and where the plan does not exist."""
    return plan.spec.accelerator.product if plan and plan.spec.accelerator else None


def role_prices(plans: Mapping[str, Plan], spec: JobSpec, stage: StageStatus) -> list[RolePrice]:
    """Prices of an attempt that begins now: the head's, then the workers' and the evaluators' where it has any.

    Empty where the stage's plan does not exist.
    """
    plan, cluster = plans.get(plan_name(spec, stage.name)), cluster_of(spec, stage.name)
    if plan is None:
        return []
    found = [role_price(HEAD, plan, cluster.head, 0)]
    if worker_count(spec, stage.name):
        found.append(role_price(WORKER, plan, cluster.workers, cluster.workers.accelerators_per_worker))
    group = evaluator_group(plans, spec, stage.name)
    if group is not None:
        found.append(role_price(EVALUATOR, group.plan, group.size, group.size.accelerators_per_worker))
    return found


def _prices(spec: JobSpec, stage: Stage, plan: Plan, group: EvaluatorGroup | None) -> dict[str, int]:
    """What the attempt's pods cost an hour, for the dollars beside a checkpoint's scores."""
    if group is None:
        return {}
    cluster, one = cluster_of(spec, stage), group.price.microUsdPerHour
    workers = cluster.workers
    head = pod_price(plan, cluster.head.cpu, cluster.head.memory, 0).microUsdPerHour
    worker = pod_price(plan, workers.cpu, workers.memory, workers.accelerators_per_worker).microUsdPerHour
    whole = head + worker * worker_count(spec, stage) + one * group.size.replicas
    return {"micro_usd_per_hour": whole, "evaluator_micro_usd_per_hour": one}


def blueprint_of(observation: Observation, spec: JobSpec, stage: StageStatus) -> Blueprint | None:
    """Blueprint of the stage's current attempt; None where its plan does not exist."""
    plan = observation.plans.get(plan_name(spec, stage.name))
    if plan is None:
        return None
    attempt = attempt_of(observation.job, stage)
    group = evaluator_group(observation.plans, spec, stage.name)
    config = StageConfig(
        job=attempt.job,
        namespace=attempt.namespace,
        job_uid=attempt.uid,
        stage=stage.name,
        attempt=stage.attempt,
        workers=worker_count(spec, stage.name),
        head_address=attempt.head_address,
        spec=spec,
        artifacts={s.name: s.artifact for s in observation.job.status.stages if s.artifact},
        peak_tflops=peak_tflops(spec, plan),
        training_accelerator=product_of(observation.plans.get(plan_name(spec, Stage.TRAINING))),
        wait_for_workers_seconds=2 * spec.start_deadline_seconds + GIVING_BACK_SECONDS,
        spent_usd=observation.job.status.ledger.cost_usd,
        **_prices(spec, stage.name, plan, group),
    )
    # An attempt keeps its image: a worker of another version could not join its head.
    image = stage.image or spec.image or observation.image
    return Blueprint(
        attempt,
        spec,
        cluster_of(spec, stage.name),
        plan,
        image,
        config,
        network=observation.network,
        evaluators=group,
        prices={one.role: one for one in stage.prices},
    )
