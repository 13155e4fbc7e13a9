"""Parameters, FLOPs, MFU and memory against published models and published benchmark rows."""

import pytest

from llmtrain.cost.fit import MPT_SHAPES
from llmtrain.cost.physics import (
    Attention,
    Recompute,
    Transformer,
    accelerator_hours,
    attention_flops_per_token,
    memory_per_accelerator,
    multiplying_parameters,
    parameters,
    size_of,
    train_flops_per_token,
    utilisation,
)
from llmtrain.cost.tables import chip, rows


def llama(
    layers: int, width: int, heads: int, ffn: int, kv: int = 0, vocabulary: int = 32000, context: int = 4096
) -> Transformer:
    return Transformer(layers, width, heads, ffn, vocabulary, context, kv_heads=kv, gated=True, tied=False)


LLAMA2 = {
    "Llama-2-7B": llama(32, 4096, 32, 11008),
    "Llama-2-13B": llama(40, 5120, 40, 13824),
    "Llama-2-34B": llama(48, 8192, 64, 22016, kv=8),
    "Llama-2-70B": llama(80, 8192, 64, 28672, kv=8),
}
GPT2 = Transformer(12, 768, 12, 3072, 50257, 1024, learned_positions=True, biases=True)
GPT2_XL = Transformer(48, 1600, 25, 6400, 50257, 1024, learned_positions=True, biases=True)
LLAMA3_8B = llama(32, 4096, 32, 14336, kv=8, vocabulary=128256, context=8192)


@pytest.mark.parametrize(
    ("model", "published"),
    [
        (LLAMA2["Llama-2-7B"], 6_738_415_616),
        (LLAMA2["Llama-2-13B"], 13_015_864_320),
        (LLAMA2["Llama-2-70B"], 68_976_648_192),
        (LLAMA3_8B, 8_030_261_248),
        (GPT2, 124_439_808),
        (GPT2_XL, 1_557_611_200),
    ],
)
def test_parameters_are_those_of_the_published_checkpoints(model: Transformer, published: int) -> None:
    assert parameters(model) == published


def test_a_mixture_counts_all_experts_but_multiplies_with_the_active_ones() -> None:
    mixtral = Transformer(32, 4096, 32, 14336, 32000, 4096, kv_heads=8, gated=True, tied=False, experts=8, active_experts=2)  # fmt: skip
    assert parameters(mixtral) == 46_702_792_704
    assert multiplying_parameters(mixtral) + 32000 * 4096 == pytest.approx(12.88e9, rel=0.001)


@pytest.mark.parametrize("name", LLAMA2)
def test_gpu_hours_of_llama_2_follow_from_flops_peak_and_mfu(name: str) -> None:
    row = next(row for row in rows("published_runs") if row["model"] == name)
    flops = 6 * parameters(LLAMA2[name]) * 2e12
    mfu = {"Llama-2-7B": 0.391, "Llama-2-13B": 0.377, "Llama-2-34B": 0.347, "Llama-2-70B": 0.428}[name]
    assert accelerator_hours(flops, chip("A100-SXM-80GB").peak_flops, mfu) == pytest.approx(
        float(row["accel_hours"]), rel=0.01
    )


def test_gpu_hours_of_the_llama_2_family_add_up_to_its_model_card() -> None:
    hours = [float(row["accel_hours"]) for row in rows("published_runs") if row["model"] in LLAMA2]
    assert sum(hours) == 3_311_616


def test_mfu_of_every_mosaicml_row_is_reproduced() -> None:
    """llm-foundry counts full attention and all parameters of the tied model."""
    peaks = {"a100_40gb": 312e12, "a100_80gb": 312e12, "h100_80gb": 989.4e12}
    checked = 0
    for row in rows("mfu_benchmarks"):
        if row["precision"] == "amp_fp8":
            continue
        layers, width = MPT_SHAPES[row["model"]]
        flops = 6 * float(row["params"]) + Attention.FULL.value * layers * width * float(row["seq_len"])
        mine = utilisation(float(row["tokens_per_s_gpu"]), flops, peaks[row["gpu"]])
        assert mine * 100 == pytest.approx(float(row["mfu_pct"]), rel=0.01), row
        checked += 1
    assert checked == 209


@pytest.mark.parametrize(("tokens_per_second", "published"), [(5762, 0.337), (6667, 0.390)])
def test_mfu_of_torchtitans_llama_3_8b_on_eight_h100_is_reproduced(tokens_per_second: float, published: float) -> None:
    """2024-12, eager and compiled; full attention, the embedding lookup not counted."""
    flops = train_flops_per_token(LLAMA3_8B, Attention.FULL)
    assert utilisation(tokens_per_second, flops, 989e12) == pytest.approx(published, rel=0.01)


@pytest.mark.parametrize(("tokens_per_second", "published"), [(2904, 0.568), (2973, 0.582)])
def test_mfu_of_torchtitans_llama_3_8b_on_64_a100_is_reproduced(tokens_per_second: float, published: float) -> None:
    """Its first table, selective recomputation by layer and by operation: there all parameters were counted."""
    flops = 6 * parameters(LLAMA3_8B) + attention_flops_per_token(LLAMA3_8B, Attention.FULL)
    assert utilisation(tokens_per_second, flops, 312e12) == pytest.approx(published, rel=0.01)


def test_training_flops_are_megatrons_closed_form() -> None:
    """72 B s L d^2 (1 + s / 6 d + V / 12 L d) per step [2104.04473], for a plain GPT with full attention."""
    layers, d, s, v = 96, 12288, 2048, 51200
    gpt3 = Transformer(layers, d, 96, 4 * d, v, s)
    closed = 72 * s * layers * d * d * (1 + s / (6 * d) + v / (12 * layers * d))
    assert train_flops_per_token(gpt3, Attention.FULL) * s == pytest.approx(closed, rel=1e-9)


def test_attention_that_looks_back_only_costs_half() -> None:
    full, causal = (train_flops_per_token(GPT2, kind) for kind in (Attention.FULL, Attention.CAUSAL))
    assert full - causal == 6 * 12 * 768 * 1024


def test_memory_is_sixteen_bytes_a_parameter_and_korthikantis_activations() -> None:
    memory = memory_per_accelerator(size_of(GPT2_XL), shards=4, sequences=2, recompute=Recompute.NONE)
    assert memory.states == 16 * 1_557_611_200 / 4
    assert memory.activations == pytest.approx(1024 * 2 * 1600 * 48 * (34 + 5 * 25 * 1024 / 1600))


def test_recomputation_needs_less_memory() -> None:
    sizes = [memory_per_accelerator(size_of(GPT2), 1, 1, kind).activations for kind in Recompute]
    assert sizes == sorted(sizes, reverse=True)
