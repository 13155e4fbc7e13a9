"""metav1.Condition lists: lastTransitionTime moves with the status alone."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from llmtrain.api.job import Condition
from llmtrain_operator.billing import format_time


def merged(
    before: Sequence[Condition], told: Mapping[str, tuple[str, str, str]], generation: int, now: datetime
) -> list[Condition]:
    """The conditions told (status, reason, message by type), in their order."""
    old = {condition.type: condition for condition in before}
    return [_condition(old.get(kind), kind, value, generation, now) for kind, value in told.items()]


def _condition(
    old: Condition | None, kind: str, told: tuple[str, str, str], generation: int, now: datetime
) -> Condition:
    status, reason, message = told
    since = old.last_transition_time if old is not None and old.status == status else format_time(now)
    return Condition(
        type=kind,
        status=status,
        reason=reason,
        message=message[:4096],
        last_transition_time=since,
        observed_generation=generation,
    )
