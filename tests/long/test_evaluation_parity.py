"""Parity with lm-evaluation-harness' Hugging Face backend: a trained model, exported, on real benchmark files.

The files are those of the shared data folder, every question of them unless LLMTRAIN_PARITY_QUESTIONS says how many of
a file; where the folder is missing, `tests/unit/jobs/evaluation/test_parity.py` makes the same comparison on rows of its own.
"""

import os
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from llmtrain_jobs.curation.tokens import train_tokenizer
from llmtrain_jobs.evaluation.harness import prepare, run_parts
from llmtrain_jobs.evaluation.inputs import row_converter
from llmtrain_jobs.evaluation.results import TaskResult
from llmtrain_jobs.evaluation.tasks.catalogue import Part, parts_of
from llmtrain_jobs.evaluation.tasks.rows import Fields, check_rows, read_rows
from llmtrain_jobs.evaluation.tasks.texts import METRICS
from llmtrain_jobs.model.export import Words, write_folder
from tokenizers import Tokenizer

from llmtrain.api.evaluation import Task, TaskKind
from llmtrain.api.evaluationtasks import Perplexity, Template, TemplateKind
from tests.unit.jobs.evaluation.models import make_lm
from tests.unit.jobs.evaluation.training import train

FOLDER = Path(__file__).resolve().parents[3] / "shared/data/benchmarks"
CLOSE = 2e-3
QUESTIONS = int(os.environ.get("LLMTRAIN_PARITY_QUESTIONS", "0"))  # 0: all
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="the shared benchmark files are not here")

KINDS = {
    "arc_easy": (TaskKind.ARC_EASY, 5), "arc_challenge": (TaskKind.ARC_CHALLENGE, 0), "piqa": (TaskKind.PIQA, 0),
    "winogrande": (TaskKind.WINOGRANDE, 0), "winograd_wsc": (TaskKind.WINOGRANDE, 0), "boolq": (TaskKind.BOOLQ, 0),
    "openbook_qa": (TaskKind.OPENBOOKQA, 0), "copa": (TaskKind.COPA, 0), "lambada_openai": (TaskKind.LAMBADA, 0),
    "gsm8k": (TaskKind.GSM8K, 0), "fiqa_post": (TaskKind.FIQA, 2),
}  # fmt: skip
OWN = {
    "siqa": Template(), "commonsense_qa": Template(), "bigbench_misconceptions": Template(),
    "enterprise_pii_classification": Template(),
    "jeopardy_all": Template(kind=TemplateKind.CONTINUATION, prompt="{{context}}\nAnswer:", answer="{{continuation}}"),
    "pubmed_qa_labeled": Template(kind=TemplateKind.CONTINUATION, prompt="{{context}}", answer="{{continuation}}"),
}  # fmt: skip


def rows_of(name: str) -> list[Fields]:
    with (FOLDER / f"{name}.jsonl").open("rb") as lines:
        return read_rows(name, lines)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """Ours, and theirs over the export of the same model."""
    prepare(needs_hub=False)
    torch.set_num_threads(1)  # Two only wait for each other on a model this small, the more so on a busy machine.
    texts = [str(row.get("query") or row.get("context") or "") for name in (*KINDS, *OWN) for row in rows_of(name)]
    tokenizer: Tokenizer = train_tokenizer(texts, 1024)
    model = train(tokenizer, texts, 150, embedding=64, feed_forward=128, context=512)
    folder = tmp_path_factory.mktemp("export") / "model"
    write_folder(folder, model.config, model.state_dict(), Words(tokenizer, 0), "")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lm_eval.models.huggingface import HFLM

        theirs = HFLM(pretrained=str(folder), backend="causal", device="cpu", dtype="float32", batch_size=8)
    return make_lm(tokenizer, model, 4096), theirs


def task_of(name: str) -> Task:
    label = name.replace("_", "-")
    if name in OWN:
        return Task(name=label, template=OWN[name], data_file=name, limit=QUESTIONS)
    kind, shots = KINDS[name]
    return Task(name=label, task=kind, data_file=name, few_shot=shots, limit=QUESTIONS)


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", [*KINDS, *OWN])
def test_scores_are_theirs_but_for_answers_that_are_almost_alike(
    name: str, both: tuple[Any, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    task = task_of(name)
    docs = check_rows(name, enumerate(rows_of(name), start=1), row_converter(task))
    ours, theirs = (run_parts(task.name, parts_of(task, docs, []), lm, 1234) for lm in both)
    flipped = differing(ours, theirs)
    with capsys.disabled():
        print(f"\n{name}: {ours.count} questions, {ours.scores}, {theirs.scores}, differing items {flipped}")
    for metric, value in ours.scores.items():
        allowed = len(flipped) / ours.count if metric.startswith(("acc", "f1")) else 1e-4 * abs(theirs.scores[metric])
        assert abs(value - theirs.scores[metric]) <= allowed + 1e-9


def differing(ours: TaskResult, theirs: TaskResult) -> list[int]:
    """Items with another best answer; each must have its best two closer than CLOSE."""
    found = []
    for mine, other in zip(ours.samples, theirs.samples, strict=True):
        assert mine["prompt"] == other["prompt"]
        assert mine.get("answer") == other.get("answer")
        if mine.get("predicted") != other.get("predicted") or mine.get("acc_norm") != other.get("acc_norm"):
            best = sorted(other["lls"], reverse=True)
            assert best[0] - best[1] < CLOSE or mine.get("predicted") == other.get("predicted")
            found.append(mine["id"])
    return found


@pytest.mark.timeout(7200)
def test_perplexity_and_bits_per_byte_are_theirs(both: tuple[Any, Any], capsys: pytest.CaptureFixture[str]) -> None:
    docs = [{"text": row["context"]} for row in rows_of("pubmed_qa_labeled")[: QUESTIONS or None]]
    config = {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "text",
        "metric_list": METRICS,
    }
    task = Task(name="texts", perplexity=Perplexity(files=["x.jsonl"]))
    ours, theirs = (run_parts(task.name, [Part("texts", config, docs)], lm, 1234) for lm in both)
    with capsys.disabled():
        print(f"\nperplexity: {ours.scores} {theirs.scores}")
    assert ours.scores == pytest.approx(theirs.scores, rel=1e-4)
    assert f"{ours.scores['bits_per_byte']:.4f}" == f"{theirs.scores['bits_per_byte']:.4f}"
