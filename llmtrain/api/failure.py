"""Why an attempt ended otherwise than well, and the exit codes that say so."""

from enum import IntEnum, StrEnum


class ExitCode(IntEnum):
    """Exit codes of the entrypoint, after sysexits.h."""

    OK = 0
    BAD_INPUT = 64
    UNAVAILABLE = 69
    INTERNAL = 70
    OUT_OF_MEMORY = 71
    STORAGE_FULL = 73
    INTERRUPTED = 75
    DENIED = 77
    BELOW_THRESHOLD = 78


class FailureClass(StrEnum):
    """Why an attempt ended otherwise than well."""

    BAD_INPUT = "BadInput"
    UNAVAILABLE = "Unavailable"
    INTERNAL = "Internal"
    STORAGE_FULL = "StorageFull"
    INTERRUPTED = "Interrupted"
    DENIED = "Denied"
    BELOW_THRESHOLD = "BelowThreshold"
    OUT_OF_MEMORY = "OutOfMemory"
    OUT_OF_EPHEMERAL_STORAGE = "OutOfEphemeralStorage"
    INFRASTRUCTURE = "Infrastructure"
    NOT_STARTED = "NotStarted"


EXIT_CODES: dict[FailureClass, ExitCode] = {
    FailureClass.BAD_INPUT: ExitCode.BAD_INPUT,
    FailureClass.UNAVAILABLE: ExitCode.UNAVAILABLE,
    FailureClass.INTERNAL: ExitCode.INTERNAL,
    FailureClass.OUT_OF_MEMORY: ExitCode.OUT_OF_MEMORY,
    FailureClass.STORAGE_FULL: ExitCode.STORAGE_FULL,
    FailureClass.INTERRUPTED: ExitCode.INTERRUPTED,
    FailureClass.DENIED: ExitCode.DENIED,
    FailureClass.BELOW_THRESHOLD: ExitCode.BELOW_THRESHOLD,
}
