"""When the driver ends by itself. Ray Train's `fit` cannot be interrupted from a thread, and waiting for it is billed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmtrain.api.stageconfig import FailureClass, Result

PATIENCE_SECONDS = 10.0
"""How long the processes have to end by themselves once one has failed for good, or once all have saved to stop."""


@dataclass
class Ending:
    """Looks at the control actor's state again and again; `tokens` are those of the whole training."""

    tokens: int
    since: float | None = None
    """When waiting began, seconds of the caller's clock."""

    def look(self, state: Mapping[str, Any], asked: bool, now: float) -> Result | None:
        """The result to end with now, or None; `asked`: somebody wants the training to stop."""
        if asked and state["fresh"]:
            told = "stopped before the first step of these workers"
            return _ended(FailureClass.INTERRUPTED, "Interrupted", told, state["checkpoint"])
        if not state["failure"] and not (asked and self._has_saved(state)):
            self.since = None
            return None
        self.since = now if self.since is None else self.since
        if now - self.since <= PATIENCE_SECONDS:
            return None
        if state["failure"]:
            kind, reason, message = state["failure"]
            return _ended(FailureClass(kind), reason, message, state["checkpoint"])
        # A worker that was lost behind the save would be waited for: its pod is being taken down as well.
        return _ended(FailureClass.INTERRUPTED, "Interrupted", f"saved at step {state['saved']}", state["checkpoint"])

    def _has_saved(self, state: Mapping[str, Any]) -> bool:
        """The last step that was reported is in a complete checkpoint; behind the last token the model is written."""
        last = state["last"]
        return bool(state["saved"] >= last["step"] and last["tokens"] < self.tokens)


def _ended(failure: FailureClass, reason: str, message: str, checkpoint: str = "") -> Result:
    return Result(outcome="Failed", failure_class=failure, reason=reason, message=message[:1000], checkpoint=checkpoint)
