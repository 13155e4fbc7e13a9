"""A model that computes no number has no score: not an argmax of nothing, not a crash, not a NaN in the files."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from llmtrain_jobs.errors import StageError
from llmtrain_jobs.evaluation.finite import exponential, is_whole, json_bytes, strict_json, whole
from llmtrain_jobs.evaluation.heldout import Document, held_out_result
from llmtrain_jobs.evaluation.points import Point
from llmtrain_jobs.evaluation.requirements import Bars, check
from llmtrain_jobs.evaluation.tasks.metrics import perplexity, weighted_perplexity
from llmtrain_jobs.preflight.stage import check_existing_scores
from llmtrain_jobs.training.beside import Beside
from tokenizers import Tokenizer

from llmtrain.api.duringtraining import EarlyRequirement
from llmtrain.api.evaluation import Against, Requirement
from llmtrain.api.stageconfig import FailureClass
from llmtrain.api.status import Stage
from tests.unit.jobs.evaluation.models import make_model, sentences
from tests.unit.jobs.evaluation.world import TRAINING, World, make_world

CHOICE = {"prompt": "{{text}}\nQueue:", "choices": "{{ ['billing', 'network'] }}", "answer": "{{queue}}"}
TASKS: dict[str, dict[str, Any]] = {
    "choices": {"name": "own", "dataFile": "rows.jsonl", "template": CHOICE},
    "written": {
        "name": "own",
        "dataFile": "rows.jsonl",
        "template": {"kind": "Generation", "prompt": "{{text}}", "answer": "{{queue}}"},
    },
    "held-out": {"name": "own", "perplexity": {}},
    "files": {"name": "own", "perplexity": {"files": ["rows.jsonl"]}},
}
METRICS = {"choices": "acc", "written": "exact_match", "held-out": "bits_per_byte", "files": "bits_per_byte"}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizer: Tokenizer) -> World:
    """The model's last norm has become NaN."""
    model = make_model(tokenizer.get_vocab_size())
    with torch.no_grad():
        dict(model.named_parameters())["norm.weight"].fill_(math.nan)
    made = make_world(tmp_path, monkeypatch, tokenizer, model)
    made.write("rows.jsonl", [{"text": text, "queue": "billing"} for text in sentences(3, 5)])
    return made


def strictly(data: bytes) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(data, parse_constant=refuse)


@pytest.mark.parametrize("kind", list(TASKS))
def test_a_model_of_nan_has_no_score_and_the_error_names_the_task(kind: str, world: World) -> None:
    result = world.run(tasks=[TASKS[kind]])
    assert (result.outcome, result.reason) == ("Failed", "ScoreNotFinite"), result.message
    assert "`own`" in result.message
    assert result.scores == {}
    found = strictly((world.folder / f"artifacts/evaluation/{result.artifact}/results.json").read_bytes())
    assert "not finite" in found["tasks"]["own"]["problem"]
    assert "not finite" in (world.folder / f"artifacts/evaluation/{result.artifact}/report.html").read_text()


@pytest.mark.parametrize("kind", list(TASKS))
@pytest.mark.parametrize("bound", [{"atMost": "9"}, {"atLeast": "0"}, {"noWorseThan": "Chance"}])
def test_a_requirement_on_it_is_missed_whatever_it_asks(kind: str, bound: dict[str, str], world: World) -> None:
    metric = f"own/{METRICS[kind]}"
    result = world.run(tasks=[TASKS[kind]], require=[{"metric": metric, **bound}])
    assert (result.failure_class, result.reason) == (FailureClass.BELOW_THRESHOLD, "EvaluationBelowThreshold")
    assert f"{metric} has no score: `own`" in result.message


def test_a_suite_of_it_has_no_score_either_and_preflight_tells_of_both(world: World) -> None:
    suite = {"name": "all", "tasks": ["own"]}
    gate = {"metric": "all/centred", "atLeast": "0"}
    result = world.run(tasks=[TASKS["choices"]], suites=[suite], require=[gate])
    assert result.reason == "EvaluationBelowThreshold"
    assert "`all`: no scores of own" in result.message
    keys = {Stage.TRAINING: TRAINING, Stage.EVALUATION: result.artifact}
    with pytest.raises(StageError, match="`own`: log-likelihoods are not finite"):
        check_existing_scores(world.context(tasks=[TASKS["choices"]], suites=[suite]), keys)


def test_training_ends_at_a_checkpoint_whose_required_score_is_not_finite(world: World) -> None:
    gate = EarlyRequirement.model_validate({"metric": "own/acc", "atLeast": "0.1"})
    point = Point("checkpoints/step-1", 1, 1000, 0, 1, {}, problems={"own": "`own`: log-likelihoods are not finite"})
    assert "own/acc has no score" in Beside(world.store, TRAINING, None, [gate]).missed(point)
    other = EarlyRequirement.model_validate({"metric": "other/acc", "atLeast": "0.1"})
    assert Beside(world.store, TRAINING, None, [other]).missed(point) == "", "nobody said that it would be scored"


@pytest.mark.parametrize("side", [Against.BASELINE, Against.REFERENCE])
def test_a_bound_that_is_no_number_is_not_kept(side: Against) -> None:
    """An earlier version stored `nan` as a score; a reference may have none."""
    gate = Requirement.model_validate({"metric": "own/acc", "noWorseThan": side.value})
    for bars in (
        Bars({"own/acc": "0.5"}, {side: {"own/acc": "nan"}}),
        Bars({"own/acc": "0.5"}, {side: {}}, other_problems={side: {"own": "it is not finite"}}),
        Bars({"own/acc": "nan"}, {side: {"own/acc": "0.5"}}),
    ):
        with pytest.raises(StageError, match="own/acc has no score: it is") as error:
            check([gate], bars)
        assert error.value.failure is FailureClass.BELOW_THRESHOLD


def test_a_perplexity_beyond_all_numbers_is_left_out_and_the_bits_stay(world: World, tokenizer: Tokenizer) -> None:
    """A page without blanks is one word of thousands of characters: e to the power of its nats is no float."""
    assert exponential(1000.0) == math.inf
    assert (perplexity([-1000.0]), weighted_perplexity([(-5000.0, 1.0)])) == (math.inf, math.inf)
    sound = make_world(world.folder / "sound", world.monkeypatch, tokenizer, make_model(tokenizer.get_vocab_size()))
    sound.write("page.jsonl", [{"text": "".join(sentences(60, 3)).replace(" ", "")}])
    task = {"name": "page", "perplexity": {"files": ["page.jsonl"]}}
    result = sound.run(tasks=[task])
    assert result.outcome == "Succeeded", result.message
    assert "page/bits_per_byte" in result.scores
    assert "page/word_perplexity" not in result.scores
    missed = sound.run(tasks=[task], require=[{"metric": "page/word_perplexity", "atMost": "9"}])
    assert "page/word_perplexity has no score: more than a floating-point number holds" in missed.message


def test_held_out_documents_of_no_number_or_none_at_all_are_told() -> None:
    with pytest.raises(StageError, match="not finite"):
        held_out_result("held-out", [math.nan], [Document((1,), 1)])
    with pytest.raises(StageError, match="`held-out`: the held-out split has no documents"):
        held_out_result("held-out", [], [])


def test_json_is_strict_and_half_a_surrogate_pair_stays_an_escape() -> None:
    assert strictly(strict_json({"a": [1.5, math.nan, (math.inf,)]}).encode()) == {"a": [1.5, None, [None]]}
    line = json_bytes({"text": "caf\u00e9 \u2028 \ud83d"})
    assert "\u2028" in line.decode()
    assert strictly(line) == {"text": "caf\u00e9 \u2028 \ud83d"}
    assert (whole("a\ud83db"), whole("a\ud83d\ude00b")) == ("a\ufffdb", "a\U0001f600b")
    assert (is_whole("\U0001f600"), is_whole("\ude00")) == (True, False)
