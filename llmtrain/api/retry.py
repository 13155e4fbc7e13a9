"""How often a stage is tried again, and which failures are treated otherwise than by default."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from llmtrain.api.base import Model, Rule, cel
from llmtrain.api.failure import FailureClass


class RetryAction(StrEnum):
    """What follows a failure that a rule matches."""

    FAIL = "Fail"
    RETRY = "Retry"
    IGNORE = "Ignore"


class RetryRule(Model):
    """A failure and what follows it; everything that is set must match."""

    failure_class: FailureClass | None = Field(None, alias="class", description="Class of the failure.")
    exit_code: int | None = Field(None, ge=1, le=255, description="Exit code of the container that failed.")
    reason: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9]*$", max_length=64)] | None = Field(
        None, description="Reason in one word, as conditions, `history` and pods show it."
    )
    action: RetryAction = Field(
        description="Fail: no further attempt. Retry: another one, counted against `limit`. "
        "Ignore: another one, counted against `infrastructureLimit` alone."
    )

    model_config = Model.model_config | {
        "json_schema_extra": cel(
            Rule(
                rule="has(self.class) || has(self.exitCode) || has(self.reason)",
                message="at least one of `class`, `exitCode` and `reason` must be set",
            )
        )
    }


class Retry(Model):
    """How often a stage is tried again."""

    limit: int = Field(3, ge=0, le=100, description="Failures of the work itself, per stage.")
    infrastructure_limit: int = Field(50, ge=0, le=1000, description="Losses of nodes and pods, per stage.")
    rules: Annotated[list[RetryRule], Field(max_length=16)] = Field(
        [], description="Exceptions from the default; the first that matches decides."
    )
