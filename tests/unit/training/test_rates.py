"""Learning rates at points that can be computed by hand; checkpoint intervals against Young's and Daly's formulas."""

import math
from typing import Any

import pytest
from llmtrain_jobs.errors import StageError
from llmtrain_jobs.training.interval import FAILURES_PER_PROCESS_HOUR, Interval, best_interval, mean_between_failures
from llmtrain_jobs.training.refusals import check_rates
from llmtrain_jobs.training.retention import Retention
from llmtrain_jobs.training.schedule import PhaseRate, RatePlan

from llmtrain.api.admission import ManifestError
from llmtrain.api.training import Anneal, Schedule, Training
from tests.unit.api.parsed import parse_manifest


def rates(schedule: Schedule, decay: int = 0) -> RatePlan:
    return RatePlan(schedule, 100, decay, 0.1, 1100)


@pytest.mark.parametrize("schedule", list(Schedule))
def test_every_schedule_warms_up_linearly_to_the_peak(schedule: Schedule) -> None:
    assert rates(schedule).factor(0) == pytest.approx(0.01)
    assert rates(schedule).factor(49) == pytest.approx(0.5)
    assert rates(schedule).factor(100) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("schedule", "middle", "end"),
    [
        (Schedule.COSINE, 0.55, 0.1),
        (Schedule.LINEAR, 0.55, 0.1),
        (Schedule.WARMUP_STABLE_DECAY, 1.0, 0.1),
        (Schedule.INVERSE_SQUARE_ROOT, math.sqrt(100 / 600), math.sqrt(100 / 1100)),
        (Schedule.CONSTANT, 1.0, 1.0),
    ],
)
def test_schedules_half_way_and_at_the_end(schedule: Schedule, middle: float, end: float) -> None:
    assert rates(schedule).factor(600) == pytest.approx(middle)
    assert rates(schedule).factor(1100) == pytest.approx(end)


def test_warmup_stable_decay_falls_over_the_tokens_that_are_named() -> None:
    assert rates(Schedule.WARMUP_STABLE_DECAY, decay=200).factor(900) == pytest.approx(1.0)
    assert rates(Schedule.WARMUP_STABLE_DECAY, decay=200).factor(1000) == pytest.approx(0.55)


@pytest.mark.parametrize(
    ("anneal", "middle"), [(Anneal.LINEAR, 0.5), (Anneal.COSINE, 0.5), (Anneal.SQUARE_ROOT, 1 - math.sqrt(0.5))]
)
def test_an_anneal_falls_from_the_rate_at_its_start(anneal: Anneal, middle: float) -> None:
    plan = RatePlan(Schedule.CONSTANT, 0, 0, 0.1, 1000, (PhaseRate(1000, 1200, anneal, 0.0),))
    assert plan.factor(999) == 1.0
    assert plan.factor(1000) == 1.0
    assert plan.factor(1100) == pytest.approx(middle)


def test_the_best_interval_is_youngs_for_cheap_saves() -> None:
    """sqrt(2 x 10 s x 1 day) = 1,314.5 s; Daly's correction is of the order of the cost."""
    assert best_interval(10, 86400) == pytest.approx(math.sqrt(2 * 10 * 86400), rel=0.01)
    assert best_interval(100, 40) == 40
    with pytest.raises(ValueError, match="above 0"):
        best_interval(0, 1)


def test_the_best_interval_costs_least_of_all() -> None:
    """Daly's exact expected run time (2006, eq. 13): M e^(R/M) (e^((t+d)/M) - 1) / t, here by brute force."""
    cost, mean = 60.0, 7200.0
    loss = {t: (math.exp((t + cost) / mean) - 1) / t for t in range(100, 4000)}
    assert best_interval(cost, mean) == pytest.approx(min(loss, key=lambda t: loss[t]), rel=0.01)


def test_the_rate_of_failures_starts_at_what_is_published_and_learns() -> None:
    alone = mean_between_failures(16384, 0, 0)
    assert alone == pytest.approx(54 * 24 * 3600 / 419)
    assert mean_between_failures(16384, 9, 0) == pytest.approx(alone / 10)
    assert pytest.approx(1.97e-5, rel=0.01) == FAILURES_PER_PROCESS_HOUR


def test_when_a_checkpoint_is_due() -> None:
    assert [Interval(steps=3).is_due(step, 0, 0) for step in (1, 2, 3)] == [False, False, True]
    assert [Interval(seconds=10).is_due(1, since, 0) for since in (9.9, 10)] == [False, True]
    auto = Interval(processes=8, save_seconds=5)
    assert auto.is_due(1, auto.automatic(1.0), 1.0)
    assert not auto.is_due(1, auto.automatic(1.0) - 1, 1.0)


def test_the_newest_the_regular_and_the_milestones_stay() -> None:
    kept = Retention(last=2, every=100).kept(regular=range(10, 251, 10), others=[245])
    assert kept == {100, 200, 240, 250}
    assert Retention(last=1).kept(regular=[10, 20], others=[20, 23]) == {20, 23}


WSD = "WarmupStableDecay"
ANNEALED = [{"name": "main", "tokens": 800}, {"name": "anneal", "tokens": 200, "anneal": "Linear"}]
COURSES: dict[str, tuple[dict[str, Any], list[dict[str, Any]], bool, str]] = {
    "as long as the training": ({"warmupTokens": 1000}, [], True, ""),
    "longer than the training": ({"warmupTokens": 1001}, [], False, "`training.optimizer.warmupTokens` 1001: above 1000, where `training.tokens` end"),
    "decay behind it": ({"schedule": WSD, "warmupTokens": 400, "decayTokens": 600}, [], True, ""),
    "decay within it": ({"schedule": WSD, "warmupTokens": 400, "decayTokens": 601}, [], False, "400 + `decayTokens` 601 = 1001: above 1000"),
    "decay of all": ({"schedule": WSD, "decayTokens": 1001}, [], False, "`training.optimizer.warmupTokens` 0 + `decayTokens` 1001"),
    "a fifth behind it": ({"schedule": WSD, "warmupTokens": 800}, [], True, ""),
    "a fifth within it": ({"schedule": WSD, "warmupTokens": 801}, [], False, "801 + `decayTokens` 200 = 1001"),
    "of another schedule": ({"warmupTokens": 400, "decayTokens": 900}, [], True, ""),
    "up to an anneal": ({"warmupTokens": 800}, ANNEALED, True, ""),
    "into an anneal": ({"warmupTokens": 801}, ANNEALED, True, "above 800, where the first phase with `anneal` begins"),
    "decay up to an anneal": ({"schedule": WSD, "warmupTokens": 640}, ANNEALED, True, ""),
    "decay into an anneal": ({"schedule": WSD, "warmupTokens": 641}, ANNEALED, True, "641 + `decayTokens` 160 = 801: above 800"),
    "an anneal alone": ({}, [{"name": "anneal", "tokens": 1000, "anneal": "Cosine"}], True, ""),
}  # fmt: skip


@pytest.mark.parametrize("case", list(COURSES))
def test_warm_up_and_decay_that_do_not_fit_are_refused(case: str) -> None:
    """At apply, where the rule can say it, and by preflight with the numbers: what one takes and the other refuses too."""
    optimizer, phases, applied, message = COURSES[case]
    raw = {"cluster": {"planRef": {"name": "cpu"}}, "tokens": 1000, "optimizer": optimizer, "phases": phases}
    if applied:
        parse_manifest(Training, raw)
    else:
        with pytest.raises(ManifestError, match=r"optimizer[.](warmupTokens|decayTokens)"):
            parse_manifest(Training, raw)
    training = Training.model_validate(raw)
    if not message:
        check_rates(training)
        return
    with pytest.raises(StageError) as refused:
        check_rates(training)
    assert message in refused.value.message
    assert "`training.optimizer.warmupTokens`" in refused.value.message
