"""What people are told of acts that are refused and of what cannot be read: a condition, and why a job waits."""

from llmtrain.api.status import Waiting
from llmtrain_operator.billing import format_time
from llmtrain_operator.observation import BUDGETS_UNREAD, CREATES, Observation, Refusal
from llmtrain_operator.waiting import GIVE_WAY

BLOCKED = "ReconcileBlocked"
"""Condition of a job for which the apiserver refuses something; there is none where it refuses nothing."""
NAMED = 3
LONGEST = 500
"""Characters of the apiserver's words; all that is told of a job has a bound."""

Told = tuple[str, str, str]
"""Status, reason and message of a condition."""


def blocked(seen: Observation) -> Told | None:
    """The condition; None where nothing is refused."""
    if not seen.refusals:
        return None
    return "True", f"{seen.refusals[0].act}Refused", "; ".join(map(_told, seen.refusals[:NAMED]))


def budgets_unread(seen: Observation) -> Told | None:
    """What is known of the budget while TrainingBudgets cannot be read; None where they can."""
    why = seen.unread.get(BUDGETS_UNREAD)
    return ("Unknown", BUDGETS_UNREAD, why) if why else None


def refused_wait(seen: Observation, found: Waiting | None) -> Waiting | None:
    """Why the job waits: what is refused goes before what passes by itself. Refused creates are told with their pods."""
    refusal = next((one for one in seen.refusals if one.act not in CREATES), None)
    if refusal is None or (found is not None and found.reason not in GIVE_WAY):
        return found
    return Waiting(reason=f"{refusal.act}Refused", message=_told(refusal)[:1024], since=format_time(refusal.since))


def _told(refusal: Refusal) -> str:
    code = f"{refusal.code} {refusal.reason}" if refusal.code else "no answer"
    return f"{refusal.act} refused since {format_time(refusal.since)} ({code}): {refusal.message[:LONGEST]}"
