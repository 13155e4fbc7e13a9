"""Parameters and FLOPs, against the real module, torch's own counter and published numbers."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from llmtrain_jobs.model.config import ModelConfig
from llmtrain_jobs.model.transformer import Transformer
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from llmtrain.api.counts import Convention, flops_per_token, forward_flops, mfu, multiplying_parameters, parameters
from llmtrain.api.dimensions import dimensions
from llmtrain.api.model import (
    Biases,
    NormKind,
    NormPlacement,
    PositionKind,
    Preset,
    QueryKeyNorm,
)
from llmtrain.api.presets import PRESETS
from llmtrain.cost import physics
from tests.unit.jobs.model.configs import CONFIGS, GPT2, LLAMA

PUBLISHED = {
    # Exact counts of the released weights: transformers' `num_parameters()`, and Wu et al. 2023, Table 4.
    Preset.GPT2: 124_439_808,
    Preset.GPT2_MEDIUM: 354_823_168,
    Preset.GPT2_LARGE: 774_030_080,
    Preset.GPT2_XL: 1_557_611_200,
    Preset.LLAMA2_7B: 6_738_415_616,
    Preset.LLAMA2_13B: 13_015_864_320,
    Preset.LLAMA2_70B: 68_976_648_192,
    Preset.LLAMA3_8B: 8_030_261_248,
    Preset.LLAMA3_70B: 70_553_706_496,
    Preset.LLAMA3_405B: 405_853_388_800,
    Preset.BLOOMBERGGPT_50B: 50_558_868_480,
}


def count(config: ModelConfig) -> int:
    """Parameters of the real module, without memory for them."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in Transformer(config).parameters())


def published(preset: Preset) -> ModelConfig:
    found = PRESETS[preset]
    return dimensions(found.architecture, found.context, found.vocabulary)


def test_every_preset_but_auto_is_in_the_table() -> None:
    assert set(PRESETS) == set(Preset) - {Preset.AUTO}
    assert set(PUBLISHED) == set(PRESETS) - {Preset.TINY}


@pytest.mark.parametrize("preset", PUBLISHED)
def test_a_preset_has_its_published_number_of_parameters(preset: Preset) -> None:
    assert parameters(published(preset)) == PUBLISHED[preset] == count(published(preset))


@st.composite
def configs(draw: st.DrawFn) -> ModelConfig:
    heads = draw(st.sampled_from([1, 2, 4]))
    return ModelConfig(
        layers=draw(st.integers(1, 3)),
        heads=heads,
        embedding=heads * draw(st.sampled_from([2, 8, 10])),
        feed_forward=draw(st.integers(1, 40)),
        context=draw(st.integers(1, 30)),
        vocabulary=draw(st.integers(2, 99)),
        key_value_heads=draw(st.sampled_from([0, 1, heads])),
        head_width=draw(st.sampled_from([0, 6])),
        norm=draw(st.sampled_from(NormKind)),
        placement=draw(st.sampled_from(NormPlacement)),
        gated=draw(st.booleans()),
        positions=draw(st.sampled_from(PositionKind)),
        query_key_norm=draw(st.sampled_from(QueryKeyNorm)),
        embedding_norm=draw(st.booleans()),
        biases=draw(st.sampled_from(Biases)),
        tied=draw(st.booleans()),
    )


@given(configs())
@settings(max_examples=150, deadline=None)
def test_the_closed_form_counts_the_real_module(config: ModelConfig) -> None:
    assert parameters(config) == count(config)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_the_closed_form_counts_the_flops_that_torch_counts(config: ModelConfig) -> None:
    model = Transformer(config)
    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        model(torch.zeros(3, config.context, dtype=torch.long))
    assert forward_flops(config, 3) == counter.get_total_flops()


def test_gpt2s_training_flops_are_six_times_what_multiplies_plus_attention() -> None:
    config = published(Preset.GPT2)
    multiplying = 124_439_808 - 1024 * 768
    assert multiplying_parameters(config) == multiplying
    assert flops_per_token(config, Convention.SIX_N) == 6 * multiplying
    assert flops_per_token(config, Convention.PALM) == 6 * multiplying + 12 * 12 * 768 * 1024
    assert flops_per_token(config, Convention.CAUSAL) == 6 * multiplying + 12 * 12 * 768 * 1025 / 2


def test_llama3_8b_multiplies_with_all_but_its_input_embedding() -> None:
    assert multiplying_parameters(published(Preset.LLAMA3_8B)) == 8_030_261_248 - 128_256 * 4096


def test_a_window_bounds_what_is_counted() -> None:
    windowed = replace(LLAMA, sliding_window=4)
    seen = sum(min(position + 1, 4) for position in range(16)) / 16
    extra = flops_per_token(windowed, Convention.CAUSAL) - flops_per_token(windowed, Convention.SIX_N)
    assert extra == pytest.approx(12 * 2 * 32 * seen)


MPT_7B = ModelConfig(
    layers=32, heads=32, embedding=4096, feed_forward=16384, context=2048, vocabulary=50368,
)  # fmt: skip


@pytest.mark.parametrize(
    ("config", "tokens_per_second", "peak", "percent"),
    [
        # llm-foundry's published table (scripts/train/benchmarking), 8 H100 and 8 A100, per device.
        (MPT_7B, 10_643.0, 989.5e12, 46.44),
        (MPT_7B, 4_641.0, 312e12, 64.23),
        # torchtitan's published run of Llama 3.1 8B on 8 H100, sequences of 8192, without and with compilation.
        (published(Preset.LLAMA3_8B), 5_762.0, 989e12, 33.7),
        (published(Preset.LLAMA3_8B), 6_667.0, 989e12, 39.0),
    ],
)
def test_published_utilisation_is_palms(
    config: ModelConfig, tokens_per_second: float, peak: float, percent: float
) -> None:
    # llm-foundry counts learned positions as work, a thousandth of the whole.
    assert 100 * mfu(tokens_per_second, config, peak, Convention.PALM) == pytest.approx(percent, rel=2e-3)


def test_the_small_models_of_these_tests_are_small() -> None:
    assert count(GPT2) < 100_000


@pytest.mark.parametrize("preset", sorted(PUBLISHED))
def test_the_estimates_physics_agrees(preset: Preset) -> None:
    config = published(preset)
    theirs = physics.Transformer(
        layers=config.layers, embedding=config.embedding, heads=config.heads, feed_forward=config.feed_forward,
        vocabulary=config.vocabulary, context=config.context, kv_heads=config.groups, head_size=config.width,
        gated=config.gated, tied=config.tied, learned_positions=config.positions is PositionKind.LEARNED,
        biases=config.biases is Biases.ALL,
    )  # fmt: skip
    embedding_norm = 2 * config.embedding if config.embedding_norm else 0
    assert physics.parameters(theirs) + embedding_norm == parameters(config)
    # It leaves vectors out of the work and counts T/2 positions where a token sees (T + 1)/2.
    ours = flops_per_token(config, Convention.CAUSAL)
    assert physics.train_flops_per_token(theirs) == pytest.approx(ours, rel=2e-3)
