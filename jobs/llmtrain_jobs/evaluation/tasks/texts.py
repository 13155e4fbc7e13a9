"""Perplexity and bits per byte of given files, by the harness' rolling windows."""

import hashlib
import json
from pathlib import PurePosixPath

from llmtrain.api.evaluation import Task
from llmtrain.api.evaluationtasks import Perplexity
from llmtrain.storage.store import Store
from llmtrain_jobs.evaluation.tasks.catalogue import Part
from llmtrain_jobs.evaluation.tasks.rows import Fields, check_rows, malformed, read_rows, text

METRICS = [
    {"metric": "word_perplexity", "aggregation": "weighted_perplexity", "higher_is_better": False},
    {"metric": "byte_perplexity", "aggregation": "weighted_perplexity", "higher_is_better": False},
    {"metric": "bits_per_byte", "aggregation": "bits_per_byte", "higher_is_better": False},
]


def text_part(task: Task, perplexity: Perplexity, store: Store) -> Part:
    """All documents of the files as one task of the harness."""
    docs = [doc for file in perplexity.files for doc in documents(store, file, perplexity.text_field)]
    digest = hashlib.sha256(json.dumps(docs).encode()).hexdigest()
    config = {"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "text", "metric_list": METRICS,
              "metadata": {"version": 1.0, "sha256": digest}}  # fmt: skip
    return Part(task.name, config, docs, limit=task.limit)


def documents(store: Store, file: str, field: str) -> list[Fields]:
    """Each row's text, or the whole of a file that is no JSON lines."""
    with store.open(file) as lines:
        if PurePosixPath(file).suffix in (".jsonl", ".json"):
            rows = read_rows(file, lines)
            return check_rows(file, enumerate(rows, start=1), lambda row: {"text": text(row, field)})
        try:
            whole = lines.read().decode()
        except UnicodeDecodeError as error:
            raise malformed(file, f"is no UTF-8 ({error})") from error
    if not whole.strip():
        raise malformed(file, "it is empty")
    return [{"text": whole}]
