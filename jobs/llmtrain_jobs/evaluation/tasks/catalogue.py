"""From a task of the manifest and its rows to configs of lm-evaluation-harness.

Known benchmarks keep the harness' own YAML: template, choices, metrics, filters. Only where the rows come from changes.
Tasks in another form and a user's own are written over rows of query, choices and gold.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from llmtrain.api.evaluation import Task
from llmtrain.api.evaluationtasks import Form, GenerationMetric, TaskKind, Template, TemplateKind
from llmtrain_jobs.errors import bad_input
from llmtrain_jobs.evaluation.tasks import metrics
from llmtrain_jobs.evaluation.tasks.finance import FINANCE, entity_f1, score_entities, weighted_f1
from llmtrain_jobs.evaluation.tasks.rows import Fields

PUBLISHED = {
    TaskKind.ARC_EASY: "arc/arc_easy.yaml",
    TaskKind.ARC_CHALLENGE: "arc/arc_challenge.yaml",
    TaskKind.HELLASWAG: "hellaswag/hellaswag.yaml",
    TaskKind.MMLU: "mmlu/default/_default_template_yaml",
    TaskKind.TRUTHFULQA_MC1: "truthfulqa/truthfulqa_mc1.yaml",
    TaskKind.TRUTHFULQA_MC2: "truthfulqa/truthfulqa_mc2.yaml",
    TaskKind.PIQA: "piqa/piqa.yaml",
    TaskKind.WINOGRANDE: "winogrande/default.yaml",
    TaskKind.BOOLQ: "super_glue/boolq/default.yaml",
    TaskKind.OPENBOOKQA: "openbookqa/openbookqa.yaml",
    TaskKind.COPA: "super_glue/copa/default.yaml",
    TaskKind.LAMBADA: "lambada/lambada_openai.yaml",
    TaskKind.GSM8K: "gsm8k/gsm8k.yaml",
}
PUBLISHED_SHOTS = {TaskKind.GSM8K: 5}
"""Solved examples that a published template shows where the manifest says nothing; none in the others."""
MMLU_CLOZE = "mmlu/continuation/_continuation_template_yaml"
MMLU_DESCRIPTION = "The following are multiple choice questions (with answers) about {}.\n\n"
NER_TOKENS = 128
ASKED, EXAMPLES = "test", "examples"
ACCURACY = [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm")]
WEIGHTED_F1 = {"metric": "f1", "aggregation": weighted_f1, "higher_is_better": True}
STRIPPED = [{"name": "none", "filter": [{"function": "remove_whitespace"}, {"function": "take_first"}]}]


@dataclass(frozen=True)
class Part:
    """One task of the harness; most entries of the manifest are one, MMLU is one a subject."""

    name: str
    config: dict[str, Any]
    docs: list[Fields]
    examples: list[Fields] = field(default_factory=list)
    """Rows that solved examples are drawn from; none: `docs` without the one that is asked."""
    limit: int = 0


def parts_of(task: Task, docs: list[Fields], examples: list[Fields]) -> list[Part]:
    """What the harness runs for a task with a data file; the rows are in the task's shape already."""
    if task.task is TaskKind.MMLU:
        return _by_subject(task, docs, examples)
    config = _config(task) | ({} if task.few_shot is None else {"num_fewshot": task.few_shot})
    return [Part(task.name, config, docs, examples, task.limit)]


def check_examples(task: Task, docs: list[Fields], examples: list[Fields]) -> None:
    """There are enough rows for the examples that each question shows; raises bad input that says how many there are."""
    asked = docs[: task.limit] if task.limit else docs
    shots = PUBLISHED_SHOTS.get(task.task, 0) if task.few_shot is None and task.task else task.few_shot or 0
    if task.task is not TaskKind.MMLU:
        _check_enough(task.name, shots, docs, examples)
        return
    for subject in sorted({doc["subject"] for doc in asked}):
        _check_enough(f"{task.name}_{subject}", shots, _about(subject, docs), _about(subject, examples))


def _about(subject: str, rows: list[Fields]) -> list[Fields]:
    return [row for row in rows if row["subject"] == subject]


def _check_enough(name: str, shots: int, docs: list[Fields], examples: list[Fields]) -> None:
    # A row that equals the one that is asked is no example of another.
    there = len({json.dumps(row, sort_keys=True) for row in examples or docs}) - (0 if examples else 1)
    if shots > there:
        raise bad_input(
            f"`{name}`: `fewShot` is {shots}, but there are {there} other rows to draw examples from; lower it or set "
            "`fewShotFile`",
            "TooFewExamples",
        )


def _config(task: Task) -> dict[str, Any]:
    if task.template is not None:
        return own(task.template)
    if task.task in FINANCE:
        return _finance(task.task)
    if task.form is not Form.PUBLISHED or task.task is None:
        return flat()
    return published(PUBLISHED[task.task])


def published(file: str) -> dict[str, Any]:
    """The harness' config of a benchmark, without where it would load data from."""
    import lm_eval.tasks
    from lm_eval.tasks._yaml_loader import load_yaml

    config: dict[str, Any] = load_yaml(Path(lm_eval.tasks.__file__).parent / file)
    for key in ("tag", "group", "dataset_name", "training_split", "validation_split"):
        config.pop(key, None)
    return config


def flat() -> dict[str, Any]:
    """Multiple choice over rows of query, choices and gold."""
    return {"output_type": "multiple_choice", "doc_to_text": "query", "doc_to_choice": "choices", "doc_to_target": "gold",
            "metric_list": ACCURACY, "metadata": {"version": 1.0}}  # fmt: skip


def _finance(kind: TaskKind) -> dict[str, Any]:
    if kind is not TaskKind.FINANCIAL_NER:
        return flat() | {"metric_list": [*ACCURACY, WEIGHTED_F1]}
    return _written(["\n"], NER_TOKENS) | {
        "process_results": score_entities,
        "metric_list": [{"metric": "f1", "aggregation": entity_f1, "higher_is_better": True}],
    }


def _written(stops: Sequence[str], new_tokens: int) -> dict[str, Any]:
    settings = {"until": list(stops), "max_gen_toks": new_tokens, "do_sample": False, "temperature": 0.0}
    return {"output_type": "generate_until", "doc_to_text": "query", "doc_to_target": "target", "filter_list": STRIPPED,
            "generation_kwargs": settings, "metadata": {"version": 1.0}}  # fmt: skip


def own(template: Template) -> dict[str, Any]:
    """A user's own task over rows that the template was applied to."""
    shown = {"target_delimiter": template.delimiter, "description": template.description}
    if template.kind is TemplateKind.MULTIPLE_CHOICE:
        return flat() | shown
    if template.kind is TemplateKind.GENERATION:
        scored = [_generation_metric(metric) for metric in template.metrics]
        return _written(template.stops, template.max_new_tokens) | shown | {"metric_list": scored}
    # The harness puts no delimiter before a continuation that it scores, so it belongs to the target.
    target = partial(_delimited, template.delimiter)
    listed = [
        {"metric": "perplexity", "aggregation": metrics.perplexity, "higher_is_better": False},
        {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
    ]
    return shown | {"output_type": "loglikelihood", "doc_to_text": "query", "doc_to_target": target,
                    "target_delimiter": "", "metric_list": listed, "metadata": {"version": 1.0}}  # fmt: skip


def _delimited(delimiter: str, doc: Fields) -> str:
    return f"{delimiter}{doc['target']}"


def _generation_metric(metric: GenerationMetric) -> dict[str, Any]:
    rouge = metrics.ROUGE.get(metric)
    if rouge is not None:
        return {"metric": rouge, "aggregation": "mean", "higher_is_better": True}
    aggregation = "mean" if metric is GenerationMetric.EXACT_MATCH else metric.value
    return {"metric": metric.value, "aggregation": aggregation, "higher_is_better": True}


def _by_subject(task: Task, docs: list[Fields], examples: list[Fields]) -> list[Part]:
    """MMLU's subjects have examples and an introduction of their own."""
    asked = docs[: task.limit] if task.limit else docs
    config = published(MMLU_CLOZE if task.form is Form.CLOZE else PUBLISHED[TaskKind.MMLU])
    config.pop("fewshot_split", None)
    parts = []
    for subject in sorted({doc["subject"] for doc in asked}):
        here, shots = _about(subject, docs), _about(subject, examples)
        limit = sum(doc["subject"] == subject for doc in asked)
        told = {"description": MMLU_DESCRIPTION.format(subject.replace("_", " ")), "num_fewshot": task.few_shot or 0}
        parts.append(Part(f"{task.name}_{subject}", config | told, here, shots, limit))
    return parts
