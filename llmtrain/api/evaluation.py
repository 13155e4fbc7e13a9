"""Spec of step 5, evaluation."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from llmtrain.api.base import Model, Name, Path, Rule, cel
from llmtrain.api.cluster import Cluster
from llmtrain.api.duringtraining import DuringTraining
from llmtrain.api.endpoint import Endpoint
from llmtrain.api.evaluationtasks import ChatTemplate, Form, JudgeTask, Perplexity, TaskKind, Template
from llmtrain.api.requirement import Against, Requirement, one_of

SOURCES_OF_A_TASK = ("perplexity", "task", "template", "harness", "judge")


class Task(Model):
    """One evaluation."""

    name: Name = Field(description="Name of the result.")
    perplexity: Perplexity | None = Field(None, description="Perplexity and bits per byte of text.")
    task: TaskKind | None = Field(
        None, description="A known benchmark, read from `dataFile`, with the harness' own template and metrics."
    )
    template: Template | None = Field(None, description="A task of your own, read from `dataFile`.")
    harness: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,128}$", max_length=128)] | None = Field(
        None, description="Any task of lm-evaluation-harness by its name; its data comes from a hub or its cache."
    )
    judge: JudgeTask | None = Field(None, description="Answers that another model judges, read from `dataFile`.")
    data_file: Path | None = Field(None, description="The task's JSON lines: s3://..., file:///..., or relative.")
    few_shot_file: Path | None = Field(
        None, description="JSON lines of the same shape that examples are drawn from; default: `dataFile` itself."
    )
    form: Form = Field(Form.PUBLISHED, description="How the answers to choose from are shown and scored.")
    few_shot: int | None = Field(
        None, ge=0, le=64, description="Solved examples before each question; default: the task's own number, else 0."
    )
    seed: int = Field(1234, ge=0, le=2**31 - 1, description="Seed by which the examples are drawn.")
    limit: int = Field(0, ge=0, le=10**6, description="Questions that are asked; 0: all.")

    model_config = Model.model_config | {
        "json_schema_extra": cel(
            one_of(*SOURCES_OF_A_TASK),
            Rule(
                rule="has(self.dataFile) == (has(self.task) || has(self.template) || has(self.judge))",
                message="`dataFile` must be set where `task`, `template` or `judge` is, and only there",
            ),
            Rule(
                rule="!has(self.fewShotFile) || has(self.task) || has(self.template)",
                message="`fewShotFile` may be set only where `task` or `template` is",
            ),
        )
    }


class SuitePreset(StrEnum):
    """Known suites."""

    CORE = "Core"
    OPEN_LLM = "OpenLlm"


class Suite(Model):
    """Tasks whose scores are put together: (score - chance) / (1 - chance) of each, averaged."""

    name: Name = Field(description="Name of the result.")
    preset: SuitePreset | None = Field(None, description="A known suite, its files read from `dataFolder`.")
    data_folder: Path | None = Field(
        None, description="Folder with one file for each task of the preset: arc_easy.jsonl, piqa.jsonl, ..."
    )
    tasks: Annotated[list[Name], Field(max_length=64)] | None = Field(
        None, description="Names of entries of `evaluation.tasks`."
    )
    limit: int = Field(0, ge=0, le=10**6, description="Questions of each of the preset's tasks; 0: all.")

    model_config = Model.model_config | {
        "json_schema_extra": cel(
            one_of("preset", "tasks"),
            Rule(
                rule="has(self.preset) == has(self.dataFolder)",
                message="`dataFolder` must be set where `preset` is, and only there",
            ),
        )
    }


class Baseline(Model):
    """An earlier evaluation of the same tasks."""

    artifact: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$", max_length=16)] = Field(
        description="Key of an evaluation in this job's storage, as in `status.stages[].artifact`."
    )


class Evaluation(Model):
    """Step 5: evaluation."""

    cluster: Cluster = Field(description="The stage's cluster.")
    suites: Annotated[list[Suite], Field(max_length=16)] = Field([], description="Scores made of several tasks.")
    tasks: Annotated[list[Task], Field(max_length=64)] = Field([], description="What is measured.")
    batch_tokens: int = Field(
        8192, ge=64, le=2**24, description="Tokens that a worker computes at once; independent of their number."
    )
    chat_template: ChatTemplate | None = Field(
        None, description="Our model is asked in conversations, as an instruct model was trained; perplexity is not."
    )
    reference: Endpoint | None = Field(None, description="A model behind an endpoint that the same tasks are asked.")
    judge: Endpoint | None = Field(None, description="The model that judges answers.")
    baseline: Baseline | None = Field(None, description="An earlier evaluation to compare with.")
    require: Annotated[list[Requirement], Field(max_length=64)] = Field([], description="Scores that must be reached.")
    during_training: DuringTraining | None = Field(
        None, description="Checkpoints are scored while training goes on, on pods of their own."
    )

    model_config = Model.model_config | {
        "json_schema_extra": cel(
            Rule(
                rule="self.tasks.size() + self.suites.size() >= 1",
                message="`tasks` or `suites` must have an entry",
            ),
            Rule(
                rule="self.tasks.all(t, !has(t.judge)) || has(self.judge)",
                message="`judge` must be set where a task has one",
            ),
            Rule(
                rule="self.require.all(r, !has(r.noWorseThan) || "
                "(r.noWorseThan == 'Baseline' ? has(self.baseline) : r.noWorseThan != 'Reference' || has(self.reference)))",
                message="`noWorseThan: Baseline` needs `baseline`, `noWorseThan: Reference` needs `reference`",
            ),
            Rule(
                rule="!has(self.duringTraining) || self.duringTraining.tasks.all(n, "
                "self.tasks.exists(t, t.name == n) || self.suites.exists(s, s.name == n))",
                message="`duringTraining.tasks` must be names of entries of `tasks` or `suites`",
                field_path=".duringTraining.tasks",
            ),
            Rule(
                rule="!has(self.duringTraining) || self.duringTraining.require.all(r, "
                "!has(r.noWorseThan) || r.noWorseThan != 'Baseline' || has(self.baseline))",
                message="`noWorseThan: Baseline` needs `baseline`",
                field_path=".duringTraining.require",
            ),
            Rule(
                rule="!has(self.duringTraining) || self.duringTraining.tasks.size() > 0 || "
                "self.tasks.exists(t, !has(t.judge))",
                message="`duringTraining` needs an entry of `tasks` without `judge`, or names in `duringTraining.tasks`",
                field_path=".duringTraining",
            ),
        )
    }


def scored_during(evaluation: Evaluation) -> list[Task]:
    """Entries of `tasks` that evaluators score: named by themselves or by a suite; where none is, those without a judge."""
    during = evaluation.during_training
    if during is None:
        return []
    if not during.tasks:
        return [task for task in evaluation.tasks if task.judge is None]
    suites = [suite for suite in evaluation.suites if suite.name in during.tasks]
    named = {*during.tasks, *(name for suite in suites for name in suite.tasks or [])}
    return [task for task in evaluation.tasks if task.name in named]


__all__ = [
    "Against",
    "Baseline",
    "DuringTraining",
    "Evaluation",
    "Requirement",
    "Suite",
    "SuitePreset",
    "Task",
    "TaskKind",
    "scored_during",
]
