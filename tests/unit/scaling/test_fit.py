"""Ladders of laws that are known here alone: does the fit find the loss of a run it has not seen, and does it know its doubt."""

import math
import random
from collections.abc import Sequence
from statistics import median

import pytest

from llmtrain.cost.errors import InputError
from llmtrain.scaling.fit import Observation, fit, student
from llmtrain.scaling.outcome import Text, outcome

LADDERS, SEED = 200, 23
TARGET = (1e9, 2e10)
LAWS = {
    "Chinchilla, re-fitted": (1.8172, 482.01, 2085.43, 0.3478, 0.3658),
    "Chinchilla, as published": (1.69, 406.4, 410.7, 0.34, 0.28),
    "of no paper, as for code": (0.7, 300.0, 500.0, 0.33, 0.33),
}


def rungs(share: float) -> list[tuple[float, float]]:
    """Five sizes, each trained short and long, that take this share of the target's compute together."""
    shapes = [(0.3**size, ratio) for size in range(5) for ratio in (10, 40)]
    scale = math.sqrt(share * TARGET[0] * TARGET[1] / sum(n * n * ratio for n, ratio in shapes))
    return [(n * scale, n * scale * ratio) for n, ratio in shapes]


def truth(law: Sequence[float], parameters: float, tokens: float) -> float:
    floor, a, b, alpha, beta = law
    return floor + a * math.exp(-alpha * math.log(parameters)) + b * math.exp(-beta * math.log(tokens))


@pytest.mark.parametrize("noise", [0.003, 0.005, 0.01])
@pytest.mark.parametrize("name", LAWS)
def test_of_200_ladders_four_in_five_have_the_target_inside_and_the_range_is_narrow(name: str, noise: float) -> None:
    law, draw = LAWS[name], random.Random(SEED)
    inside, widths = 0, []
    for _ in range(LADDERS):
        seen = [Observation(n, d, truth(law, n, d) * math.exp(draw.gauss(0, noise))) for n, d in rungs(0.01)]
        expected = fit(seen).loss(*TARGET)
        inside += expected.p10 <= truth(law, *TARGET) * math.exp(draw.gauss(0, noise)) <= expected.p90
        widths.append(expected.p90 / expected.p10)
    print(f"{name}, noise {noise:.1%}: {inside / LADDERS:.1%} inside, p90/p10 {median(widths):.3f}")
    assert 0.74 <= inside / LADDERS <= 0.86
    assert median(widths) <= 1.10


def test_without_noise_many_runs_give_the_law_itself() -> None:
    law = LAWS["Chinchilla, re-fitted"]
    seen = [Observation(n, d, truth(law, n, d)) for n in (1e6, 1e7, 1e8, 1e9, 1e10) for d in (1e8, 1e9, 1e10, 1e11)]
    found = fit(seen).law
    assert (found.irreducible, found.alpha, found.beta) == pytest.approx((law[0], law[3], law[4]), rel=0.05)
    assert found.loss(*TARGET) == pytest.approx(truth(law, *TARGET), rel=1e-3)


@pytest.mark.parametrize("wrong", range(10))
def test_one_run_that_went_wrong_widens_the_range_and_leaves_the_target_inside(wrong: int) -> None:
    law, draw = LAWS["Chinchilla, re-fitted"], random.Random(1)
    factors = [math.exp(draw.gauss(0, 0.003)) * (1.3 if index == wrong else 1) for index in range(10)]
    seen = [Observation(n, d, truth(law, n, d) * by) for (n, d), by in zip(rungs(0.01), factors, strict=True)]
    found = fit(seen).loss(*TARGET)
    assert found.p10 < truth(law, *TARGET) < found.p90
    assert found.p50 == pytest.approx(truth(law, *TARGET), rel=0.14)  # by least squares alone the worst is 21 % off


def test_further_away_is_less_certain() -> None:
    law = LAWS["Chinchilla, as published"]
    found = fit([Observation(n, d, truth(law, n, d)) for n, d in rungs(0.01)])
    spreads = [found.spread(10**power, 20 * 10**power) for power in (8, 9, 10, 11)]
    assert spreads == sorted(spreads)


@pytest.mark.parametrize(
    ("runs", "field"),
    [
        ([(1e6, 1e7, 5.0)] * 2, "runs"),
        ([(1e6, 1e7, 5.0)] * 2 + [(-1e6, 1e7, 5.0)], "runs[2].parameters"),
        ([(1e6, 1e7, 5.0)] * 2 + [(1e6, 0.0, 5.0)], "runs[2].tokens"),
        ([(1e6, 1e7, math.nan)] + [(1e6, 1e7, 5.0)] * 2, "runs[0].loss"),
        ([(1e6, 1e7, 5.0)] * 2 + [(1e300, 1e7, 5.0)], "runs[2].parameters"),
        ([(1e6, 1e7, 5.0)] * 2 + [(1e6, 1e-300, 5.0)], "runs[2].tokens"),
        ([(1e6, 1e7, 5.0), (2e6, 1e7, 1e300), (3e6, 1e7, 4.0)], "runs[1].loss"),
        ([(1e6, 1e7, 5.0), (1e6, 1e7, 5.1), (1e6, 1e7, 4.9)], "runs"),
    ],
)
def test_runs_that_cannot_be_fitted_are_named(runs: list[tuple[float, float, float]], field: str) -> None:
    with pytest.raises(InputError) as refused:
        fit([Observation(*run) for run in runs])
    assert refused.value.field == field


@pytest.mark.parametrize("extreme", [1e-3, 1.0, 1e3])
def test_any_runs_within_bounds_give_numbers_or_are_refused(extreme: float) -> None:
    draw, refused = random.Random(SEED), []
    for _ in range(50):
        sizes = [(10 ** draw.uniform(0, 18), 10 ** draw.uniform(0, 18)) for _ in range(4)]
        try:
            found = fit([Observation(n, d, 10 ** draw.uniform(-6, 2)) for n, d in sizes])
        except InputError as error:
            refused.append(error)
            continue
        loss = outcome(found, 1e9 * extreme, 2e10, Text()).planned.loss
        assert 0 <= loss.p10 <= loss.p50 <= loss.p90 < math.inf
    assert len(refused) < 50
    assert {error.field for error in refused} <= {"runs"}


@pytest.mark.parametrize(("freedom", "quantile"), [(3, 1.638), (5, 1.476), (10, 1.372), (30, 1.310), (1e9, 1.2816)])
def test_students_quantiles_are_the_tables(freedom: float, quantile: float) -> None:
    assert student(0.9, freedom) == pytest.approx(quantile, rel=0.01)
