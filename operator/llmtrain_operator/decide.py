"""The decision of one turn: a pure function of what was seen. No clock, no network, no sleep."""

from dataclasses import replace

from llmtrain.api.job import JobSpec
from llmtrain.api.status import JobStatus, Outcome, StageState
from llmtrain_operator.blueprints import attempt_of
from llmtrain_operator.budget import warn
from llmtrain_operator.clockskew import tell_skew
from llmtrain_operator.comparison import update_comparison
from llmtrain_operator.counted import counted
from llmtrain_operator.ending import awaited, unbooked
from llmtrain_operator.estimates import update_estimate
from llmtrain_operator.forecasts import update_forecast
from llmtrain_operator.freshness import CREATING, guarded
from llmtrain_operator.metering import accelerators_alive, burn_micro_per_hour, goodput, working
from llmtrain_operator.names import FINALIZER_JOB
from llmtrain_operator.nodes import abandoned
from llmtrain_operator.observation import (
    Action,
    Decision,
    DeleteObjects,
    DeletePod,
    HoldJob,
    Observation,
    ReleasePod,
)
from llmtrain_operator.owed import with_cost_now
from llmtrain_operator.phases import observe_phases
from llmtrain_operator.placement import observe_placement
from llmtrain_operator.reservation import carry_over, free_unused
from llmtrain_operator.running import run
from llmtrain_operator.settlement import doubted, settle, vanished
from llmtrain_operator.stageplans import name_plans
from llmtrain_operator.starting import start
from llmtrain_operator.stopping import begin_stop, prune_stages, stop
from llmtrain_operator.summary import summarize, summarize_invalid, tell_refusals
from llmtrain_operator.telling import refused_wait
from llmtrain_operator.ttl import expire, release_job
from llmtrain_operator.turn import TEARING_DOWN, Turn


def decide(seen: Observation) -> Decision:
    """What the status becomes and what is done; nothing costly on old reads."""
    return guarded(seen, _decide(seen))


def _decide(seen: Observation) -> Decision:
    if FINALIZER_JOB in seen.job.finalizers or seen.job.deleted:
        return _decide_held(seen)
    if seen.pods:
        # Somebody has taken it off: what is paid for is billed and can be ended, whether or not it can be put back.
        decision = _decide_held(seen)
        return replace(
            decision, actions=[HoldJob(), *(act for act in decision.actions if not isinstance(act, CREATING))]
        )
    status = seen.job.status.duplicate()
    tell_refusals(status, seen)
    status.waiting = refused_wait(seen, None) or status.waiting
    return Decision(status, [HoldJob()])


def _decide_held(seen: Observation) -> Decision:
    if seen.job.spec is None:
        return _decide_invalid(seen)
    turn = _billed(seen, seen.job.spec)
    turn.status.ledger.counted = counted(turn.status.ledger, seen.pods, turn.stage)
    turn.status.ledger = with_cost_now(turn.status.ledger, seen.job.status.ledger, seen.pods, seen.nodes, seen.now)
    _move(turn)
    update_estimate(turn)
    update_forecast(turn)
    update_comparison(turn)
    return Decision(turn.status, turn.actions, turn.events, awaited(turn), turn.wants_templates)


def foresee(seen: Observation) -> Decision:
    """The same of a job for which nothing is to be done now, without counters and forecasts: nothing follows from them."""
    if seen.job.spec is None:
        return _decide_invalid(seen)
    turn = _billed(seen, seen.job.spec)
    _move(turn)
    return Decision(turn.status, turn.actions, turn.events)


def _move(turn: Turn) -> None:
    """The job one step further, and what people are told of it."""
    seen = turn.seen
    prune_stages(turn)
    if seen.job.deleted:
        _remove(turn)
    else:
        _advance(turn)
        expire(turn)
        free_unused(turn)
    carry_over(turn)
    turn.actions += _released(seen, turn.status)
    turn.status.accelerators = accelerators_alive(seen.pods)
    turn.status.ledger.goodput = goodput(turn.status)
    turn.status.ledger.burn_micro_usd_per_hour = burn_micro_per_hour(seen.pods)
    for stage in turn.status.stages:
        stage.working_pod_seconds = working(turn.status, stage.name)
    name_plans(turn)
    warn(turn)
    summarize(turn)


def _decide_invalid(seen: Observation) -> Decision:
    """A spec that does not parse (an older CRD let it in): nothing is created, everything there is taken down."""
    status = seen.job.status.duplicate()
    status.ledger = settle(status.ledger, seen.pods, seen.nodes, seen.certain, history=status.history)
    status.ledger.counted = counted(status.ledger, seen.pods, None)
    status.ledger = with_cost_now(status.ledger, seen.job.status.ledger, seen.pods, seen.nodes, seen.now)
    summarize_invalid(status, seen)
    decision = Decision(status)
    decision.actions += [act for pod in seen.pods for act in DeletePod.once(pod)]
    decision.actions += _released(seen, status)
    if seen.job.deleted and not seen.pods:
        decision.actions.append(release_job(seen))
    return decision


def _billed(seen: Observation, spec: JobSpec) -> Turn:
    """A turn that begins with the bill."""
    turn = Turn(seen, spec, seen.job.status.duplicate())
    for mark in vanished(turn.status.ledger, seen.pods):
        turn.tell("PodVanished", f"pod {mark.uid} vanished unsettled; billed as last observed", warning=True)
    for pod in doubted(turn.status.ledger, seen.pods):
        turn.tell("PriceAnnotationIgnored", f"pod {pod.name}: {pod.doubt}", warning=True)
    observe_phases(turn)
    tell_skew(turn)
    observe_placement(turn)
    ledger, history = turn.status.ledger, turn.status.history
    turn.status.ledger = settle(ledger, seen.pods, seen.nodes, seen.certain, turn.stage, unbooked(turn), history)
    return turn


def _advance(turn: Turn) -> None:
    """Move the current stage one step; pods of any other attempt go first."""
    stage = turn.stage
    if stage is None or stage.state is StageState.FAILED:
        for pod in turn.seen.pods:
            turn.delete(pod)
        return
    stale = turn.stale_pods(stage)
    for pod in stale:
        turn.delete(pod)
    if stage.state is StageState.STOPPING:
        stop(turn, stage)
    elif stage.state is StageState.RUNNING:
        run(turn, stage)
    elif turn.spec.suspend:
        stage.state = StageState.SUSPENDED
    elif stale or turn.seen.pods:
        turn.blocked = TEARING_DOWN
    else:
        start(turn, stage)


def _remove(turn: Turn) -> None:
    """Deletion: the two-phase stop, then the job's total goes to the namespace ledger."""
    stage = turn.stage
    if not turn.seen.pods:
        turn.actions += [DeleteObjects(attempt_of(turn.seen.job, stage))] if stage is not None else []
        turn.actions.append(release_job(turn.seen))
    elif stage is not None and stage.state is StageState.RUNNING and turn.spec.on_delete.value == "SaveCheckpoint":
        begin_stop(turn, stage, Outcome(state=StageState.SUSPENDED, reason="Deleted", message="the job was deleted"))
    elif stage is not None and stage.state is StageState.STOPPING:
        stop(turn, stage)
    else:
        for pod in turn.seen.pods:
            turn.delete(pod, grace_seconds=1)
    if stage is not None:
        for pod in turn.stale_pods(stage):
            turn.delete(pod)


def _released(seen: Observation, status: JobStatus) -> list[Action]:
    """The finalizer goes only once the bill is in the status: what this turn settles is released after its write."""
    uids = set(status.ledger.settled)
    settled = [pod for pod in seen.pods if pod.uid in uids]
    # No kubelet will confirm the end of these; their objects would block the next attempt, and the job's own end, for ever.
    gone = [pod for pod in settled if abandoned(pod, seen.nodes, seen.now)]
    return [*(ReleasePod(pod) for pod in settled if pod.held), *(DeletePod(pod, 0) for pod in gone)]
