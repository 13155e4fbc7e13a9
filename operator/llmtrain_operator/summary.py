"""The status for people: conditions, the current stage and state, why it is not running, time left."""

from llmtrain.api.job import Condition
from llmtrain.api.status import JobStatus, StageState, StageStatus, Waiting
from llmtrain_operator.billing import format_time
from llmtrain_operator.budget import standing
from llmtrain_operator.clockskew import CLOCK_SKEWED, NODE_CLOCK_OFF
from llmtrain_operator.observation import Observation
from llmtrain_operator.starting import PLAN_NOT_FOUND, plan_refusal
from llmtrain_operator.supersede import UP_TO_DATE
from llmtrain_operator.telling import BLOCKED, blocked, budgets_unread, refused_wait
from llmtrain_operator.turn import Turn
from llmtrain_operator.waiting import RUNS_ALL_THE_SAME, waiting

ORDER = ("Accepted", "Progressing", "Suspended", "BudgetAvailable", "Succeeded", UP_TO_DATE, BLOCKED, CLOCK_SKEWED)

PLAN_REFUSALS = (PLAN_NOT_FOUND, "PlanNotAllowed", "PlanUnpriced", "InvalidUrl")


def summarize(turn: Turn) -> None:
    """Fill in everything that follows from the rest of the status."""
    status, stage = turn.status, turn.stage
    status.observed_generation = turn.seen.job.generation
    shown = stage or status.stages[-1]
    status.stage, status.state = shown.name.value, _state(turn, stage)
    found = waiting(turn, stage)
    status.waiting = refused_wait(turn.seen, found)
    status.eta_seconds = _eta(stage)
    affordable, budget = standing(turn, stage)
    suspended = stage is not None and stage.state is StageState.SUSPENDED
    values = {
        "Accepted": _accepted(turn, stage),
        "Progressing": _progressing(turn, stage, found),
        "Suspended": (_truth(suspended), _word(suspended, "Suspended"), stage.message if stage else ""),
        "BudgetAvailable": budgets_unread(turn.seen) or (_truth(affordable), _budget_word(affordable), budget),
        "Succeeded": _succeeded(stage),
    }
    if turn.skewed:
        values[CLOCK_SKEWED] = ("True", NODE_CLOCK_OFF, turn.skewed)
    if turn.pending:
        values[UP_TO_DATE] = ("False", *turn.pending)
    elif any(condition.type == UP_TO_DATE for condition in status.conditions):
        status.conditions = [condition for condition in status.conditions if condition.type != UP_TO_DATE]
    _set_conditions(status, values, turn.stamp)
    tell_refusals(status, turn.seen)


def tell_refusals(status: JobStatus, seen: Observation) -> None:
    """The condition of what the apiserver refuses, which is there only while it does."""
    told = blocked(seen)
    if told:
        _set_conditions(status, {BLOCKED: told}, format_time(seen.now))
    elif any(condition.type == BLOCKED for condition in status.conditions):
        status.conditions = [condition for condition in status.conditions if condition.type != BLOCKED]


def summarize_invalid(status: JobStatus, seen: Observation) -> None:
    """Conditions of a job whose spec, or whose stored status, does not parse."""
    status.observed_generation, status.state = seen.job.generation, "Invalid"
    reason, over = ("StatusUnreadable", "Unknown") if seen.job.unreadable else ("Invalid", "False")
    values = {"Accepted": ("False", reason, seen.job.invalid), "Succeeded": (over, reason, seen.job.invalid)}
    status.waiting = refused_wait(seen, None)
    _set_conditions(status, values, format_time(seen.now))
    tell_refusals(status, seen)


def _accepted(turn: Turn, stage: StageStatus | None) -> tuple[str, str, str]:
    """False where a plan cannot be used; of a stage that runs, where the plan is there no more."""
    refused = turn.blocked
    if refused is None and stage is not None and stage.state is StageState.RUNNING:
        refused = plan_refusal(turn, stage)
        refused = refused if refused and refused[0] == PLAN_NOT_FOUND else None
    return ("False", *refused) if refused and refused[0] in PLAN_REFUSALS else ("True", "Valid", "")


def _state(turn: Turn, stage: StageStatus | None) -> str:
    if turn.seen.job.deleted:
        return "Deleting"
    return "Succeeded" if stage is None else stage.state.value


def _truth(value: bool) -> str:
    return "True" if value else "False"


def _word(value: bool, word: str) -> str:
    return word if value else f"Not{word}"


def _budget_word(available: bool) -> str:
    return "WithinBudget" if available else "BudgetExceeded"


def _progressing(turn: Turn, stage: StageStatus | None, found: Waiting | None) -> tuple[str, str, str]:
    """`found`: why it waits, but for acts that are refused; a stage that runs goes on without those that no pod waits for."""
    if stage is None:
        return "False", "Finished", "every stage is done"
    if stage.state in (StageState.FAILED, StageState.SUSPENDED):
        return "False", _reason(stage), stage.message
    waits = found if stage.state is StageState.RUNNING and not turn.seen.job.deleted else turn.status.waiting
    if waits and waits.reason not in RUNS_ALL_THE_SAME:
        return "False", waits.reason, waits.message
    if turn.blocked and waits is None:
        return "False", *turn.blocked
    return "True", f"{stage.name.value}{stage.state.value}", stage.outcome.message if stage.outcome else stage.message


def _succeeded(stage: StageStatus | None) -> tuple[str, str, str]:
    if stage is None:
        return "True", "Completed", "every stage is done"
    if stage.state is StageState.FAILED:
        return "False", _reason(stage), f"{stage.name.value}: {stage.message}"
    return "Unknown", f"{stage.name.value}{stage.state.value}", stage.message


def _reason(stage: StageStatus) -> str:
    reason = stage.message.split(":", 1)[0]
    return reason if reason.isalnum() and reason[:1].isalpha() else stage.state.value


def _eta(stage: StageStatus | None) -> int | None:
    """Seconds left of training at its present speed."""
    progress = stage.progress if stage and stage.state is StageState.RUNNING else None
    if progress is None or not progress.tokens_per_second or float(progress.tokens_per_second) <= 0:
        return None
    return max(0, int((progress.total - progress.done) / float(progress.tokens_per_second)))


def _set_conditions(status: JobStatus, values: dict[str, tuple[str, str, str]], stamp: str) -> None:
    """lastTransitionTime moves with the status alone, as metav1.Condition asks."""
    before = {condition.type: condition for condition in status.conditions}
    for kind, (value, reason, message) in values.items():
        old = before.get(kind)
        said = (value, reason, message[:4096], status.observed_generation)
        if old and (old.status, old.reason, old.message, old.observed_generation) == said:
            continue
        since = old.last_transition_time if old and old.status == value else stamp
        before[kind] = Condition(
            type=kind,
            status=value,
            reason=reason,
            message=message[:4096],
            last_transition_time=since,
            observed_generation=status.observed_generation,
        )
    status.conditions = [before[kind] for kind in ORDER if kind in before]
