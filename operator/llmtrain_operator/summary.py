"""The status for people: conditions, the current stage and state, why it is not running, time left."""

from llmtrain.api.job import Condition
from llmtrain.api.status import JobStatus, StageState, StageStatus
from llmtrain_operator.billing import format_time
from llmtrain_operator.budget import standing
from llmtrain_operator.observation import Observation
from llmtrain_operator.turn import Turn
from llmtrain_operator.waiting import RUNS_ALL_THE_SAME, waiting

ORDER = ("Accepted", "Progressing", "Suspended", "BudgetAvailable", "Succeeded")

PLAN_REFUSALS = ("PlanNotFound", "PlanNotAllowed", "PlanUnpriced")


def summarize(turn: Turn) -> None:
    """Fill in everything that follows from the rest of the status."""
    status, stage = turn.status, turn.stage
    status.observed_generation = turn.seen.job.generation
    shown = stage or status.stages[-1]
    status.stage, status.state = shown.name.value, _state(turn, stage)
    status.waiting = waiting(turn, stage)
    status.eta_seconds = _eta(stage)
    refused = turn.blocked is not None and turn.blocked[0] in PLAN_REFUSALS
    accepted = ("False", *turn.blocked) if refused and turn.blocked else ("True", "Valid", "")
    affordable, budget = standing(turn, stage)
    suspended = stage is not None and stage.state is StageState.SUSPENDED
    values = {
        "Accepted": accepted,
        "Progressing": _progressing(turn, stage),
        "Suspended": (_truth(suspended), _word(suspended, "Suspended"), stage.message if stage else ""),
        "BudgetAvailable": (_truth(affordable), _budget_word(affordable), budget),
        "Succeeded": _succeeded(stage),
    }
    _set_conditions(status, values, turn.stamp)


def summarize_invalid(status: JobStatus, seen: Observation) -> None:
    """Conditions of a job whose spec does not parse."""
    status.observed_generation, status.state = seen.job.generation, "Invalid"
    values = {"Accepted": ("False", "Invalid", seen.job.invalid), "Succeeded": ("False", "Invalid", seen.job.invalid)}
    _set_conditions(status, values, format_time(seen.now))


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


def _progressing(turn: Turn, stage: StageStatus | None) -> tuple[str, str, str]:
    if stage is None:
        return "False", "Finished", "every stage is done"
    if stage.state in (StageState.FAILED, StageState.SUSPENDED):
        return "False", _reason(stage), stage.message
    if turn.blocked:
        return "False", *turn.blocked
    if turn.status.waiting and turn.status.waiting.reason not in RUNS_ALL_THE_SAME:
        return "False", turn.status.waiting.reason, turn.status.waiting.message
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
