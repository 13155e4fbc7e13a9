"""How a stage ends otherwise than well: one exception a failure class, whose message says what to change."""

from llmtrain.api.stageconfig import FailureClass


class StageError(Exception):
    """A failure that the entrypoint turns into an exit code and a termination message."""

    def __init__(self, failure: FailureClass, reason: str, message: str, checkpoint: str = "") -> None:
        """`reason` is one CamelCase word, `message` is for people."""
        super().__init__(f"{failure.value}/{reason}: {message}")
        self.failure, self.reason, self.message, self.checkpoint = failure, reason, message, checkpoint

    def __reduce__(self) -> tuple[type["StageError"], tuple[FailureClass, str, str, str]]:
        """Ray carries exceptions between processes by pickling them."""
        return StageError, (self.failure, self.reason, self.message, self.checkpoint)


def bad_input(message: str, reason: str = "BadInput") -> StageError:
    """Data, config or user code is at fault."""
    return StageError(FailureClass.BAD_INPUT, reason, message)


def unavailable(message: str, reason: str = "Unavailable") -> StageError:
    """Storage or another service does not answer."""
    return StageError(FailureClass.UNAVAILABLE, reason, message)


def interrupted(message: str, checkpoint: str = "") -> StageError:
    """Saved on request."""
    return StageError(FailureClass.INTERRUPTED, "Interrupted", message, checkpoint)
