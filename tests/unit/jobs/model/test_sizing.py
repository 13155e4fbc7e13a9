"""`preset: auto`: the compute-optimal size, and what the spec resolves to."""

import math

import numpy as np
import pytest
from llmtrain_jobs.errors import StageError
from llmtrain_jobs.model.config import resolve
from numpy.typing import NDArray

from llmtrain.api.counts import parameters
from llmtrain.api.dimensions import dimensions
from llmtrain.api.model import ActivationKind, Architecture, ModelSpec, NormKind, PositionKind, Preset, SizeFor
from llmtrain.api.sizing import automatic, optimal_parameters, optimal_tokens


def loss(count: NDArray[np.float64], tokens: NDArray[np.float64]) -> NDArray[np.float64]:
    """Besiroglu et al. 2024, equation of the fit."""
    found: NDArray[np.float64] = 1.8172 + 482.01 / count**0.3478 + 2085.43 / tokens**0.3658
    return found


@pytest.mark.parametrize("flops", [1e18, 1e21, 1e24])
def test_the_optimal_tokens_have_the_least_loss_of_a_fine_grid(flops: float) -> None:
    grid = np.exp(np.linspace(math.log(1e7), math.log(1e15), 200_001))
    best = float(grid[np.argmin(loss(flops / 6 / grid, grid))])
    assert optimal_tokens(flops) == pytest.approx(best, rel=1e-3)
    assert optimal_parameters(optimal_tokens(flops)) == pytest.approx(flops / 6 / best, rel=1e-3)


@pytest.mark.parametrize("flops", [1e20, 1e21, 1e22, 1e23, 1e24, 1e25])
def test_there_are_about_twenty_tokens_a_parameter(flops: float) -> None:
    tokens = optimal_tokens(flops)
    assert 16.5 < tokens / optimal_parameters(tokens) < 23.5


@pytest.mark.parametrize("count", [1e7, 1e8, 1e9, 7e9, 7e10, 4e11])
def test_the_automatic_architecture_is_near_its_size_and_shaped_as_published_ones(count: float) -> None:
    shape = automatic(count, 2048, 32_000 if count > 5e7 else 8192)
    found = parameters(dimensions(shape, 2048, 32_000 if count > 5e7 else 8192))
    assert found == pytest.approx(count, rel=0.1)
    assert 50 <= shape.embedding / shape.layers <= 140
    assert shape.embedding % shape.heads == 0
    assert shape.embedding // shape.heads in (64, 128)


def test_auto_goes_by_the_tokens_of_the_training() -> None:
    small = resolve(ModelSpec(preset=Preset.AUTO), 8192, 200_000_000)
    large = resolve(ModelSpec(preset=Preset.AUTO), 8192, 20_000_000_000)
    assert parameters(small) < parameters(large) / 10
    assert large.positions is PositionKind.ROPE
    assert large.norm is NormKind.RMS_NORM
    assert large.gated


def test_auto_goes_by_size_for_where_it_is_set() -> None:
    by_tokens = resolve(ModelSpec(preset=Preset.AUTO, size_for=SizeFor(tokens=20_000_000_000)), 8192, 1000)
    by_flops = resolve(ModelSpec(preset=Preset.AUTO, size_for=SizeFor(flops="1.05e20")), 8192, 1000)
    assert parameters(by_tokens) == pytest.approx(0.875e9, rel=0.03)
    assert parameters(by_flops) == pytest.approx(parameters(by_tokens), rel=0.05)


def test_auto_without_a_budget_is_bad_input() -> None:
    with pytest.raises(StageError, match="preset: auto"):
        resolve(ModelSpec(preset=Preset.AUTO), 8192)


def test_an_architecture_of_ones_own_keeps_gpt2s_defaults() -> None:
    spec = ModelSpec(architecture=Architecture(layers=2, heads=2, embedding=64), context_length=32)
    config = resolve(spec, 100)
    assert (config.feed_forward, config.width, config.groups, config.tied) == (256, 32, 2, True)
    assert config.activation is ActivationKind.GELU_TANH


def test_what_does_not_divide_is_refused_with_the_numbers() -> None:
    spec = ModelSpec(architecture=Architecture(layers=2, heads=3, embedding=64))
    with pytest.raises(StageError, match=r"`embedding` must be a multiple of `heads`.*embedding is 64.*heads is 3"):
        resolve(spec, 100)
