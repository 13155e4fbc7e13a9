"""Suites, gates and the held-out split against closed formulas."""

import math
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from llmtrain_jobs.errors import StageError
from llmtrain_jobs.evaluation.heldout import Document, bits_error, held_out_result, split_documents
from llmtrain_jobs.evaluation.requirements import Bars, check
from llmtrain_jobs.evaluation.results import TaskResult, combined
from llmtrain_jobs.evaluation.run import Runner
from llmtrain_jobs.evaluation.suites import all_tasks, suite_result
from tokenizers import Tokenizer

from llmtrain.api.evaluation import Against, Evaluation, Requirement, Suite
from llmtrain.api.status import Stage
from tests.unit.jobs.evaluation.models import make_lm, sentences
from tests.unit.jobs.evaluation.training import train

CLUSTER = {"planRef": {"name": "cpu"}}


def test_bits_per_byte_of_a_uniform_model_are_its_logarithm() -> None:
    """Each of 256 tokens a byte and equally likely: 8 bits a byte, perplexity 256."""
    documents = [Document(tuple(range(n)), n) for n in (100, 40)]
    result = held_out_result("held-out", [-math.log(256) * n for n in (100, 40)], documents)
    assert result.scores["bits_per_byte"] == pytest.approx(8)
    assert result.scores["token_perplexity"] == pytest.approx(256)
    assert result.errors["bits_per_byte"] == pytest.approx(0, abs=1e-9)


def test_the_error_of_bits_per_byte_is_the_spread_of_means_of_new_draws() -> None:
    random = np.random.default_rng(5)
    sizes = random.integers(50, 500, 2000)
    nats = sizes * random.normal(1.0, 0.2, 2000)
    documents = [Document((0,), int(size)) for size in sizes]
    draws = [random.integers(0, 2000, 2000) for _ in range(400)]
    means = [nats[d].sum() / math.log(2) / sizes[d].sum() for d in draws]
    assert bits_error(list(nats), documents) == pytest.approx(float(np.std(means)), rel=0.15)


def test_a_stream_is_cut_into_its_documents() -> None:
    stream, expected = np.array([5, 6, 0, 7, 0, 0, 8], dtype="<u2"), [((5, 6), 2), ((7,), 1), ((8,), 1)]
    for cut in range(len(stream) + 1):  # a document may go on in the next shard
        found = split_documents([stream[:cut], stream[cut:]], 0, len, "docs")
        assert [(d.tokens, d.size) for d in found] == expected
    assert {d.source for d in split_documents([stream], 0, len, "docs")} == {"docs"}


def test_a_limit_reads_the_shards_that_it_needs_and_gives_the_first_documents() -> None:
    generator, asked = np.random.default_rng(0), list[str]()
    shards = {
        f"validation/{source}/{n:05d}.bin": generator.integers(0, 50, 300).astype("<u2")
        for source in "ab"
        for n in range(4)
    }

    class Files:
        def manifest(self, kind: str, key: str) -> dict[str, Any]:
            return {"counts": {"dtype": "uint16", "end_of_text": 0}, "files": [{"name": name} for name in shards]}

        def read(self, name: str) -> bytes:
            asked.append(name.split("/", 3)[3])
            return shards[asked[-1]].tobytes()

    config = SimpleNamespace(artifacts={Stage.CURATION: "k"})
    judging = SimpleNamespace(tokenizer=SimpleNamespace(decode=lambda tokens, skip_special_tokens: "x" * len(tokens)))
    runner = Runner(cast(Any, config), cast(Any, Files()), cast(Any, None), cast(Any, judging))
    everything = runner._held_out(0)
    assert asked == sorted(shards)
    for limit in (1, 10, len(everything)):
        asked.clear()
        assert runner._held_out(limit) == everything[:limit]
        tokens = sum(len(document.tokens) + 1 for document in everything[:limit])
        assert len(asked) <= tokens // 300 + 2


def test_twice_the_training_has_fewer_bits_per_byte(tokenizer: Tokenizer) -> None:
    """Sentences that repeat each word: what there is to learn takes more than the first steps."""
    texts = [" ".join(word for word in text.split() for _ in range(2)) for text in sentences(300, 60)]
    held_out = [" ".join(word for word in text.split() for _ in range(2)) for text in sentences(20, 61)]
    bits = []
    for steps in (40, 80):
        lm = make_lm(tokenizer, train(tokenizer, texts, steps))
        documents = [Document(tuple(lm.tok_encode(text)), len(text.encode())) for text in held_out]
        result = held_out_result("held-out", lm.documents([d.tokens for d in documents]), documents)
        bits.append(result.scores["bits_per_byte"])
    assert bits[1] < bits[0] < 8


def test_a_preset_names_its_tasks_files_and_version() -> None:
    suite = {"name": "core", "preset": "Core", "dataFolder": "s3://data/benchmarks/", "limit": 7}
    evaluation = Evaluation.model_validate({"cluster": CLUSTER, "suites": [suite]})
    tasks = {task.name: task for task in all_tasks(evaluation)}
    assert tasks["core-arc-easy"].data_file == "s3://data/benchmarks/arc_easy.jsonl"
    assert (tasks["core-arc-easy"].few_shot, tasks["core-arc-easy"].limit) == (10, 7)
    results = {name: TaskResult(name, {"acc": 0.7, "acc_norm": 0.7, "exact_match": 0.7}, count=10) for name in tasks}
    found = suite_result(evaluation.suites[0], results)
    # Chances: 0.25 of five tasks with four answers, 0.5 of three with two, 0.62 of BoolQ, 0 of LAMBADA.
    expected = (4 * (0.45 / 0.75) + 3 * (0.2 / 0.5) + 0.08 / 0.38 + 0.7) / 9
    assert found.scores["centred"] == pytest.approx(expected)
    assert found.details["version"] == "core-1"


def test_a_suite_with_a_skipped_task_is_skipped_and_says_which() -> None:
    suite = Suite.model_validate({"name": "own", "tasks": ["a", "b"]})
    results = {"a": TaskResult("a", {"acc": 1.0}, primary="acc", count=1), "b": TaskResult("b", skipped="no judge")}
    assert suite_result(suite, results).skipped == "no scores of b"


def test_parts_are_weighted_by_their_questions() -> None:
    parts = [
        TaskResult("a", {"acc": 0.5}, {"acc": 0.1}, {"acc": True}, count=10),
        TaskResult("b", {"acc": 1.0}, {"acc": 0.2}, {"acc": True}, count=30),
    ]
    whole = combined("all", parts)
    assert whole.scores["acc"] == pytest.approx(0.875)
    assert whole.errors["acc"] == pytest.approx(math.hypot(0.25 * 0.1, 0.75 * 0.2))


BARS = Bars(
    own={"a/acc": "0.5000", "h/bits_per_byte": "1.2000"},
    others={Against.BASELINE: {"a/acc": "0.5100", "h/bits_per_byte": "1.1900"}, Against.CHANCE: {"a/acc": "0.2500"}},
    lower_is_better=frozenset({"h/bits_per_byte"}),
)


@pytest.mark.parametrize(
    ("gate", "problem"),
    [
        ({"metric": "a/acc", "atLeast": "0.5"}, ""),
        ({"metric": "a/acc", "atLeast": "0.5001"}, "a/acc is 0.5000, at least 0.5001 is asked for"),
        ({"metric": "h/bits_per_byte", "atMost": "1.2"}, ""),
        ({"metric": "h/bits_per_byte", "atMost": "1.1"}, "at most 1.1"),
        ({"metric": "a/acc", "noWorseThan": "Baseline"}, "no worse than `Baseline`, which has 0.5100"),
        ({"metric": "a/acc", "noWorseThan": "Baseline", "tolerance": "0.01"}, ""),
        ({"metric": "h/bits_per_byte", "noWorseThan": "Baseline"}, "at most 1.1900"),
        ({"metric": "h/bits_per_byte", "noWorseThan": "Baseline", "tolerance": "0.01"}, ""),
        ({"metric": "a/acc", "noWorseThan": "Chance"}, ""),
        ({"metric": "b/acc", "atLeast": "0"}, "this evaluation has no score `b/acc`; there are a/acc, h/bits_per_byte"),
        ({"metric": "h/bits_per_byte", "noWorseThan": "Chance"}, "`Chance` has no score `h/bits_per_byte`"),
    ],
)
def test_a_gate_is_open_or_says_what_is_missing(gate: dict[str, str], problem: str) -> None:
    requirement = Requirement.model_validate(gate)
    if not problem:
        check([requirement], BARS)
        return
    with pytest.raises(StageError) as error:
        check([requirement], BARS)
    assert problem in error.value.message


def test_every_gate_that_is_missed_is_named() -> None:
    gates = [{"metric": "a/acc", "atLeast": "0.9"}, {"metric": "h/bits_per_byte", "atMost": "1"}]
    with pytest.raises(StageError, match=r"a/acc is .*; h/bits_per_byte is") as error:
        check([Requirement.model_validate(gate) for gate in gates], BARS)
    assert error.value.reason == "EvaluationBelowThreshold"
