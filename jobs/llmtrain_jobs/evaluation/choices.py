"""Multiple-choice tasks from local files, run by lm-evaluation-harness."""

import json
import os
from pathlib import Path
from typing import Any

from llmtrain.api.evaluation import Task
from llmtrain_jobs.errors import bad_input


def task_config(name: str, data: Path, few_shot: int) -> dict[str, Any]:
    """The harness' task, in ARC's published form: the question, then each choice's text as continuation."""
    return {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "output_type": "multiple_choice",
        "test_split": "test",
        "fewshot_split": "test",
        "num_fewshot": few_shot,
        "doc_to_text": "{{query}}",
        "doc_to_target": "{{gold}}",
        "doc_to_choice": "{{choices}}",
        "metric_list": [
            {"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in ("acc", "acc_norm")
        ],
    }


def run_task(task: Task, data: Path, lm: Any, seed: int) -> dict[str, float]:
    """Scores of one task."""
    check_data(task, data)
    # The harness looks for hubs when it is imported unless it is told that there are none.
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    import lm_eval
    from lm_eval.tasks import TaskManager

    results = lm_eval.simple_evaluate(
        model=lm,
        tasks=[task_config(task.name, data, task.few_shot)],
        task_manager=TaskManager(include_defaults=False),
        limit=task.limit or None,
        random_seed=seed,
        bootstrap_iters=0,
        log_samples=False,
    )
    found = results["results"][task.name]
    return {
        key.split(",")[0]: float(value) for key, value in found.items() if key.startswith("acc") and "stderr" not in key
    }


def check_data(task: Task, data: Path) -> None:
    """The file is what the task's kind says."""
    with data.open() as lines:
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
                choices, gold = record["choices"], record["gold"]
            except (ValueError, KeyError, TypeError) as error:
                raise bad_input(
                    f"`{task.data_file}` line {number}: needs query, choices and gold ({error!r})"
                ) from error
            if not 0 <= int(gold) < len(choices):
                raise bad_input(f"`{task.data_file}` line {number}: `gold` must be an index of `choices`")
