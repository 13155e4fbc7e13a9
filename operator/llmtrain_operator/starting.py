"""A stage that waits for its turn: when its next attempt may start, and what is created then."""

from collections.abc import Sequence

from llmtrain.api.cluster import PodResources
from llmtrain.api.status import Phases, StageState, StageStatus, WorkerState
from llmtrain_operator.attemptinputs import inputs_of
from llmtrain_operator.billing import parse_time
from llmtrain_operator.blueprints import (
    attempt_of,
    cluster_of,
    evaluator_count,
    evaluator_plan_name,
    evaluators_of,
    plan_name,
    role_prices,
    worker_count,
)
from llmtrain_operator.bounds import lifetimes
from llmtrain_operator.budget import lacking_evaluators, missing_pods
from llmtrain_operator.history import excluded_nodes, was_given_back
from llmtrain_operator.idle_release import GIVEN_BACK
from llmtrain_operator.names import EVALUATOR, HEAD, WORKER
from llmtrain_operator.network import url_refusal
from llmtrain_operator.observation import PLANS_UNREAD, CreateEvaluator, CreateHead, CreateObjects, CreateWorker
from llmtrain_operator.podtemplate import Lifetimes, PodSource
from llmtrain_operator.pricing import too_dear, unpriced
from llmtrain_operator.reservation import reserve_for_start
from llmtrain_operator.supersede import not_allowed, present, templates_of, unmakeable
from llmtrain_operator.turn import TEARING_DOWN, Turn

PLAN_NOT_FOUND = "PlanNotFound"


def start(turn: Turn, stage: StageStatus) -> None:
    """Begin an attempt if nothing speaks against it. The number is in the status before anything is created."""
    turn.blocked = blocker(turn, stage)
    if turn.blocked:
        return
    stage.attempt += 1
    stage.state = StageState.RUNNING
    stage.start_time = stage.start_time or turn.stamp
    stage.attempt_time, stage.not_before, stage.outcome, stage.message = turn.stamp, None, None, ""
    stage.progress_time, stage.worker_failures, stage.nonce = None, 0, turn.seen.nonce
    stage.image = turn.spec.image or turn.seen.image
    stage.prices = role_prices(turn.seen.plans, turn.spec, stage)
    stage.inputs = inputs_of(turn.seen.plans, turn.spec, stage.name)
    stage.generation = turn.seen.job.generation
    stage.budget_stop_micro_usd = 0
    stage.billed_before_micro_usd = turn.status.ledger.total_micro_usd
    stage.phases = Phases()
    stage.workers = [WorkerState(index=i) for i in range(worker_count(turn.spec, stage.name))]
    stage.parked, stage.idle_since, stage.grow_after, stage.grow_tries = [], None, None, 0
    stage.idle_micro_usd = stage.idle_micro_usd if stage.idle_tries else 0
    stage.evaluators = [WorkerState(index=i) for i in range(evaluator_count(turn.spec, stage.name))]
    blueprint = present(turn, stage)
    stage.template = blueprint.templates.digest if blueprint else ""
    turn.tell("StageStarted", f"{stage.name.value}: cluster {turn.cluster_name(stage)}")
    create_missing(turn, stage)


def blocker(turn: Turn, stage: StageStatus) -> tuple[str, str] | None:
    """Why the stage may not start now: reason and message."""
    refused = unread(turn) or url_refusal(turn.spec) or plan_refusal(turn, stage)
    if refused:
        return refused
    if stage.not_before and turn.now < (parse_time(stage.not_before) or turn.now):
        reason = GIVEN_BACK if was_given_back(turn.status, stage) else "Backoff"
        return reason, f"attempt {stage.attempt + 1} starts at {stage.not_before}; {stage.message}"[:1024]
    return reserve_for_start(turn, stage)


def unread(turn: Turn) -> tuple[str, str] | None:
    """Why nothing new may be created: what it costs, or may cost, cannot be read."""
    return next(iter(turn.seen.unread.items()), None)


def plan_refusal(turn: Turn, stage: StageStatus) -> tuple[str, str] | None:
    """Why a plan of the stage cannot be used: it is not there, not for this namespace, or names no price."""
    cluster = cluster_of(turn.spec, stage.name)
    sizes: list[tuple[PodResources, int]] = [(cluster.head, 0)]
    sizes += [(cluster.workers, cluster.workers.accelerators_per_worker)] if worker_count(turn.spec, stage.name) else []
    refused = _refusal(turn, plan_name(turn.spec, stage.name), stage.name.value, sizes)
    group = evaluators_of(turn.spec, stage.name)
    if refused or group is None:
        return refused
    name, size = evaluator_plan_name(turn.spec, stage.name), group.evaluators
    return _refusal(turn, name, "`evaluation.duringTraining`", [(size, size.accelerators_per_worker)])


def _refusal(turn: Turn, name: str, whose: str, sizes: Sequence[tuple[PodResources, int]]) -> tuple[str, str] | None:
    """`sizes`: pods that it is asked for, each with its accelerators."""
    plan = turn.seen.plans.get(name)
    if plan is None and PLANS_UNREAD in turn.seen.unread:
        return None
    if plan is None:
        what = f"ComputePlan `{name}` of {whose} does not exist"
        return PLAN_NOT_FOUND, f"{what}; create it or change `planRef`"
    if refused := not_allowed(turn, plan):
        return "PlanNotAllowed", refused
    missing = unpriced(plan, max(accelerators for _, accelerators in sizes))
    missing = missing or next(filter(None, (too_dear(plan, *one) for one in sizes)), "")
    return ("PlanUnpriced", missing) if missing else None


def create_missing(turn: Turn, stage: StageStatus) -> None:
    """Create what the current attempt lacks; after a crash this completes a half-made cluster."""
    if not any(missing_pods(turn, stage)) and not lacking_evaluators(turn, stage):
        return
    if turn.seen.unread:
        # Whoever lacks an evaluator alone trains on.
        turn.blocked = unread(turn) if turn.lacks_crew(stage) else None
        return
    if turn.stale_pods(stage):
        turn.blocked = TEARING_DOWN
        return
    templates = templates_of(turn, stage)
    if templates is None:
        return
    longest = turn.spec.max_pod_lifetime_seconds
    ends = lifetimes(turn, stage) or Lifetimes(longest, longest)
    source = PodSource(attempt_of(turn.seen.job, stage), templates, ends, tuple(excluded_nodes(stage)))
    there = {(pod.role, pod.index, pod.incarnation) for pod in turn.pods_of(stage)}
    if not any(role == HEAD for role, _, _ in there):
        blueprint = present(turn, stage)
        turn.actions += [CreateObjects(blueprint), CreateHead(source)] if blueprint else []
    if unmakeable(turn, stage, True) is None:
        missing = [w for w in stage.workers if (WORKER, w.index, w.incarnation) not in there]
        turn.actions += [CreateWorker(source, w.index, w.incarnation) for w in missing]
    if unmakeable(turn, stage, True, EVALUATOR) is None and EVALUATOR in templates.pods:
        beside = [e for e in stage.evaluators if (EVALUATOR, e.index, e.incarnation) not in there]
        turn.actions += [CreateEvaluator(source, e.index, e.incarnation) for e in beside]
