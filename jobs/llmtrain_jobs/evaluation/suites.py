"""Scores made of several tasks: (score - chance) / (1 - chance) of each, averaged.

The presets' few-shot counts and chances are those of DCLM's `eval_meta_data_v1.csv` and of the Open LLM Leaderboard's
first version. DCLM's CORE has 22 tasks and its own prompts, so that a `Core` here is comparable with a `Core` here of
the same version, and with nothing else. A changed table gets a new version.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from llmtrain.api.evaluation import Evaluation, Suite, SuitePreset, Task
from llmtrain.api.evaluationtasks import TaskKind
from llmtrain_jobs.evaluation.guessing import RANDOM
from llmtrain_jobs.evaluation.results import TaskResult


@dataclass(frozen=True)
class Member:
    """One task of a preset."""

    kind: TaskKind
    few_shot: int
    metric: str
    chance: float


@dataclass(frozen=True)
class Preset:
    """A suite by name and version."""

    version: str
    members: tuple[Member, ...]


PRESETS = {
    SuitePreset.CORE: Preset(
        "core-1",
        (
            Member(TaskKind.ARC_EASY, 10, "acc_norm", 0.25),
            Member(TaskKind.ARC_CHALLENGE, 10, "acc_norm", 0.25),
            Member(TaskKind.HELLASWAG, 10, "acc_norm", 0.25),
            Member(TaskKind.PIQA, 10, "acc_norm", 0.50),
            Member(TaskKind.WINOGRANDE, 0, "acc", 0.50),
            Member(TaskKind.BOOLQ, 10, "acc", 0.62),
            Member(TaskKind.OPENBOOKQA, 0, "acc_norm", 0.25),
            Member(TaskKind.COPA, 0, "acc", 0.50),
            Member(TaskKind.LAMBADA, 0, "acc", 0.0),
        ),
    ),
    SuitePreset.OPEN_LLM: Preset(
        "open-llm-1",
        (
            Member(TaskKind.ARC_CHALLENGE, 25, "acc_norm", 0.25),
            Member(TaskKind.HELLASWAG, 10, "acc_norm", 0.25),
            Member(TaskKind.MMLU, 5, "acc", 0.25),
            Member(TaskKind.TRUTHFULQA_MC2, 0, "acc", 0.0),
            Member(TaskKind.WINOGRANDE, 5, "acc", 0.50),
            Member(TaskKind.GSM8K, 5, "exact_match", 0.0),
        ),
    ),
}


def member_name(suite: Suite, kind: TaskKind) -> str:
    """Name of a preset's task among the results."""
    return f"{suite.name}-{kind.value.replace('_', '-')}"


def all_tasks(evaluation: Evaluation) -> list[Task]:
    """The manifest's tasks and those of its suites' presets."""
    made = [task for suite in evaluation.suites for task in preset_tasks(suite)]
    return [*evaluation.tasks, *made]


def preset_tasks(suite: Suite) -> list[Task]:
    """Those that a suite brings along."""
    if suite.preset is None:
        return []
    folder = (suite.data_folder or "").rstrip("/")
    return [
        Task(name=member_name(suite, member.kind), task=member.kind, data_file=f"{folder}/{member.kind.value}.jsonl",
             few_shot=member.few_shot, limit=suite.limit)
        for member in PRESETS[suite.preset].members
    ]  # fmt: skip


def centred(score: float, chance: float) -> float:
    """0 at chance, 1 where everything is right."""
    return (score - chance) / (1 - chance)


def suite_result(suite: Suite, results: Mapping[str, TaskResult]) -> TaskResult:
    """The suite's averages; a task that was skipped makes the suite skipped, one without a score leaves it without."""
    members = _members(suite, results)
    broken = [name for name in members if name in results and results[name].problem]
    missing = [name for name in members if name not in results or results[name].skipped]
    found = TaskResult(suite.name, primary="centred", higher_is_better={"centred": True, "average": True})
    found.details = {"version": PRESETS[suite.preset].version if suite.preset else "own"}
    if broken:
        found.problem = f"`{suite.name}`: no scores of {', '.join(broken)}"
        return found
    if missing:
        found.skipped = f"no scores of {', '.join(missing)}"
        return found
    for name, (metric, chance) in members.items():
        score = results[name].scores[metric]
        found.parts[name] = {metric: score, "chance": chance, "centred": centred(score, chance)}
    found.count = sum(results[name].count for name in members)
    found.scores["centred"] = sum(part["centred"] for part in found.parts.values()) / len(members)
    shown = [results[name].scores[metric] for name, (metric, _) in members.items()]
    found.scores["average"] = sum(shown) / len(shown)
    squares = [(results[n].errors.get(m, 0.0) / (1 - c)) ** 2 for n, (m, c) in members.items()]
    found.errors["centred"] = sum(squares) ** 0.5 / len(members)
    return found


def _members(suite: Suite, results: Mapping[str, TaskResult]) -> dict[str, tuple[str, float]]:
    """Metric and chance of each task of a suite, by the task's name."""
    if suite.preset is not None:
        members = PRESETS[suite.preset].members
        return {member_name(suite, member.kind): (member.metric, member.chance) for member in members}
    return {name: _own_member(results.get(name)) for name in suite.tasks or []}


def _own_member(result: TaskResult | None) -> tuple[str, float]:
    if result is None:
        return "", 0.0
    return result.primary, result.guessing.get(result.primary, {}).get(RANDOM, 0.0)
