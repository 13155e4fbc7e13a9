"""The same weights in transformers' own code give the same logits, both ways; what no family has is refused."""

import os
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from llmtrain_jobs.errors import StageError
from llmtrain_jobs.model.config import ModelConfig, Rope
from llmtrain_jobs.model.huggingface.convert import FAMILIES, family_of, to_ours, to_theirs, understood
from llmtrain_jobs.model.transformer import Transformer

from llmtrain.api.model import (
    ActivationKind,
    Biases,
    NormKind,
    NormPlacement,
    PositionKind,
    QueryKeyNorm,
    RopeScalingKind,
)
from tests.unit.jobs.model.configs import BLOOM, GPT2, LLAMA

os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}

QWEN3 = replace(LLAMA, head_width=16, query_key_norm=QueryKeyNorm.HEAD)
OLMO2 = replace(LLAMA, placement=NormPlacement.OUTPUT, query_key_norm=QueryKeyNorm.WIDTH, norm_epsilon=1e-6)
EXPORTABLE = {
    "gpt2": GPT2,
    "gpt2 untied, exact gelu": replace(GPT2, tied=False, activation=ActivationKind.GELU, feed_forward=48),
    "llama": LLAMA,
    "llama tied, all biases, multi-query": replace(LLAMA, tied=True, biases=Biases.ALL, key_value_heads=1),
    "llama with a head width of its own": replace(LLAMA, head_width=12),
    "llama 3.1's positions": replace(
        LLAMA, rope=Rope(500000.0, RopeScalingKind.LLAMA3, 8.0, original_context=8, high_frequency_factor=2.0)
    ),
    "llama with linear positions": replace(LLAMA, rope=Rope(10000.0, RopeScalingKind.LINEAR, 4.0)),
    "llama with yarn": replace(LLAMA, rope=Rope(10000.0, RopeScalingKind.YARN, 4.0, original_context=16)),
    "qwen3": QWEN3,
    "qwen3 with a window, tied": replace(QWEN3, sliding_window=5, tied=True, biases=Biases.ATTENTION),
    "olmo2": OLMO2,
    "bloom": replace(BLOOM, feed_forward=128),
    "bloom with six heads": replace(BLOOM, heads=6, embedding=48, feed_forward=192),
}
exportable = pytest.mark.parametrize("config", EXPORTABLE.values(), ids=EXPORTABLE.keys())


@pytest.fixture(scope="module")
def transformers() -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import transformers as module

        yield module


def random_model(config: ModelConfig) -> Transformer:
    """Every parameter is random, norms and biases too: one that is in the wrong place shows."""
    generator = torch.Generator().manual_seed(7)
    model = Transformer(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.5 if parameter.dim() == 1 else 0.0, 0.3, generator=generator)
    return model


def theirs_of(transformers: Any, given: dict[str, Any]) -> Any:
    """transformers' model of a config.json."""
    kind = transformers.CONFIG_MAPPING[given["model_type"]]
    return getattr(transformers, given["architectures"][0])(kind.from_dict(given)).eval()


def tokens() -> torch.Tensor:
    return torch.randint(0, 50, (2, 16), generator=torch.Generator().manual_seed(1))


@exportable
def test_logits_of_the_export_equal_transformers(config: ModelConfig, transformers: Any) -> None:
    model, family = random_model(config), family_of(config)
    given = family.to_config(config) | {"model_type": family.model_type}
    theirs = theirs_of(transformers, given)
    result = theirs.load_state_dict(dict(to_theirs(family, config, model.state_dict())), strict=False)
    assert not result.unexpected_keys
    assert set(result.missing_keys) <= ({"lm_head.weight"} if config.tied else set())
    theirs.tie_weights()
    with torch.no_grad():
        ours, expected = model(tokens()), theirs(tokens()).logits
    assert float(ours.std()) > 0.5
    assert float((ours - expected).abs().max()) < 1e-4


@exportable
def test_what_transformers_made_is_imported_with_its_logits(config: ModelConfig, transformers: Any) -> None:
    family = family_of(config)
    torch.manual_seed(5)
    theirs = theirs_of(transformers, family.to_config(config) | {"model_type": family.model_type})
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(0.5 if parameter.dim() == 1 else 0.0, 0.3)
    given = theirs.config.to_dict()
    found, imported = understood(given)
    model = Transformer(imported).eval()
    model.load_state_dict(to_ours(found, imported, theirs.state_dict()))
    with torch.no_grad():
        assert float((model(tokens()) - theirs(tokens()).logits).abs().max()) < 1e-4


@exportable
def test_a_config_survives_export_and_import(config: ModelConfig) -> None:
    family = family_of(config)
    again = family.from_config(family.to_config(config))
    assert again.width == config.width
    assert again.groups == config.groups
    restored = replace(
        again,
        dropout=config.dropout,
        initialization=config.initialization,
        initial_std=config.initial_std,
        head_width=config.head_width,
        key_value_heads=config.key_value_heads,
    )
    assert restored == config


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            replace(LLAMA, positions=PositionKind.ALIBI),
            "nearest is Llama, but `positions.kind` is Alibi, Llama has Rope",
        ),
        (replace(LLAMA, sliding_window=8), "`slidingWindow` is 8, Llama has 0"),
        (replace(LLAMA, norm=NormKind.LAYER_NORM), "`norm.kind` is LayerNorm, Llama has RMSNorm"),
        (replace(GPT2, placement=NormPlacement.SANDWICH), "`norm.placement` is Sandwich, GPT-2 has Pre"),
        (replace(GPT2, key_value_heads=2), "`keyValueHeads` is 2, it must be `heads`, 4"),
        (replace(GPT2, logit_soft_cap=30.0), "`logitSoftCap` is 30.0, GPT-2 has 0.0"),
        (BLOOM, "`feedForward` is 64, BLOOM has 4 x `embedding`"),
        (
            replace(LLAMA, biases=Biases.QUERY_KEY_VALUE),
            "`biases` is QueryKeyValue, Llama has None or Attention or All",
        ),
    ],
)
def test_what_no_family_has_is_refused_with_the_field(config: ModelConfig, words: str) -> None:
    with pytest.raises(StageError) as caught:
        family_of(config)
    assert words in caught.value.message
    assert caught.value.failure.value == "BadInput"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "mamba"}, "`model_type` is 'mamba'; gpt2, llama, qwen3, olmo2, bloom can be imported"),
        ({"quantization_config": {"bits": 4}}, "`quantization_config` is {'bits': 4}"),
        ({"hidden_act": "quick_gelu"}, "activation 'quick_gelu' is not supported"),
        ({"rope_parameters": {"rope_type": "longrope", "factor": 2.0}}, "longrope"),
        ({"mlp_bias": True}, "`mlp_bias` without `attention_bias`"),
        ({"num_hidden_layers": None}, "'num_hidden_layers'"),
    ],
)
def test_what_ours_cannot_express_is_not_imported(change: dict[str, Any], words: str) -> None:
    family = family_of(LLAMA)
    given = family.to_config(LLAMA) | {"model_type": "llama"} | change
    with pytest.raises(StageError) as caught:
        understood(given)
    assert words in caught.value.message


def test_old_names_and_buffers_are_understood() -> None:
    model, family = random_model(GPT2), family_of(GPT2)
    theirs = {name.removeprefix("transformer."): value for name, value in to_theirs(family, GPT2, model.state_dict())}
    theirs |= {"h.0.attn.bias": torch.ones(1), "h.0.attn.masked_bias": torch.ones(1)}
    theirs |= {"lm_head.weight": theirs["wte.weight"].clone()}
    state = to_ours(family, GPT2, theirs)
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert set(state) == set(model.state_dict())


def test_a_missing_and_an_unknown_tensor_are_named() -> None:
    family = family_of(LLAMA)
    theirs = dict(to_theirs(family, LLAMA, random_model(LLAMA).state_dict()))
    with pytest.raises(StageError, match=r"has no `model.layers.9.mlp.up_proj.weight`"):
        to_ours(family, LLAMA, theirs | {"model.layers.9.mlp.up_proj.weight": torch.ones(1)})
    del theirs["model.norm.weight"]
    with pytest.raises(StageError, match=r"`model.norm.weight` is missing"):
        to_ours(family, LLAMA, theirs)


def test_the_families_are_those_that_the_documentation_names() -> None:
    assert [family.name for family in FAMILIES] == ["GPT-2", "Llama", "Qwen 3", "OLMo 2", "BLOOM"]
