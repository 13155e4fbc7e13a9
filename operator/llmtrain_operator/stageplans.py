"""Which plan prices a stage, as its status names it for people and metrics."""

from llmtrain.api.status import StageState, StageStatus
from llmtrain_operator.blueprints import evaluator_plan_name, plan_name
from llmtrain_operator.names import EVALUATOR, HEAD
from llmtrain_operator.observation import PLANS_UNREAD
from llmtrain_operator.roleprices import fixed
from llmtrain_operator.turn import Turn

OVER = (StageState.SUCCEEDED, StageState.FAILED)
Named = tuple[str, str]
"""Plan and tenure; empty: none."""
NONE: Named = ("", "")


def name_plans(turn: Turn) -> None:
    """Of an attempt under way the plans that it began with, of a stage that is over those that it ran on, else the manifest's."""
    for stage in turn.status.stages:
        if stage.prices:
            _set(stage, _fixed(stage, HEAD), _fixed(stage, EVALUATOR))
        elif stage.state not in OVER or not stage.attempt:
            own, beside = plan_name(turn.spec, stage.name), evaluator_plan_name(turn.spec, stage.name)
            before = (stage.plan, stage.tenure), (stage.evaluator_plan, stage.evaluator_tenure)
            _set(stage, _wanted(turn, own, before[0]), _wanted(turn, beside, before[1]))


def _set(stage: StageStatus, own: Named, beside: Named) -> None:
    (stage.plan, stage.tenure), (stage.evaluator_plan, stage.evaluator_tenure) = own, beside


def _fixed(stage: StageStatus, role: str) -> Named:
    one = fixed(stage, role)
    return (one.plan, one.tenure) if one else NONE


def _wanted(turn: Turn, name: str, before: Named) -> Named:
    """None that is not there; what was named stands while plans cannot be read."""
    plan = turn.seen.plans.get(name)
    if plan is not None:
        return plan.name, plan.spec.tenure.value
    return before if name and PLANS_UNREAD in turn.seen.unread else NONE
