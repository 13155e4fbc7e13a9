"""The stage from manifest to result: what is stored, what is asked for, what a bad file says."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from llmtrain_jobs.errors import StageError
from llmtrain_jobs.evaluation.worker import load
from llmtrain_jobs.model.transformer import Transformer
from llmtrain_jobs.preflight.stage import check_existing_scores, check_tasks
from tokenizers import Tokenizer

from llmtrain.api.stageconfig import FailureClass
from llmtrain.api.status import Stage
from tests.unit.jobs.evaluation.models import sentences
from tests.unit.jobs.evaluation.world import TRAINING, World, make_world

CHOICES = [
    {"query": f"Question: {q}", "choices": sentences(4, 100 + n), "gold": n % 4} for n, q in enumerate(sentences(12, 5))
]
HELD_OUT = {"name": "held-out", "perplexity": {}}
ARC = {"name": "choices", "task": "arc_easy", "dataFile": "benchmarks/choices.jsonl"}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizer: Tokenizer, model: Transformer) -> World:
    made = make_world(tmp_path, monkeypatch, tokenizer, model)
    made.write("benchmarks/choices.jsonl", CHOICES)
    return made


def test_the_worker_loads_the_trained_model(world: World, model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMTRAIN_STORAGE", str(world.folder))
    loaded = load(json.dumps(world.config({"tasks": [HELD_OUT]}).to_dict()))
    tokens = torch.arange(20).unsqueeze(0)
    assert torch.equal(loaded.model(tokens), model(tokens))


def test_scores_are_named_by_task_and_metric_and_everything_is_kept(world: World) -> None:
    result = world.run(tasks=[HELD_OUT, ARC])
    assert result.outcome == "Succeeded", result.message
    assert {"held-out/bits_per_byte", "held-out/unigram_bits_per_byte", "choices/acc", "choices/acc_norm"} <= set(
        result.scores
    )
    folder = world.folder / "artifacts/evaluation" / result.artifact
    assert len((folder / "samples/choices.jsonl").read_text().splitlines()) == len(CHOICES)
    found = world.results(result.artifact)
    assert found["tasks"]["choices"]["guessing"]["acc"]["random"] == 0.25
    assert found["tasks"]["choices"]["details"]["harness"]
    (model,) = sorted((world.folder / "artifacts/training" / TRAINING).glob("*.pt"))
    listed = f"{hashlib.sha256(model.read_bytes()).hexdigest()}  {model.name}\n"  # as sha256sum prints it
    assert found["model"]["sha256"] == hashlib.sha256(listed.encode()).hexdigest()
    assert found["tasks"]["held-out"]["parts"].keys() == {"one", "two"}
    page = (folder / "report.html").read_text()
    assert "choices" in page
    assert "http" not in page.replace("http-equiv", ""), "the page loads nothing"


def test_held_out_bits_are_the_models_own_loss(world: World, model: Transformer, tokenizer: Tokenizer) -> None:
    """Documents shorter than the context: one causal pass each, end-of-text before it."""
    nats, size = 0.0, 0
    for text in [*sentences(6, 20, 20, 60), *sentences(4, 21, 20, 60)]:
        ids = torch.tensor([[0, *tokenizer.encode(text).ids]])[:, : model.config.context + 1]
        with torch.inference_mode():
            nats += float(torch.nn.functional.cross_entropy(model(ids[:, :-1])[0], ids[0, 1:], reduction="sum"))
        size += len(text.encode())
    result = world.run(tasks=[HELD_OUT])
    assert float(result.scores["held-out/bits_per_byte"]) == pytest.approx(nats / math.log(2) / size, abs=1e-4)


def test_a_second_run_computes_nothing_and_another_task_only_itself(world: World) -> None:
    first = world.run(tasks=[HELD_OUT, ARC])
    forbid_computing(world)
    assert world.run(tasks=[HELD_OUT, ARC]).artifact == first.artifact
    renewed = world.run(tasks=[HELD_OUT])
    assert renewed.artifact != first.artifact
    assert renewed.scores["held-out/bits_per_byte"] == first.scores["held-out/bits_per_byte"]
    with pytest.raises(AssertionError, match="computed"):
        world.run(tasks=[HELD_OUT, ARC | {"name": "other"}])


def forbid_computing(world: World) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("computed")

    world.monkeypatch.setattr("llmtrain_jobs.evaluation.backend.score", fail)


def test_a_score_below_the_requirement_fails_and_keeps_everything(world: World) -> None:
    result = world.run(tasks=[HELD_OUT, ARC], require=[{"metric": "choices/acc", "atLeast": "0.9"}])
    assert (result.failure_class, result.reason) == (FailureClass.BELOW_THRESHOLD, "EvaluationBelowThreshold")
    assert "choices/acc is" in result.message
    assert "at least 0.9" in result.message
    assert "held-out/bits_per_byte" in result.scores
    assert (world.folder / "artifacts/evaluation" / result.artifact / "manifest.json").exists()


def test_preflight_tells_of_a_requirement_that_an_existing_evaluation_misses(world: World) -> None:
    done = world.run(tasks=[ARC])
    missed = world.context(tasks=[ARC], require=[{"metric": "choices/acc", "atLeast": "1"}])
    keys = {Stage.TRAINING: TRAINING, Stage.EVALUATION: done.artifact}
    with pytest.raises(StageError, match=r"choices/acc is"):
        check_existing_scores(missed, keys)
    check_existing_scores(world.context(tasks=[ARC], require=[{"metric": "choices/acc", "atLeast": "0"}]), keys)


def test_a_stored_task_is_read_back_whatever_its_texts_hold(world: World) -> None:
    """JSON leaves Unicode's line separators as they are, and a restarted evaluation reads what it had stored."""
    rows = [CHOICES[0] | {"query": "Question: one\u2028two\u2029three\u0085four"}, *CHOICES[1:]]
    world.write("benchmarks/choices.jsonl", rows)
    first, again = world.run(tasks=[ARC]), world.run(tasks=[ARC, HELD_OUT])
    assert (first.outcome, again.outcome) == ("Succeeded", "Succeeded"), again.message
    assert first.scores["choices/acc"] == again.scores["choices/acc"]


def test_a_score_is_held_against_an_earlier_evaluation_and_against_chance(world: World) -> None:
    base = world.run(tasks=[ARC])
    value = float(base.scores["choices/acc"])
    baseline = {"artifact": base.artifact}
    gate = {"metric": "choices/acc", "noWorseThan": "Baseline"}
    assert world.run(tasks=[ARC], baseline=baseline, require=[gate]).outcome == "Succeeded"
    above = {"metric": "choices/acc", "noWorseThan": "Chance", "tolerance": "0"}
    assert (world.run(tasks=[ARC], require=[above]).outcome == "Succeeded") == (value >= 0.25)
    unknown = world.run(tasks=[ARC], baseline={"artifact": "0" * 16}, require=[gate])
    assert (unknown.failure_class, unknown.reason) == (FailureClass.BAD_INPUT, "NoBaseline")


BAD_FILES: dict[str, tuple[list[Any], str]] = {
    "no JSON": ([CHOICES[0], "{"], "line 2: is no JSON"),
    "no object": ([[1, 2]], "line 1: must be a JSON object"),
    "no choices": (
        [CHOICES[0], {"query": "q", "choices": [], "gold": 0}],
        "line 2: `choices` must be a list of at least 2",
    ),
    "empty choice": (
        [{"query": "q", "choices": ["a", " "], "gold": 0}],
        "line 1: `choices` has an entry that is empty",
    ),
    "gold out of range": ([CHOICES[0], {"query": "q", "choices": ["a", "b"], "gold": 2}], "an index from 0 to 1"),
    "gold is text": ([{"query": "q", "choices": ["a", "b"], "gold": "b"}], "`gold` is 'b'"),
    "no query": ([{"query": "", "choices": ["a", "b"], "gold": 0}], "`query` must be a text"),
    "empty file": ([], "has no rows"),
}


@pytest.mark.parametrize("name", list(BAD_FILES))
def test_a_bad_file_is_named_with_its_line_before_anything_is_computed(name: str, world: World) -> None:
    rows, expected = BAD_FILES[name]
    world.write("benchmarks/choices.jsonl", rows)
    forbid_computing(world)
    result = world.run(tasks=[ARC])
    assert result.failure_class is FailureClass.BAD_INPUT
    assert "`benchmarks/choices.jsonl`" in result.message
    assert expected in result.message
    with pytest.raises(StageError, match=r"choices\.jsonl"):
        check_tasks(world.context(tasks=[ARC]))


def test_a_file_that_is_missing_is_told_by_preflight(world: World) -> None:
    from llmtrain.storage.errors import StorageError

    with pytest.raises(StorageError, match=r"nowhere\.jsonl"):
        check_tasks(world.context(tasks=[ARC | {"dataFile": "nowhere.jsonl"}]))


def test_more_examples_than_rows_are_refused(world: World) -> None:
    result = world.run(tasks=[ARC | {"fewShot": 12}])
    assert result.failure_class is FailureClass.BAD_INPUT
    assert "`fewShot` is 12, but there are 11 other rows" in result.message


def test_a_template_of_ones_own_needs_no_code(world: World) -> None:
    world.write("own.jsonl", [{"q": q, "right": "gold", "wrong": ["oil", "gas"]} for q in sentences(5, 8)])
    template = {"prompt": "{{q}} is", "choices": "{{ [right] + wrong }}", "answer": "{{right}}"}
    result = world.run(tasks=[{"name": "own", "template": template, "dataFile": "own.jsonl", "fewShot": 1}])
    assert result.outcome == "Succeeded", result.message
    sample = json.loads(
        (world.folder / "artifacts/evaluation" / result.artifact / "samples/own.jsonl").read_text().splitlines()[0]
    )
    assert sample["choices"] == [" gold", " oil", " gas"]
    assert sample["prompt"].endswith(f"{sentences(5, 8)[0]} is")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ({"prompt": "{{nothing}}"}, "`template.prompt` cannot be rendered: 'nothing' is undefined"),
        ({"prompt": "{{q"}, "`template.prompt` is no Jinja template"),
        ({"prompt": "{{ q.__class__.__mro__ }}"}, "unsafe"),
        ({"prompt": "{{q}}", "choices": "no list"}, "`template.choices` must be a list"),
    ],
)
def test_a_bad_template_is_named(template: dict[str, str], expected: str, world: World) -> None:
    world.write("own.jsonl", [{"q": "why"}])
    result = world.run(tasks=[{"name": "own", "template": template, "dataFile": "own.jsonl"}])
    assert result.failure_class is FailureClass.BAD_INPUT
    assert expected in result.message


def test_files_of_text_are_measured(world: World) -> None:
    world.write("texts.jsonl", [{"text": text} for text in sentences(5, 30)])
    result = world.run(tasks=[{"name": "texts", "perplexity": {"files": ["texts.jsonl"]}}])
    assert {"texts/bits_per_byte", "texts/word_perplexity", "texts/byte_perplexity"} <= set(result.scores)


def test_a_suite_is_the_mean_of_centred_scores(world: World) -> None:
    result = world.run(
        tasks=[ARC, ARC | {"name": "again", "limit": 5}], suites=[{"name": "own", "tasks": ["choices", "again"]}]
    )
    scores = [float(result.scores[f"{name}/acc_norm"]) for name in ("choices", "again")]
    expected = sum((score - 0.25) / 0.75 for score in scores) / 2
    assert float(result.scores["own/centred"]) == pytest.approx(expected, abs=2e-4)


def test_names_that_occur_twice_are_refused(world: World) -> None:
    result = world.run(tasks=[HELD_OUT, HELD_OUT])
    assert "held-out occurs twice" in result.message
