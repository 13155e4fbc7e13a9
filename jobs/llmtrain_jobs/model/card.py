"""The model card of an export: what the model is, what it was made of, how well it does and what it cost.

Every number comes from a manifest or the job's status; what was not recorded is said to be so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from llmtrain.api.counts import Convention, flops_per_token, parameters
from llmtrain.api.dimensions import ModelConfig
from llmtrain.api.evaluation import Evaluation
from llmtrain.api.job import JobSpec
from llmtrain.api.status import JobStatus, Stage
from llmtrain.cost.money import format_usd

UNKNOWN = "not recorded"


@dataclass(frozen=True)
class Facts:
    """What a card is written from. `curation` and `training` are the counts of the manifests."""

    name: str
    family: str
    config: ModelConfig
    spec: JobSpec
    status: JobStatus
    keys: Mapping[Stage, str]
    curation: Mapping[str, Any]
    training: Mapping[str, Any]
    fates: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def card(facts: Facts) -> str:
    """README.md with its front matter."""
    sections = [
        _front_matter(facts),
        f"# {facts.name}\n\n{_opening(facts)}",
        f"## Architecture\n\n{_table(_architecture(facts.config, facts.family))}",
        f"## Data\n\n{_data(facts)}",
        f"## Training\n\n{_table(_training(facts))}",
        f"## Scores\n\n{_scores(facts)}",
        f"## Bill\n\n{_bill(facts.status)}",
        f"## Reproduction\n\n{_table(_reproduction(facts))}",
    ]
    return "\n\n".join(sections) + "\n"


def scores_of(status: JobStatus) -> Mapping[str, str]:
    """Scores of the evaluation, `task/metric` by value."""
    return next((stage.scores for stage in status.stages if stage.name is Stage.EVALUATION), {})


def _front_matter(facts: Facts) -> str:
    results = [
        {
            "task": {"type": "text-generation"},
            "dataset": dict(
                zip(("name", "type"), data_set(facts.spec.evaluation, name.rpartition("/")[0]), strict=True)
            ),
            "metrics": [{"type": name.rpartition("/")[2], "value": float(value)}],
        }
        for name, value in sorted(scores_of(facts.status).items())
    ]
    head: dict[str, Any] = {"library_name": "transformers", "pipeline_tag": "text-generation", "tags": ["llmtrain"]}
    if results:
        head["model-index"] = [{"name": facts.name, "results": results}]
    return f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---"


def data_set(evaluation: Evaluation | None, name: str) -> tuple[str, str]:
    """What the task of this name was measured on, and what kind of thing that is.

    A task may be called anything and asked in any benchmark's form; a benchmark's name stands here only where its own
    data was read, which is so for the harness' tasks. Whatever a file holds, the file is named.
    """
    tasks = {task.name: task for task in evaluation.tasks} if evaluation else {}
    suites = evaluation.suites if evaluation else []
    task = tasks.get(name)
    if task is not None:
        if task.harness is not None:
            return task.harness, "lm-evaluation-harness"
        files = [task.data_file] if task.data_file else task.perplexity.files if task.perplexity else []
        return (", ".join(files), "file") if files else ("held-out documents of the training data", "held-out")
    for suite in suites:
        if suite.name == name:
            return ", ".join(suite.tasks or [f"files of {suite.data_folder}"]), "suite"
        if suite.preset is not None and name.startswith(f"{suite.name}-"):
            file = name.removeprefix(f"{suite.name}-").replace("-", "_")
            return f"{(suite.data_folder or '').rstrip('/')}/{file}.jsonl", "file"
    return UNKNOWN, UNKNOWN


def _opening(facts: Facts) -> str:
    count = parameters(facts.config)
    return (
        f"A causal language model with {count:,} parameters, trained from scratch. "
        f"`transformers` loads it as {facts.family}. Documents were separated by one end-of-text token in training: "
        "start a text with it."
    )


def _table(rows: Sequence[tuple[str, str]]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def _architecture(config: ModelConfig, family: str) -> list[tuple[str, str]]:
    gated = ", gated" if config.gated else ""
    return [
        ("family", family),
        ("parameters", f"{parameters(config):,}"),
        ("layers x width", f"{config.layers} x {config.embedding}"),
        ("heads", f"{config.heads} of {config.width}, {config.groups} of keys and values"),
        ("feed-forward", f"{config.feed_forward}, {config.activation.value}{gated}"),
        ("norm", f"{config.norm.value}, {config.placement.value}"),
        ("positions", f"{config.positions.value}, context {config.context}"),
        ("vocabulary", f"{config.vocabulary:,}, output {'tied' if config.tied else 'not tied'}"),
        ("training FLOPs per token", f"{flops_per_token(config, Convention.PALM):.3e} (6 N + 12 L H K T)"),
    ]


def _data(facts: Facts) -> str:
    tokens = facts.curation.get("sources", {})
    sources = ["| source | path | licence | training tokens |", "|---|---|---|---|"] + [
        f"| {source.name} | `{source.path}` | {source.licence or UNKNOWN} | {_tokens(tokens, source.name)} |"
        for source in facts.spec.curation.sources
    ]
    counted = [
        (name.replace("_", " "), _number(value)) for name, value in facts.curation.items() if _is_count(name, value)
    ]
    parts = ["\n".join(sources), _table(counted) if counted else f"Counts: {UNKNOWN}."]
    if facts.fates:
        fates = [f"| {name} | {fate['documents']:,} | {fate['bytes']:,} |" for name, fate in facts.fates.items()]
        parts.append("\n".join(["What became of the documents:\n", "| | documents | bytes |", "|---|---|---|", *fates]))
    return "\n\n".join(parts)


def _tokens(sources: Mapping[str, Mapping[str, Any]], name: str) -> str:
    return f"{sources[name]['tokens']:,}" if name in sources else UNKNOWN


def _is_count(name: str, value: object) -> bool:
    """A number, but for the id of the token that ends a document."""
    return isinstance(value, int | float) and name != "end_of_text"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def _training(facts: Facts) -> list[tuple[str, str]]:
    training, last = facts.spec.training, _stage_scores(facts.status, Stage.TRAINING)
    seen = facts.training.get("tokens")
    return [
        ("tokens", f"{seen:,}" if isinstance(seen, int) else UNKNOWN),
        ("optimizer steps", f"{facts.training['step']:,}" if "step" in facts.training else UNKNOWN),
        ("tokens a step", f"{training.global_batch_tokens:,}"),
        ("precision", training.precision.value),
        ("peak learning rate", training.optimizer.peak_learning_rate),
        *((name.replace("_", " "), value) for name, value in sorted(last.items()) if name != "tokens"),
    ]


def _stage_scores(status: JobStatus, name: Stage) -> Mapping[str, str]:
    return next((stage.scores for stage in status.stages if stage.name is name), {})


def _scores(facts: Facts) -> str:
    scores = scores_of(facts.status)
    if not scores:
        return f"Scores: {UNKNOWN}."
    rows = [
        f"| {n} | {v} | {data_set(facts.spec.evaluation, n.rpartition('/')[0])[0]} |" for n, v in sorted(scores.items())
    ]
    return "\n".join(["| task and metric | value | measured on |", "|---|---|---|", *rows])


def _bill(status: JobStatus) -> str:
    entries = status.ledger.entries
    if not entries:
        return f"Bill: {UNKNOWN}."
    rows = [
        f"| {e.stage.value} | {e.role} | {e.plan} | {e.tenure} | {e.billed_seconds:,} | {e.accelerator_seconds:,} "
        f"| {format_usd(e.cost_micro_usd)} |"
        for e in entries
    ]
    total = sum(entry.cost_micro_usd for entry in entries)
    head = [
        "| stage | role | plan | tenure | billed pod-seconds | accelerator-seconds | USD |",
        "|---|---|---|---|---|---|---|",
    ]
    reused = [stage.name.value for stage in status.stages if stage.reused]
    note = f" Reused, paid for by an earlier job: {', '.join(reused)}." if reused else ""
    return "\n".join([*head, *rows]) + f"\n\nSettled in all: **{format_usd(total)} USD**.{note}"


def _reproduction(facts: Facts) -> list[tuple[str, str]]:
    keys = [(f"artifact of {stage.value.lower()}", f"`{key}`") for stage, key in facts.keys.items()]
    return [("seed", str(facts.spec.seed)), *keys]
