"""Checkpoints are scored while training goes on: which, when, with the stage's own numbers, held while they are read."""

import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from llmtrain_jobs.context import Context
from llmtrain_jobs.entrypoint.scratch import Scratch
from llmtrain_jobs.evaluation import setup
from llmtrain_jobs.evaluation.during import Watcher, settings
from llmtrain_jobs.evaluation.points import Point, PointFiles, curve, is_due, write_point
from llmtrain_jobs.model.transformer import Transformer
from llmtrain_jobs.training import export
from llmtrain_jobs.training.beside import Beside
from llmtrain_jobs.training.checkpoints import Archive, Checkpoint, Checkpoints, checkpoints_folder
from llmtrain_jobs.training.holds import held, hold
from llmtrain_jobs.training.retention import Retention
from tokenizers import Tokenizer
from torch.distributed.checkpoint import state_dict_loader

from llmtrain.api.status import Stage
from llmtrain.storage.errors import StorageError
from llmtrain.storage.store import Store
from tests.unit.jobs.evaluation.models import make_model, sentences
from tests.unit.jobs.evaluation.server import FakeTime, serving
from tests.unit.jobs.evaluation.world import TRAINING, World, make_world

KEY = TRAINING
TASKS = [{"name": "held-out", "perplexity": {}}, {"name": "other", "perplexity": {}, "limit": 2}]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizer: Tokenizer, model: Transformer) -> World:
    return make_world(tmp_path, monkeypatch, tokenizer, model)


def context_of(world: World, **during: Any) -> Context:
    evaluation = {"tasks": TASKS, "duringTraining": {"everyTokens": 1000, "tasks": ["held-out"]} | during}
    return replace(
        world.context(**evaluation),
        config=world.config(evaluation, Stage.TRAINING).model_copy(
            update={
                "spent_usd": "2.00",
                "micro_usd_per_hour": 3_600_000_000,
                "evaluator_micro_usd_per_hour": 36_000_000,
            }
        ),
    )


def watcher_of(context: Context, evaluator: int = 0, clock: Any = None) -> Watcher:
    times = iter(range(0, 10_000, 10))
    evaluation, during = settings(context.config)
    return Watcher(context, KEY, evaluation, during, evaluator, clock or (lambda: float(next(times))))


def save(world: World, model: Transformer, step: int, tokens: int, keep: int = 10, generation: int = 0) -> Checkpoint:
    """A checkpoint as training writes it, swept as training sweeps."""
    archive = Archive(world.store, KEY, Retention(keep), 1)
    tensors = {f"model/{name}": p.detach() for name, p in model.named_parameters()}
    facts = {"step": step, "tokens": tokens, "generation": generation, "regular": True}
    Checkpoints(archive, None, in_background=False).save(tensors, facts, now=True)
    found = archive.latest()
    assert found is not None
    return found


def points_of(world: World) -> list[Point]:
    return PointFiles(world.store, KEY).read()


def test_its_scores_are_those_of_the_evaluation_stage_on_the_same_weights(
    world: World, tokenizer: Tokenizer, model: Transformer
) -> None:
    save(world, model, 10, 1200)
    watcher_of(context_of(world)).look()
    (point,) = points_of(world)
    result = world.run(tasks=TASKS[:1])
    assert point.scores == result.scores
    assert (point.step, point.tokens, list(point.scores)) == (10, 1200, list(result.scores))
    assert "held-out/bits_per_byte" in point.lower_is_better


def test_other_weights_have_other_scores_and_only_the_newest_of_a_stretch_is_scored(
    world: World, tokenizer: Tokenizer, model: Transformer
) -> None:
    watcher = watcher_of(context_of(world))
    watcher.look()
    save(world, model, 5, 900)
    watcher.look()
    assert points_of(world) == [], "less than `everyTokens` were seen"
    save(world, model, 10, 1100)
    save(world, make_model(tokenizer.get_vocab_size(), seed=3), 20, 1900)
    watcher.look()
    save(world, model, 30, 1999)
    watcher.look()
    save(world, model, 40, 4100)
    watcher.look()
    found = points_of(world)
    assert [point.step for point in found] == [20, 40]
    assert found[0].scores != found[1].scores


CHOICES = [{"query": f"Question: {q}", "choices": ["aa", "b"], "gold": n % 2} for n, q in enumerate(sentences(6, 5))]
PROMPTS = [{"prompt": text, "reference": text.split()[-1]} for text in sentences(4, 40)]
JUDGED: dict[str, Any] = {
    "tasks": [
        {"name": "choices", "task": "arc_easy", "dataFile": "choices.jsonl"},
        {"name": "answers", "judge": {"mode": "Pairwise", "maxNewTokens": 4}, "dataFile": "prompts.jsonl"},
        {"name": "unasked", "perplexity": {}},
    ],
    "suites": [{"name": "both", "tasks": ["choices"]}],
    "duringTraining": {"everyTokens": 1000, "tasks": ["answers", "both"]},
}


def judged_context(world: World, url: str) -> Context:
    world.write("choices.jsonl", CHOICES)
    world.write("prompts.jsonl", PROMPTS)
    judge = {"baseUrl": url, "model": "large", "usdPerMillionPromptTokens": "2", "onUnavailable": "Skip"}
    evaluation = JUDGED | {"judge": judge}
    return replace(world.context(**evaluation), config=world.config(evaluation, Stage.TRAINING))


def test_what_is_judged_and_suites_are_scored_on_the_way_and_the_judge_s_dollars_told(
    world: World, model: Transformer
) -> None:
    save(world, model, 10, 1200)
    with serving() as server:
        context = judged_context(world, server.url)
        watcher_of(context).look()
        asked = len(server.asked)
    (point,) = points_of(world)
    assert set(point.scores) == {"answers/win_rate", "choices/acc", "choices/acc_norm", "both/centred", "both/average"}
    # The suite is what its task scored above chance, which is a half.
    centred = 2 * float(point.scores["choices/acc_norm"]) - 1
    assert float(point.scores["both/centred"]) == pytest.approx(centred, abs=2e-4)  # both are rounded to four digits
    # Two orders of four pairs; the server counts 100 tokens read each time.
    assert asked == 8
    assert float(point.endpoint_usd) == pytest.approx(8 * 100 * 2e-6)


def test_a_judge_that_is_away_costs_its_own_score_alone(
    world: World, model: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "timing_of", lambda context: FakeTime().timing)
    save(world, model, 10, 1200)
    watcher_of(judged_context(world, "http://127.0.0.1:9/v1")).look()
    (point,) = points_of(world)
    assert set(point.scores) == {"choices/acc", "choices/acc_norm", "both/centred", "both/average"}


def test_the_dollars_of_a_point_are_those_of_the_prices(world: World, model: Transformer) -> None:
    save(world, model, 10, 1200)
    watcher_of(context_of(world)).look()
    (point,) = points_of(world)
    # A clock that goes 10 s with every look; 1 $/s for the cluster, 1 cent for the evaluator.
    assert point.seconds == 10
    assert (float(point.spent_usd), float(point.evaluator_usd)) == (2.0, 0.1)


def test_the_checkpoint_that_is_read_is_kept_and_let_go_afterwards(
    world: World, model: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = save(world, model, 10, 1200)
    seen: list[bool] = []
    before = Watcher.results

    def results(self: Watcher, checkpoint: Checkpoint) -> Any:
        for step in (20, 30, 40):
            save(world, model, step, 1200 + step, keep=1)
        seen.append(world.store.exists(f"{first.folder}/COMPLETE"))
        return before(self, checkpoint)

    monkeypatch.setattr(Watcher, "results", results)
    watcher_of(context_of(world)).look()
    assert seen == [True]
    assert [point.step for point in points_of(world)] == [10]
    save(world, model, 50, 1290, keep=1)
    assert not world.store.exists(f"{first.folder}/COMPLETE")


def test_a_dead_evaluator_s_hold_is_taken_over_and_an_earlier_attempt_s_counts_no_more(world: World) -> None:
    base = checkpoints_folder(KEY)
    hold(world.store, base, 1, 0, "a")
    hold(world.store, base, 1, 1, "b")
    hold(world.store, base, 2, 0, "c")
    assert held(world.store, base, 1) == ["a", "b"]
    hold(world.store, base, 1, 0, "d")
    assert held(world.store, base, 1) == ["d", "b"]
    assert held(world.store, base, 2) == ["c"]
    assert held(world.store, base, 12) == []


def test_a_checkpoint_that_is_gone_is_passed_over_and_a_storage_that_fails_is_told(
    world: World, model: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = save(world, model, 10, 1200)
    watcher = watcher_of(context_of(world))

    def swept(checkpoint: Checkpoint) -> Any:
        world.store.remove(checkpoint.folder)
        return world.store.read(f"{checkpoint.folder}/x")

    monkeypatch.setattr(watcher, "results", swept)
    watcher.look()
    assert points_of(world) == []
    save(world, model, 20, 1300)
    monkeypatch.setattr(watcher, "results", lambda checkpoint: world.store.read("nothing"))
    with pytest.raises(StorageError):
        watcher.look()
    assert found.step == 10


@pytest.mark.parametrize("moment", ["before its mark is read", "while its data are read"])
def test_an_evaluator_whose_checkpoint_is_swept_takes_the_next(
    world: World, model: Transformer, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The first process sweeps just now. What the library for checkpoints raises then is no Exception at all."""
    first, archive = save(world, model, 10, 1200), Archive(world.store, KEY, Retention(10), 1)
    watcher, load, read = watcher_of(context_of(world)), state_dict_loader.load, Store.read

    def swept_load(*arguments: Any, **options: Any) -> None:
        archive.drop(first.folder)
        load(*arguments, **options)

    def swept_read(store: Store, name: str) -> bytes:
        if name == f"{first.folder}/COMPLETE":
            archive.drop(first.folder)
        return read(store, name)

    with monkeypatch.context() as during:
        if moment == "while its data are read":
            during.setattr(export, "load", swept_load)
        else:
            during.setattr(Store, "read", swept_read)
        watcher.look()
    assert not world.store.exists(f"{first.folder}/COMPLETE")
    assert points_of(world) == []
    save(world, model, 20, 1300)
    watcher.look()
    assert [point.step for point in points_of(world)] == [20]


def test_one_that_was_killed_between_tasks_does_not_score_a_task_again(
    world: World, model: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(world, model, 10, 1200)
    context = context_of(world, tasks=["held-out", "other"])
    watcher = watcher_of(context)
    runs: list[str] = []
    from llmtrain_jobs.evaluation.run import Runner

    before = Runner._compute

    def compute(self: Runner, task: Any, subject: Any) -> Any:
        runs.append(task.name)
        if task.name == "other" and runs.count("other") == 1:
            raise KeyboardInterrupt
        return before(self, task, subject)

    monkeypatch.setattr(Runner, "_compute", compute)
    with pytest.raises(KeyboardInterrupt):
        watcher.look()
    assert points_of(world) == []
    watcher_of(context).look()
    assert runs == ["held-out", "other", "other"]
    assert len(points_of(world)) == 1


def checkpoint(tokens: int, generation: int = 0) -> Checkpoint:
    return Checkpoint(f"c/step-{tokens}-a1", tokens, {"tokens": tokens, "generation": generation})


def point(tokens: int, bits: str = "2.5", generation: int = 0) -> Point:
    scores = {"held-out/bits_per_byte": bits}
    return Point(f"c/step-{tokens:08d}-a{generation}", tokens, tokens, generation, 1, scores)


def test_evaluators_take_stretches_in_turns() -> None:
    for tokens in range(0, 5000, 50):
        takers = [e for e in range(3) if is_due(checkpoint(tokens), [], 100, e, 3)]
        assert takers == ([] if tokens < 100 else [tokens // 100 % 3])


def test_a_roll_back_s_new_generation_is_scored_anew_and_replaces_what_it_undid() -> None:
    old = [point(100), point(200), point(300)]
    assert not is_due(checkpoint(350), old, 100, 0, 1)
    assert is_due(checkpoint(350, generation=1), old, 100, 0, 1)
    new = [*old, point(250, generation=1)]
    assert [(p.tokens, p.generation) for p in curve(new)] == [(100, 0), (200, 0), (250, 1)]


def beside_of(world: World, *require: dict[str, Any]) -> Beside:
    return Beside.of(context_of(world, require=list(require)), KEY)


def test_training_is_ended_by_a_missed_requirement_from_its_tokens_on(world: World) -> None:
    bound = {"metric": "held-out/bits_per_byte", "atMost": "2.5", "afterTokens": 500}
    beside, files = beside_of(world, bound), PointFiles(world.store, KEY)
    beside.look(files)
    assert (beside.below, beside.progress(), beside.metrics()) == ("", {}, {})
    write_point(world.store, KEY, point(400, "4.0000"))
    beside.look(files)
    assert beside.below == "", "too early to say"
    write_point(world.store, KEY, point(500, "2.5000"))
    beside.look(files)
    assert beside.below == ""
    assert beside.progress() == {"evaluated_tokens": 500, "scores": {"held-out/bits_per_byte": "2.5000"}}
    assert beside.metrics()["llmtrain_evaluation_score_held_out_bits_per_byte"] == 2.5
    write_point(world.store, KEY, point(600, "2.5001"))
    beside.look(files)
    assert "after 600 tokens" in beside.below
    assert "held-out/bits_per_byte is 2.5001, at most 2.5 is asked for" in beside.below


def test_a_requirement_that_cannot_be_judged_and_a_file_that_cannot_be_read_end_no_training(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    beside, over = beside_of(world, {"metric": "held-out/no_such", "atLeast": "1"}), threading.Event()
    write_point(world.store, KEY, point(600, "2.5"))
    beside.look(PointFiles(world.store, KEY))
    assert beside.below == ""
    assert "cannot be judged" in capsys.readouterr().out
    world.store.write(f"artifacts/training/{KEY}/evaluations/step-00000700-a1.json", b"{")
    waits = iter([False, True])
    monkeypatch.setattr(over, "wait", lambda timeout=None: next(waits))
    beside._follow(over)
    assert re.search("step-00000700-a1.json` is not what an evaluator writes", capsys.readouterr().out)


def test_a_job_without_evaluators_looks_at_nothing(world: World) -> None:
    beside = Beside.of(world.context(tasks=TASKS), KEY)
    before = threading.active_count()
    beside.follow(threading.Event())
    assert threading.active_count() == before


def test_the_page_draws_the_way_and_prices_each_point(world: World) -> None:
    write_point(world.store, KEY, replace(point(100, "4.0"), spent_usd="1.0", evaluator_usd="0.25"))
    write_point(world.store, KEY, replace(point(300, "3.5"), spent_usd="2.5"))
    result = world.run(tasks=TASKS[:1])
    page = (world.folder / f"artifacts/evaluation/{result.artifact}/report.html").read_text()
    assert 'id="curve-held-out-bits_per_byte"' in page
    # From 4.0 to 3.5 are 50 points of a hundredth for 1.50 dollars.
    assert "<td class=n>0.0300</td>" in page
    assert (world.folder / f"artifacts/evaluation/{result.artifact}/curve.json").exists()


def test_scratch_shows_what_is_being_scored(world: World, model: Transformer) -> None:
    context = context_of(world)
    save(world, model, 10, 1200)
    watcher_of(context).look()
    scratch: Scratch = context.scratch
    assert "llmtrain_evaluation_checkpoint_tokens 1200.0" in scratch.metrics()
    assert "held-out of step 10" in scratch.progress()
    assert torch.is_inference_mode_enabled() is False
