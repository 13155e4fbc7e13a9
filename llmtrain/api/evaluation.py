"""Spec of step 5, evaluation."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from llmtrain.api.base import DecimalString, Model, Name, Path, Rule, cel
from llmtrain.api.cluster import Cluster


class TaskKind(StrEnum):
    """Kinds of local multiple-choice files that are known by shape."""

    ARC_EASY = "arc_easy"
    ARC_CHALLENGE = "arc_challenge"


class Perplexity(Model):
    """Held-out perplexity."""

    split: Annotated[str, Field(pattern="^validation$", max_length=16)] = Field("validation", description="The split.")


class Task(Model):
    """One evaluation."""

    name: Name = Field(description="Name of the result.")
    perplexity: Perplexity | None = Field(None, description="Held-out perplexity and bits per byte.")
    task: TaskKind | None = Field(None, description="Multiple-choice task, read from `dataFile`.")
    data_file: Path | None = Field(None, description="The task's JSON lines: s3://..., file:///..., or relative.")
    few_shot: int = Field(0, ge=0, le=64, description="Solved examples before each question.")
    limit: int = Field(0, ge=0, le=10**6, description="Questions that are asked; 0: all.")

    model_config = Model.model_config | {
        "json_schema_extra": cel(
            Rule(
                rule="has(self.perplexity) != has(self.task)",
                message="exactly one of `perplexity` and `task` must be set",
            ),
            Rule(
                rule="has(self.task) == has(self.dataFile)",
                message="`dataFile` must be set where `task` is, and only there",
            ),
        )
    }


class Requirement(Model):
    """Gate on a score."""

    metric: Annotated[str, Field(pattern=r"^[a-z0-9-]+/[a-z_]+$", max_length=128)] = Field(
        description="`task/metric`, for example held-out/bits_per_byte."
    )
    at_most: DecimalString | None = Field(None, description="Upper bound, inclusive.")
    at_least: DecimalString | None = Field(None, description="Lower bound, inclusive.")

    model_config = Model.model_config | {
        "json_schema_extra": cel(
            Rule(
                rule="has(self.atMost) != has(self.atLeast)",
                message="exactly one of `atMost` and `atLeast` must be set",
            )
        )
    }


class Evaluation(Model):
    """Step 5: evaluation."""

    cluster: Cluster = Field(description="The stage's cluster.")
    tasks: Annotated[list[Task], Field(min_length=1, max_length=64)] = Field(description="What is measured.")
    require: Annotated[list[Requirement], Field(max_length=64)] = Field([], description="Scores that must be reached.")
