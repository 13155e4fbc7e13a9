"""An attempt whose manifest or plans have changed since it began: it goes on as it was, and the next one takes the change.

It is given up, uncounted, where going on would be worth nothing: while nothing of it has started, for the change may be the
very correction that lets it start; and where it lacks a pod that can be made no more as it was.
"""

from llmtrain.api.status import Outcome, StageState, StageStatus
from llmtrain_operator.attemptinputs import changed_parts, inputs_beside, inputs_of_spec
from llmtrain_operator.blueprints import blueprint_of
from llmtrain_operator.manifests import Blueprint
from llmtrain_operator.names import EVALUATOR, HEAD
from llmtrain_operator.observation import PLANS_UNREAD
from llmtrain_operator.podtemplate import Templates
from llmtrain_operator.pricing import Plan
from llmtrain_operator.roleprices import fixed
from llmtrain_operator.turn import Turn

CHANGE_PENDING = "ChangePending"
UP_TO_DATE = "UpToDate"
"""The condition that says so. It is there only while it is False."""


def note_change(turn: Turn, stage: StageStatus) -> None:
    """What differs from the manifest and plans that the attempt began with; told once."""
    if not stage.inputs:
        return
    now = inputs_beside(turn.seen.plans, turn.spec, stage.name)
    if turn.seen.job.generation != stage.generation:
        now |= inputs_of_spec(turn.spec, stage.name)
    if PLANS_UNREAD in turn.seen.unread:
        now = {name: digest for name, digest in now.items() if digest}
    parts = changed_parts(stage.inputs, now, turn.spec, stage.name)
    refused = _refused_plan(turn, stage)
    if not parts and not refused:
        return
    what = f"{', '.join(parts)} changed since attempt {stage.attempt} of {stage.name.value} began" if parts else refused
    turn.pending = (CHANGE_PENDING, f"{what}; it goes on as it is, the next attempt takes the change")
    known = any(one.type == UP_TO_DATE for one in turn.seen.job.status.conditions)
    if not known:
        turn.tell(CHANGE_PENDING, turn.pending[1])


def superseded(turn: Turn, stage: StageStatus, enough: bool) -> Outcome | None:
    """How the attempt ends for the manifest's sake, if it does; what cannot be read is no reason.

    `enough`: an elastic training runs, and goes on with the workers that it has.
    """
    if turn.seen.unread:
        return None
    if turn.pending and not any(pod.started for pod in turn.crew_of(stage)):
        return _again(CHANGE_PENDING, f"nothing of it had started; {turn.pending[1].partition(';')[0]}")
    why = unmakeable(turn, stage, turn.lacks_crew(stage))
    return _again(*why) if why and not enough else None


def unmakeable(turn: Turn, stage: StageStatus, lacks: bool, role: str = HEAD) -> tuple[str, str] | None:
    """Why a pod that the attempt lacks can not be made as the attempt began; None also while nobody has looked yet."""
    if not lacks:
        return None
    refused = _not_allowed(turn, stage, role)
    if refused:
        return "PlanNotAllowed", refused
    if templates_of(turn, stage) is not None:
        return None
    if turn.head_of(stage) is None:
        return CHANGE_PENDING, "the manifest changed before its pods were made"
    if turn.seen.templates is None:
        turn.wants_templates = True
        return None
    config = "the ConfigMap that it began with is gone or was replaced"
    return "TemplateLost", f"{config}, so a pod that it lacks cannot be made as the others were"


def templates_of(turn: Turn, stage: StageStatus) -> Templates | None:
    """What the attempt's pods are made from; None where nobody knows it, or nobody has looked.

    An attempt that an earlier operator began has no digest; its pods follow the present manifest, as they did then.
    """
    blueprint = present(turn, stage)
    if blueprint is not None and stage.template in ("", blueprint.templates.digest):
        return blueprint.templates
    kept = turn.seen.templates
    return kept if kept is not None and kept.digest == stage.template else None


def present(turn: Turn, stage: StageStatus) -> Blueprint | None:
    """The attempt as it would begin now, but for its image and prices; None where its plan does not exist."""
    if stage.name not in turn.blueprints:
        turn.blueprints[stage.name] = blueprint_of(turn.seen, turn.spec, stage)
    return turn.blueprints[stage.name]


def not_allowed(turn: Turn, plan: Plan) -> str:
    """Why the plan is not for the job's namespace; empty where it is."""
    allowed = plan.spec.allowed_namespaces
    if not allowed or allowed.matches(turn.seen.namespace_labels):
        return ""
    wanted = ", ".join(f"{key}={value}" for key, value in sorted(allowed.match_labels.items()))
    return f"ComputePlan `{plan.name}` is for namespaces with labels {wanted}"


def _not_allowed(turn: Turn, stage: StageStatus, role: str) -> str:
    """A plan that was taken away from the namespace gets no further pod, also not of an attempt that began before."""
    one = fixed(stage, role) if PLANS_UNREAD not in turn.seen.unread else None
    plan = turn.seen.plans.get(one.plan) if one else None
    return not_allowed(turn, plan) if plan else ""


def _refused_plan(turn: Turn, stage: StageStatus) -> str:
    return next(filter(None, (_not_allowed(turn, stage, role) for role in (HEAD, EVALUATOR))), "")


def _again(reason: str, message: str) -> Outcome:
    return Outcome(state=StageState.PENDING, reason=reason, message=message[:1024], retry=True)
