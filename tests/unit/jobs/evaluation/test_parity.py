"""Scores are those of lm-evaluation-harness' own Hugging Face backend on the same weights, in fp32."""

from typing import Any

import pytest
from llmtrain_jobs.evaluation.harness import run_parts
from llmtrain_jobs.evaluation.results import TaskResult
from llmtrain_jobs.evaluation.tasks.catalogue import Part, parts_of
from llmtrain_jobs.evaluation.tasks.rows import Fields
from llmtrain_jobs.evaluation.tasks.texts import METRICS
from llmtrain_jobs.model.transformer import Transformer
from tokenizers import Tokenizer

from llmtrain.api.evaluation import Task, TaskKind
from llmtrain.api.evaluationtasks import Perplexity, Template, TemplateKind
from tests.unit.jobs.evaluation.models import make_lm, sentences
from tests.unit.jobs.evaluation.peer import peer
from tests.unit.jobs.evaluation.rowsets import choice_rows

CLOSE = 2e-3
"""Nats by which the best two answers may differ where the choice does."""


@pytest.fixture(scope="module")
def theirs(tokenizer: Tokenizer, model: Transformer) -> Any:
    return peer(model, tokenizer, batch_size=8)


TASKS: dict[str, tuple[Task, list[Fields]]] = {
    "few-shot": (Task(name="few-shot", task=TaskKind.ARC_EASY, data_file="x", few_shot=2), choice_rows(20)),
    "longer-than-the-context": (Task(name="longer", task=TaskKind.ARC_EASY, data_file="x", few_shot=8), choice_rows(12)),
    "two-contexts": (
        Task(name="two-contexts", task=TaskKind.WINOGRANDE, data_file="x"),
        [
            {"sentence": f"the {s} because _ {t}", "option1": "bank", "option2": "the river", "answer": "2"}
            for s, t in zip(sentences(10, 7), sentences(10, 8), strict=True)
        ],
    ),
    "last-word": (
        Task(name="last-word", task=TaskKind.LAMBADA, data_file="x"),
        [{"text": text.removesuffix(".")} for text in sentences(20, 9)],
    ),
    "written": (
        Task(name="written", template=Template(kind=TemplateKind.GENERATION, max_new_tokens=16), data_file="x", few_shot=1),
        [{"query": f"{text} the", "target": "gold"} for text in sentences(8, 10)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(TASKS))
def test_scores_and_likelihoods_are_those_of_the_hugging_face_backend(
    name: str, tokenizer: Tokenizer, model: Transformer, theirs: Any
) -> None:
    task, rows = TASKS[name]
    ours, other = (run_parts(name, parts_of(task, rows, []), lm, 1234) for lm in (make_lm(tokenizer, model), theirs))
    assert_alike(ours, other)


def assert_alike(ours: TaskResult, other: TaskResult) -> None:
    for mine, their in zip(ours.samples, other.samples, strict=True):
        assert mine["prompt"] == their["prompt"]
        assert mine.get("answer") == their.get("answer")
        assert mine.get("lls", []) == pytest.approx(their.get("lls", []), abs=5e-4)
        best = sorted(their.get("lls", []), reverse=True)
        if len(best) > 1 and best[0] - best[1] > CLOSE:
            assert mine["predicted"] == their["predicted"]
    assert ours.scores == pytest.approx(other.scores, rel=1e-4)


def test_perplexity_and_bits_per_byte_of_documents_longer_than_the_context_are_theirs(
    tokenizer: Tokenizer, model: Transformer, theirs: Any
) -> None:
    docs = [{"text": " ".join(sentences(60, seed))} for seed in range(4)] + [{"text": "gold."}]
    assert max(len(tokenizer.encode(doc["text"]).ids) for doc in docs) > 2 * model.config.context
    task = Task(name="texts", perplexity=Perplexity(files=["x.jsonl"]))
    config = {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "text",
        "metric_list": METRICS,
    }
    ours, other = (
        run_parts(task.name, [Part("texts", config, docs)], lm, 1234) for lm in (make_lm(tokenizer, model), theirs)
    )
    assert ours.scores == pytest.approx(other.scores, rel=1e-4)
    assert ours.scores["bits_per_byte"] == pytest.approx(other.scores["bits_per_byte"], abs=5e-5)


def test_prompts_longer_than_the_context_are_cut_and_counted(tokenizer: Tokenizer, model: Transformer) -> None:
    task, rows = TASKS["longer-than-the-context"]
    lm = make_lm(tokenizer, model)
    run_parts("longer", parts_of(task, rows, []), lm, 1234)
    cuts = lm.cuts.take()
    assert cuts.requests > 0
    assert cuts.tokens >= cuts.requests
    assert lm.cuts.take().requests == 0
