"""The law against arithmetic that shares nothing with it: published constants, a fine grid, and known optima."""

import math

import pytest

from llmtrain.scaling.law import BESIROGLU, HOFFMANN, Foreign, ScalingLaw, bits_per_byte
from llmtrain.scaling.outcome import Text, outcome


@pytest.mark.parametrize(
    ("law", "parameters", "tokens", "loss"),
    [
        (BESIROGLU, 70e9, 1.4e12, 1.8172 + 482.01 / 70e9**0.3478 + 2085.43 / 1.4e12**0.3658),
        (HOFFMANN, 70e9, 1.4e12, 1.69 + 406.4 / 70e9**0.34 + 410.7 / 1.4e12**0.28),
        (HOFFMANN, 280e9, 300e9, 1.993),  # Gopher, as the paper's equation 10 has it
    ],
)
def test_the_loss_is_the_published_equations(law: ScalingLaw, parameters: float, tokens: float, loss: float) -> None:
    assert law.loss(parameters, tokens) == pytest.approx(loss, rel=1e-3)


@pytest.mark.parametrize("law", [BESIROGLU, HOFFMANN])
@pytest.mark.parametrize("flops", [1e18, 1e21, 1e25])
def test_the_best_split_has_the_least_loss_of_a_fine_grid(law: ScalingLaw, flops: float) -> None:
    grid = [10 ** (6 + step / 1000) for step in range(7001)]
    best = min(grid, key=lambda n: law.loss(n, flops / 6 / n))
    parameters, tokens = law.best_split(flops)
    assert parameters == pytest.approx(best, rel=0.01)
    assert 6 * parameters * tokens == pytest.approx(flops)
    assert law.parameters_for(tokens) == pytest.approx(parameters)


@pytest.mark.parametrize(("flops", "low", "high"), [(1e20, 17, 23), (1e25, 17, 23)])
def test_the_refit_has_about_twenty_tokens_per_parameter(flops: float, low: float, high: float) -> None:
    parameters, tokens = BESIROGLU.best_split(flops)
    assert low < tokens / parameters < high


def test_the_fewest_flops_for_a_loss_are_those_whose_best_split_has_it() -> None:
    assert BESIROGLU.flops_for(BESIROGLU.loss(*BESIROGLU.best_split(3e22))) == pytest.approx(3e22)
    assert BESIROGLU.flops_for(BESIROGLU.irreducible) == math.inf


def test_bits_per_byte_are_nats_over_bytes() -> None:
    assert bits_per_byte(math.log(2) * 4.2, 4.2) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("parameters", "tokens", "said"),
    [(7e9, 2e12, "over-trained"), (175e9, 300e9, "under-trained"), (1e9, 2e10, ""), (70e9, 1.4e12, "")],
)
def test_a_bad_split_is_warned_of_and_a_good_one_is_not(parameters: float, tokens: float, said: str) -> None:
    found = outcome(Foreign(), parameters, tokens, Text())
    assert bool(found.warnings) == bool(said)
    assert all(said in warning for warning in found.warnings)
    assert found.best.loss.p50 <= found.planned.loss.p50
    assert 6 * found.best.parameters * found.best.tokens == pytest.approx(6 * parameters * tokens)


def test_the_wasted_share_buys_nothing() -> None:
    """The best split of what is not wasted reaches the loss of the bad one."""
    found = outcome(Foreign(), 175e9, 300e9, Text())
    saved = (1 - found.wasted_share) * 6 * 175e9 * 300e9
    assert BESIROGLU.loss(*BESIROGLU.best_split(saved)) == pytest.approx(found.planned.loss.p50, rel=1e-6)


def test_assumed_bytes_per_token_widen_the_bits_and_measured_ones_do_not() -> None:
    assumed, known = (outcome(Foreign(), 1e9, 2e10, text).planned for text in (Text(), Text(4.2, 0.0)))
    assert assumed.bits_per_byte.sigma > known.bits_per_byte.sigma == pytest.approx(known.loss.sigma)
