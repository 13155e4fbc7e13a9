"""Running tasks by lm-evaluation-harness on any of its `LM`s, and reading what it found."""

import logging
import math
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from llmtrain_jobs.errors import bad_input, unavailable
from llmtrain_jobs.evaluation import guessing
from llmtrain_jobs.evaluation.chat import Chat
from llmtrain_jobs.evaluation.finite import BEYOND, not_finite
from llmtrain_jobs.evaluation.results import Sample, TaskResult, combined
from llmtrain_jobs.evaluation.tasks.catalogue import ASKED, EXAMPLES, Part

OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
BOOTSTRAP_DRAWS = 100
PREFERRED = ("acc_norm", "acc", "f1", "exact_match", "bits_per_byte")
"""The first of these that a task has stands for it; ARC's and HellaSwag's published score is acc_norm."""


def prepare(needs_hub: bool) -> None:
    """Before the harness is imported: it looks for hubs unless it is told that there are none."""
    os.environ["TQDM_DISABLE"] = "1"
    if not needs_hub:
        os.environ.update(OFFLINE)
    import datasets
    from lm_eval import utils

    datasets.disable_progress_bars()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    # The harness compiles a template anew for each row and each example: three quarters of the CPU that prompts take.
    if not hasattr(utils.env.from_string, "cache_info"):
        utils.env.from_string = lru_cache(maxsize=256)(utils.env.from_string)


def run_parts(name: str, parts: Sequence[Part], lm: Any, seed: int) -> TaskResult:
    """Scores of one entry of the manifest whose rows are at hand."""
    results = []
    for part in parts:
        task = _task(part, seed)
        results.append(_run(task, part.name, lm, part.limit))
        results[-1].guessing = commonest_written(task, part.docs, results[-1])
    whole = combined(name, results)
    whole.guessing |= guesses(whole)
    return whole


def run_named(name: str, harness_name: str, few_shot: int | None, limit: int, lm: Any, seed: int) -> TaskResult:
    """Scores of a task, group or tag that the harness knows by name; its data comes from a hub or a cache."""
    manager = known_tasks()
    if harness_name not in manager.all_tasks:
        raise bad_input(f"`{name}`: lm-evaluation-harness has no task `{harness_name}`", "UnknownTask")
    try:
        loaded = manager.load([harness_name])["tasks"]
    except (OSError, ConnectionError) as error:
        raise unavailable(
            f"`{name}`: the data of `{harness_name}` is not in reach: {error}", "DataSetUnreachable"
        ) from error
    results = []
    for task_name, task in loaded.items():
        if few_shot is not None:
            task.set_config(key="num_fewshot", value=few_shot)
        task.set_fewshot_seed(seed=seed)
        results.append(_run(task, task_name, lm, limit))
    whole = combined(name, results)
    whole.guessing = guesses(whole)
    return whole


@lru_cache(maxsize=1)
def known_tasks() -> Any:
    """The harness' index of its tasks: some 16,000 files are read for it."""
    from lm_eval.tasks import TaskManager

    return TaskManager()


def _task(part: Part, seed: int) -> Any:
    from lm_eval.api.task import ConfigurableTask

    config = part.config | {
        "task": part.name,
        "dataset_path": "json",
        "custom_dataset": _data(part),
        "test_split": ASKED,
        "fewshot_split": EXAMPLES if part.examples else ASKED,
        "num_fewshot": int(part.config.get("num_fewshot") or 0),
    }
    task = ConfigurableTask(config=config)
    task.set_fewshot_seed(seed=seed)
    return task


def _data(part: Part) -> Callable[..., Any]:
    import datasets

    def load(**_: Any) -> Any:
        splits = {ASKED: part.docs} | ({EXAMPLES: part.examples} if part.examples else {})
        return {split: datasets.Dataset.from_list(rows) for split, rows in splits.items()}

    return load


def _run(task: Any, name: str, lm: Any, limit: int) -> TaskResult:
    from lm_eval.evaluator import evaluate

    asked = {"tasks": {name: task}, "groups": {}}
    found = evaluate(lm, asked, limit=limit or None, bootstrap_iters=0, log_samples=True, **_in_chat(lm))
    samples = found["samples"][name]
    result = TaskResult(name, count=found["n-samples"][name]["effective"])
    result.few_shot = int(task.get_config("num_fewshot") or 0)
    filters = list(dict.fromkeys(sample["filter"] for sample in samples))
    _add_scores(result, task, found["results"][name], samples, filters)
    result.primary = next((metric for metric in PREFERRED if metric in result.scores), next(iter(result.scores), ""))
    result.samples = [readable(sample) for sample in samples if sample["filter"] == filters[0]]
    result.details = _details(task) | ({"chat": lm.chat.identity} if _in_chat(lm) else {})
    return result


def _in_chat(lm: Any) -> dict[str, Any]:
    """How the harness asks an instruct model; nothing for any other."""
    chat: Chat | None = getattr(lm, "chat", None)
    if chat is None:
        return {}
    return {
        "apply_chat_template": True,
        "fewshot_as_multiturn": chat.few_shot_as_turns,
        "system_instruction": chat.system or None,
    }


def _add_scores(
    result: TaskResult, task: Any, metrics: dict[str, Any], samples: Sequence[Any], filters: Sequence[str]
) -> None:
    """`metrics` of the harness are named `metric,filter`."""
    for key, value in metrics.items():
        metric, _, filtered = key.partition(",")
        if not filtered or "_stderr" in metric or not isinstance(value, int | float):
            continue
        names = names_of(metric, filtered, filters)
        if not math.isfinite(value):
            if not metric.endswith("perplexity"):
                raise not_finite(f"`{metric}` is {value},")
            # The likelihoods are finite; e to the power of them is more than a float holds.
            result.left_out |= dict.fromkeys(names, BEYOND)
            continue
        values = [sample[metric] for sample in samples if sample["filter"] == filtered and metric in sample]
        error = standard_error(task.aggregation().get(metric), values)
        for shown in names:
            result.scores[shown] = float(value)
            result.higher_is_better[shown] = bool(task.higher_is_better().get(metric, True))
            result.errors |= {shown: error} if error is not None and math.isfinite(error) else {}


def names_of(metric: str, filtered: str, filters: Sequence[str]) -> list[str]:
    """`metric` of the first filter, `metric_filter` of each that has a name."""
    plain = metric.replace("+", "p").replace("-", "_")
    first = [plain] if filtered == filters[0] else []
    return first if filtered == "none" else [*first, f"{plain}_{filtered.replace('-', '_')}"]


def standard_error(aggregate: Any, values: Sequence[Any]) -> float | None:
    """Sample deviation over the root of n for means; else a bootstrap of 100 draws whose seed is fixed."""
    from lm_eval.api.metrics import mean

    if len(values) < 2 or aggregate is None:
        return None
    if aggregate is mean:
        return float(np.std([float(value) for value in values], ddof=1) / len(values) ** 0.5)
    random = np.random.default_rng(0)
    draws = [
        aggregate([values[i] for i in random.integers(0, len(values), len(values))]) for _ in range(BOOTSTRAP_DRAWS)
    ]
    return float(np.std(draws, ddof=1))


def readable(sample: dict[str, Any]) -> Sample:
    """A sample of the harness without what it repeats."""
    arguments, responses = sample["arguments"], [response[0] for response in sample["resps"]]
    scored = {key: sample[key] for key in sample["metrics"] if isinstance(sample[key], int | float)}
    shown: Sample = {
        "id": sample["doc_id"],
        "prompt": arguments[0][0],
        "choices": [],
        "gold": sample["target"],
        **scored,
    }
    if len(arguments) > 1:
        contexts = [argument[0] for argument in arguments]
        same = len(set(contexts)) == 1
        shown["choices"] = [argument[1] if same else argument[0] for argument in arguments]
        shown["lls"] = [response[0] for response in responses]
        shown["gold"] = gold_of(sample)
        shown["predicted"] = int(np.argmax(shown["lls"]))
        return shown
    answer = responses[0]
    shown["answer" if isinstance(answer, str) else "lls"] = answer if isinstance(answer, str) else [_nats(answer)]
    if isinstance(answer, tuple | list) and len(arguments[0]) > 1:
        shown["gold"] = arguments[0][1]
    return shown


def _nats(answer: Any) -> float:
    return float(answer[0] if isinstance(answer, tuple | list) else answer)


def gold_of(sample: dict[str, Any]) -> Any:
    """Index (or indices) of the right choices, where the harness' target says."""
    doc, target = sample["doc"], sample["target"]
    targets = doc.get("mc2_targets")
    if targets is not None and "choices" in targets and len(targets["choices"]) == len(sample["arguments"]):
        return [number for number, label in enumerate(targets["labels"]) if label == 1]
    if isinstance(target, int) or (isinstance(target, list) and all(isinstance(entry, int) for entry in target)):
        return target
    if isinstance(doc.get("label"), int):
        return doc["label"]
    if str(doc.get("answer")) in ("1", "2"):  # WinoGrande
        return int(doc["answer"]) - 1
    endings = [argument[1].strip() for argument in sample["arguments"]]
    return endings.index(str(target).strip()) if str(target).strip() in endings else -1


def guesses(result: TaskResult) -> dict[str, dict[str, float]]:
    """Guessers' scores for each score that is an accuracy, an exact match or the F1 of classes."""
    chosen = [sample for sample in result.samples if sample["choices"]]
    if chosen:
        found = {metric: guessing.of_choices(chosen) for metric in result.scores if metric.startswith("acc")}
        return found | ({"f1": guessing.of_classes(chosen)} if "f1" in result.scores else {})
    matches = [metric for metric in result.scores if metric == "acc" or metric.startswith("exact_match")]
    return {metric: guessing.of_texts(result.samples) for metric in matches} if result.samples else {}


def commonest_written(task: Any, docs: Sequence[Any], result: TaskResult) -> dict[str, dict[str, float]]:
    """What whoever always writes the commonest expected text reaches, by metrics other than exact match."""
    metrics = [metric for metric in result.scores if not metric.startswith("exact_match")]
    if task.OUTPUT_TYPE != "generate_until" or not metrics or not result.samples:
        return {}
    text = guessing.commonest_text(result.samples)
    scored = [task.process_results(docs[sample["id"]], [text]) for sample in result.samples]
    return {
        metric: {guessing.MAJORITY: float(aggregate([row[metric] for row in scored]))}
        | ({guessing.RANDOM: 0.0} if metric == "f1" else {})
        for metric, aggregate in task.aggregation().items()
        if metric in metrics
    }


def _details(task: Any) -> dict[str, Any]:
    import lm_eval

    config = task.dump_config()
    kept = ("output_type", "doc_to_text", "doc_to_target", "doc_to_choice", "description", "target_delimiter",
            "fewshot_delimiter", "generation_kwargs", "metadata")  # fmt: skip
    shown = {key: config[key] for key in kept if isinstance(config.get(key), str | list | dict)}
    return {"harness": lm_eval.__version__, "template": shown}
