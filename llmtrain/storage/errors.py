"""What can be wrong with storage."""

from enum import StrEnum


class StorageProblem(StrEnum):
    """The kinds of trouble, named as the failure classes of a stage."""

    BAD_INPUT = "BadInput"
    UNAVAILABLE = "Unavailable"
    FULL = "StorageFull"
    DENIED = "Denied"


class StorageError(Exception):
    """Trouble with storage; the message names the file or the field and says what to change."""

    def __init__(self, problem: StorageProblem, message: str) -> None:
        """`problem` decides what the operator does about it."""
        super().__init__(message)
        self.problem, self.message = problem, message

    def __reduce__(self) -> tuple[type["StorageError"], tuple[StorageProblem, str]]:
        """Ray carries exceptions between processes by pickling them."""
        return StorageError, (self.problem, self.message)
