"""Evaluation beside training: which tasks, how often, on which pods, and what ends the training early."""

from typing import Annotated

from pydantic import Field

from llmtrain.api.base import Model, Name, Rule, cel
from llmtrain.api.cluster import NamedRef, Workers
from llmtrain.api.requirement import ONE_BOUND, Requirement


class Evaluators(Workers):
    """The evaluator group: pods that score checkpoints while the workers train on."""

    replicas: int = Field(1, ge=1, le=16, description="Number of evaluator pods; they take checkpoints in turns.")
    accelerators_per_worker: int = Field(0, ge=0, le=64, description="Accelerators that each evaluator requests.")


class EarlyRequirement(Requirement):
    """A score below which training is not worth going on."""

    after_tokens: int = Field(
        0, ge=0, le=10**15, description="Training tokens from which on the newest score is held against the bound."
    )

    model_config = Model.model_config | {
        "json_schema_extra": cel(
            ONE_BOUND,
            Rule(
                rule="!has(self.noWorseThan) || self.noWorseThan != 'Reference'",
                message="`noWorseThan` must be Baseline or Chance here: the reference model is asked after training only",
            ),
        )
    }


class DuringTraining(Model):
    """The newest complete checkpoint every so many tokens, on pods of its own."""

    every_tokens: int = Field(ge=1, le=10**15, description="Training tokens between two evaluations.")
    plan_ref: NamedRef | None = Field(
        None, description="ComputePlan of the evaluator pods. Default: that of `evaluation.cluster`."
    )
    evaluators: Evaluators = Field(Evaluators(), description="The evaluator pods.")
    tasks: Annotated[list[Name], Field(max_length=16)] = Field(
        [],
        description="Names of entries of `evaluation.tasks` and `evaluation.suites`; empty: all tasks without a judge.",
    )
    require: Annotated[list[EarlyRequirement], Field(max_length=16)] = Field(
        [], description="Scores that training is stopped for lack of; everything is kept."
    )
