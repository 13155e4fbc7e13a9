"""Injected trouble: each policy recovers, and the ledger says exactly what happened, also after a kill in between."""

import functools
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from llmtrain_jobs.training.loop import Step, Stopped, Trainer
from llmtrain_jobs.training.stability import Entry, SkipLedger, StabilityPlan, Trouble, Watch, diagnose, threshold
from llmtrain_jobs.training.stream import Batch

from llmtrain.api.training import Reaction
from tests.unit.training.harness import KEY, Setup, heard, listener, same, trainer, weights, write_shards

WATCHFUL = StabilityPlan(window=4, sigma=100.0)
Poison = Callable[[Batch], bool]


def poisoned(made: Trainer, bad: Poison, factor: float) -> Trainer:
    """Gradients and loss of batches that `bad` knows are multiplied: by NaN, or by much. The data is at fault, not the step."""
    honest = made.parts.engine.accumulate

    def accumulate(batch: Batch, valid: int, micro_batches: int) -> torch.Tensor:
        sums = honest(batch, valid, micro_batches)
        if bad(batch):
            for parameter in made.parts.optimizers.parameters:
                assert parameter.grad is not None
                parameter.grad.mul_(factor)
            sums = sums * factor
        return sums

    pytest.MonkeyPatch().setattr(made.parts.engine, "accumulate", accumulate)  # for as long as this trainer lives
    return made


def batch_of_step(setup: Setup, number: int) -> Poison:
    """Recognises the batch that step `number` (from 0) sees in a run without trouble."""
    fresh = trainer(replace(setup, folder=setup.folder))
    stream = fresh.parts.stream
    for earlier in range(number):
        stream.advance(setup.timeline.shape(earlier))
    shape = setup.timeline.shape(number)
    tokens = stream.share(stream.advance(shape), shape, 0, 1).tokens
    return lambda batch: batch.tokens.shape == tokens.shape and bool((batch.tokens == tokens).all())


def ledger_lines(setup: Setup) -> list[dict[str, object]]:
    text = (setup.folder / "artifacts" / "training" / KEY / "stability.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("factor", [math.nan, math.inf, 1e4])
def test_a_bad_batch_is_skipped_and_nothing_of_it_stays(setup: Setup, factor: float) -> None:
    setup = replace(setup, stability=WATCHFUL)
    made = poisoned(trainer(setup), batch_of_step(setup, 6), factor)
    before: list[dict[str, torch.Tensor]] = []
    listener(made).after_step = lambda step: before.append(weights(made)) if step.number in (6, 7) else None
    assert made.run()
    assert same(*before)
    assert [s.reaction for s in heard(made)].count(Reaction.SKIP_STEP) == 1
    assert [(line["step"], line["reaction"]) for line in ledger_lines(setup)] == [(6, "SkipStep")]
    assert all(torch.isfinite(value).all() for value in weights(made).values())


def test_a_spike_lowers_the_rate_from_then_on(setup: Setup) -> None:
    setup = replace(setup, stability=replace(WATCHFUL, on_spike=Reaction.LOWER_RATE))
    plain = trainer(setup)
    made = poisoned(trainer(replace(setup, attempt=2)), batch_of_step(setup, 6), 1e4)
    made.run()
    rates = [step.learning_rate_factor for step in heard(made)]
    expected = [plain.parts.rates.factor(setup.timeline.tokens_before(n)) for n in range(12)]
    assert rates[:6] == expected[:6]
    assert rates[6:] == pytest.approx([rate / 2 for rate in expected[6:]])


def test_a_roll_back_goes_to_the_checkpoint_and_leaves_the_data_since_out(setup: Setup) -> None:
    """Trouble at step 6 after a checkpoint at 4: the run equals one whose data never had batches 4 to 6."""
    setup = replace(setup, stability=replace(WATCHFUL, on_spike=Reaction.ROLL_BACK))
    made = poisoned(trainer(setup), batch_of_step(setup, 6), 1e4)
    assert made.run()
    assert [s.number for s in heard(made)] == [1, 2, 3, 4, 5, 6, 7, 5, 6, 7, 8, 9, 10, 11, 12]
    assert [(e["step"], e["back_to"], e["generation"]) for e in ledger_lines(setup)] == [(6, 4, 0)]
    assert same(weights(made), weights(without(setup, 4, 6)))


def without(setup: Setup, first: int, last: int) -> Trainer:
    """A run by hand that leaves the batches `first` to `last` out."""
    folder = setup.folder / "by-hand"
    folder.mkdir()
    write_shards(folder)
    made = trainer(replace(setup, folder=folder))
    shapes = [setup.timeline.shape(number) for number in range(first, last + 1)]

    def leave_out(step: Step) -> None:
        if step.number == first:
            for shape in shapes:
                made.parts.stream.advance(shape)

    listener(made).after_step = leave_out
    made.run()
    return made


KILLS = [(Reaction.ROLL_BACK, 5), (Reaction.ROLL_BACK, 7), (Reaction.ROLL_BACK, 8), (Reaction.ROLL_BACK, 10),
         (Reaction.SKIP_STEP, 7), (Reaction.SKIP_STEP, 8), (Reaction.LOWER_RATE, 7), (Reaction.LOWER_RATE, 8)]  # fmt: skip


class Killed(Exception):
    pass


def reacting(folder: Path, reaction: Reaction, kills: list[int]) -> Trainer:
    """A run in which step 7 goes wrong, to its end; killed after so many steps, of all its attempts together."""
    write_shards(folder)
    setup = replace(Setup(folder), stability=replace(WATCHFUL, on_spike=reaction))
    bad, done = batch_of_step(setup, 6), 0
    for attempt in range(1, 5):
        made = poisoned(trainer(replace(setup, attempt=attempt)), bad, 1e4)

        def kill(_: Step) -> None:
            nonlocal done
            done += 1
            if kills and done == kills[0]:
                kills.pop()
                raise Killed

        listener(made).after_step = kill
        try:
            made.run()
        except Killed:
            made.parts.checkpoints.wait()
            continue
        assert len(ledger_lines(setup)) == 1
        return made
    raise AssertionError("never finished")


@pytest.fixture(scope="module")
def without_a_kill(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Reaction], Trainer]:
    """The run to compare with, one for each reaction."""
    return functools.cache(lambda reaction: reacting(tmp_path_factory.mktemp("whole"), reaction, []))


@pytest.mark.parametrize(("reaction", "kill_after"), KILLS)
def test_a_reaction_survives_a_kill_before_at_and_after_it(
    tmp_path: Path, without_a_kill: Callable[[Reaction], Trainer], reaction: Reaction, kill_after: int
) -> None:
    """Step 7 goes wrong; a kill comes after so many steps. Weights, data and ledger are those of a run without a kill."""
    whole, killed = without_a_kill(reaction), reacting(tmp_path, reaction, [kill_after])
    assert killed.parts.ledger.entries == whole.parts.ledger.entries
    assert killed.parts.stream.digest == whole.parts.stream.digest
    assert same(weights(killed), weights(whole))


def test_stop_says_where_and_what(setup: Setup) -> None:
    setup = replace(setup, stability=replace(WATCHFUL, on_non_finite=Reaction.STOP))
    with pytest.raises(Stopped, match=r"NonFiniteLoss at step 7 .*`training.stability` says Stop"):
        poisoned(trainer(setup), batch_of_step(setup, 6), math.nan).run()


def test_stop_says_what_a_spike_was_above(setup: Setup) -> None:
    setup = replace(setup, stability=replace(WATCHFUL, on_spike=Reaction.STOP))
    spike = r"LossSpike at step 7 \(loss [\d.e+]+, gradient norm [\d.e+]+, above [\d.]+ after a mean of 4.\d+ over 4 steps\)"
    with pytest.raises(Stopped, match=spike):
        poisoned(trainer(setup), batch_of_step(setup, 6), 1e4).run()


def test_trouble_without_end_stops_the_run(setup: Setup) -> None:
    setup = replace(setup, stability=replace(WATCHFUL, limit=3))
    made = poisoned(trainer(setup), lambda _: True, math.nan)
    with pytest.raises(Stopped, match="limit` of 3 is used up"):
        made.run()
    assert len(ledger_lines(setup)) == 3


def test_a_roll_back_without_a_checkpoint_skips_the_step(setup: Setup) -> None:
    setup = replace(setup, every=100, stability=replace(WATCHFUL, on_non_finite=Reaction.ROLL_BACK))
    made = poisoned(trainer(setup), batch_of_step(setup, 2), math.nan)
    assert made.run()
    assert [line["reaction"] for line in ledger_lines(setup)] == ["SkipStep"]


def raised_from(setup: Setup, step: int, factor: float = 1.5) -> Trainer:
    """A run whose losses are so much higher from step `step` (from 0) on, for good: the data is of another kind."""
    made = trainer(setup)
    return poisoned(made, lambda _: made.step >= step, factor)


SHORT = StabilityPlan(window=8, limit=2)
CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "phase": ({"phases": ((12 * 128, (1, 0)), (12 * 128, (0, 1)))}, "`training.phases[1]`"),
    "batch ramp": ({"batch_ramp": ((12 * 128, 4),)}, "`training.batchRamp` (64 tokens a step)"),
    "sequence ramp": ({"length_ramp": ((12 * 128, 8),)}, "`training.sequenceRamp` (sequences of 8)"),
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_what_a_phase_or_ramp_makes_of_losses_is_no_spike(setup: Setup, change: str) -> None:
    """Losses and gradients five deviations higher, and more, from the 13th step on: all steps are taken."""
    setup = replace(setup, steps=24, every=100, stability=SHORT, **CHANGES[change][0])
    made = raised_from(setup, 12, 3.0)
    assert made.run()
    assert [step.reaction for step in heard(made) if step.reaction] == []
    assert len(made.watch.losses) == 8


@pytest.mark.parametrize("change", list(CHANGES))
def test_what_stops_a_run_names_what_changed_before(setup: Setup, change: str) -> None:
    setup = replace(setup, steps=24, every=100, stability=SHORT, **CHANGES[change][0])
    with pytest.raises(Stopped) as stopped:
        raised_from(setup, 14, math.nan).run()
    assert "NonFiniteLoss at step 17 (loss nan, gradient norm nan)" in str(stopped.value)
    assert f"limit` of 2 is used up; {CHANGES[change][1]} began at step 13; lower" in str(stopped.value)


@pytest.mark.parametrize("reaction", [Reaction.SKIP_STEP, Reaction.LOWER_RATE, Reaction.ROLL_BACK])
def test_a_level_that_stays_is_taken_for_what_it_is_after_few_steps(setup: Setup, reaction: Reaction) -> None:
    """Within a phase, where nothing was announced: what went wrong counts among the last steps, after a roll-back too."""
    setup = replace(setup, steps=32, every=5, stability=replace(SHORT, on_spike=reaction, limit=4))
    made = raised_from(setup, 12)
    assert made.run()
    lines = ledger_lines(setup)
    assert 1 <= len(lines) <= 3
    assert {line["reaction"] for line in lines} == {reaction.value}


def test_a_kill_after_a_roll_back_forgets_nothing_of_what_went_wrong(tmp_path: Path) -> None:
    """Two roll-backs to one checkpoint: both spikes are among the last losses, whoever goes on from there."""
    write_shards(tmp_path)
    plan = StabilityPlan(window=24, sigma=3.0, on_spike=Reaction.ROLL_BACK, limit=9)
    setup = replace(Setup(tmp_path), steps=32, every=10, stability=plan)
    whole = raised_from(setup, 12)
    watches: list[dict[str, Any]] = []
    listener(whole).after_step = lambda step: watches.append(whole.watch.to_dict()) if step.number == 12 else None
    assert whole.run()
    assert len(ledger_lines(setup)) >= 2
    for folder in sorted((tmp_path / "artifacts" / "training" / KEY / "checkpoints").iterdir()):
        if not folder.name.startswith("step-00000010"):
            shutil.rmtree(folder)
    again = raised_from(replace(setup, attempt=2), 12)
    assert again.step == 10
    listener(again).after_step = lambda step: watches.append(again.watch.to_dict()) if step.number == 12 else None
    assert again.run()
    assert watches[-1] == watches[-2]
    assert same(weights(again), weights(whole))


def test_a_jump_of_a_hundred_deviations_that_stays_costs_five_steps() -> None:
    """The defaults, after a window of losses around 2.0 that deviate by 0.01; skipped steps do not end at the limit of 20."""
    plan, watch, random = StabilityPlan(), Watch(128), Random(0)
    for _ in range(128):
        watch.accept(2 + random.gauss(0, 0.01), 1 + random.gauss(0, 0.01))
    skipped = 0
    while diagnose(plan, watch, 3.0, 1.0):
        watch.enter(plan, 3.0, 1.0)
        skipped += 1
    assert skipped == 5


def test_a_spike_of_any_height_hides_no_other() -> None:
    plan, watch = StabilityPlan(window=16), Watch(16)
    for number in range(16):
        watch.accept(2 + number % 2 / 100, 1.0)
    watch.enter(plan, 1e6, 1e9)
    assert diagnose(plan, watch, 4.0, 1.0) is Trouble.LOSS_SPIKE
    assert diagnose(plan, watch, 2.0, 2.0) is Trouble.GRADIENT_SPIKE
    watch.enter(plan, math.nan, 1.0)
    watch.enter(plan, 2.0, math.inf)
    assert all(map(math.isfinite, [*watch.losses, *watch.norms]))


def test_a_checkpoint_of_before_is_read_and_what_is_of_another_phase_forgotten() -> None:
    """It knows no `since`: of its losses those are of this phase that are as many as its steps."""
    raw = {"losses": [9.0, 8.0, 2.0, 2.1], "norms": [1.0, 1.0, 0.5, 0.5], "in_a_row": 1}
    watch = Watch.from_dict(8, raw)
    watch.follow(10, 12)
    assert watch.to_dict() == {"losses": [2.0, 2.1], "norms": [0.5, 0.5], "in_a_row": 1, "since": 10}
    assert Watch.from_dict(8, watch.to_dict()) == watch
    watch.follow(10, 11)
    assert len(watch.losses) == 2, "what is known of a roll-back's data is of this phase as well"


def test_the_threshold_is_mean_plus_sigmas_once_half_the_window_is_known() -> None:
    plan = StabilityPlan(window=4, sigma=3.0)
    assert threshold(plan, [1.0]) == math.inf
    assert threshold(plan, [1.0, 3.0]) == pytest.approx(2 + 3 * 1)
    watch = Watch(4)
    for loss in (1.0, 3.0):
        watch.accept(loss, 1.0)
    assert diagnose(plan, watch, 4.9, 1.0) is None
    assert diagnose(plan, watch, 5.1, 1.0) is Trouble.LOSS_SPIKE
    assert diagnose(plan, watch, 2.0, 1.1) is Trouble.GRADIENT_SPIKE
    assert diagnose(plan, watch, 2.0, math.nan) is Trouble.NON_FINITE_GRADIENT


def entry(step: int, generation: int, back_to: int) -> Entry:
    return Entry(step, generation, Trouble.LOSS_SPIKE, Reaction.ROLL_BACK, 9.0, 1.0, back_to, {"drawn": [step]})


def test_a_later_roll_back_further_back_undoes_an_earlier_one() -> None:
    ledger = SkipLedger([entry(15, 0, 10), entry(18, 1, 5)])
    assert ledger.jump(10, 0) is None
    assert ledger.jump(5, 0) == (2, ledger.entries[1])
    assert ledger.is_void(10, 0)
    assert not ledger.is_void(5, 0)
    assert ledger.is_void(8, 1)
    assert not ledger.is_void(8, 2)


def test_of_two_roll_backs_to_one_step_the_last_one_counts() -> None:
    ledger = SkipLedger([entry(15, 0, 10), entry(12, 1, 10)])
    assert ledger.jump(10, 0) == (2, ledger.entries[1])
    assert ledger.jump(10, 1) == (2, ledger.entries[1])
    assert ledger.jump(10, 2) is None


def test_a_reaction_that_is_repeated_counts_once() -> None:
    ledger = SkipLedger()
    assert ledger.add(entry(15, 0, 10))
    assert not ledger.add(entry(15, 0, 10))
    assert ledger.add(entry(15, 1, 10))
