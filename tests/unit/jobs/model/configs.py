"""Small models that between them use every part of the architecture."""

from dataclasses import replace

from llmtrain_jobs.model.config import ModelConfig, Rope

from llmtrain.api.model import (
    ActivationKind,
    Biases,
    InitializationKind,
    NormKind,
    NormPlacement,
    PositionKind,
    QueryKeyNorm,
    RopeScalingKind,
)

GPT2 = ModelConfig(layers=2, heads=4, embedding=32, feed_forward=64, context=16, vocabulary=50)
LLAMA = replace(
    GPT2,
    key_value_heads=2,
    norm=NormKind.RMS_NORM,
    activation=ActivationKind.SILU,
    gated=True,
    positions=PositionKind.ROPE,
    biases=Biases.NONE,
    tied=False,
)
BLOOM = replace(
    GPT2,
    positions=PositionKind.ALIBI,
    embedding_norm=True,
    initialization=InitializationKind.WIDTH_DEPTH_SCALED,
)
CONFIGS = {
    "gpt2": GPT2,
    "llama": LLAMA,
    "bloom": BLOOM,
    "alibi with six heads": replace(BLOOM, heads=6, embedding=48),
    "qwen3": replace(LLAMA, head_width=16, query_key_norm=QueryKeyNorm.HEAD),
    "olmo2": replace(LLAMA, placement=NormPlacement.OUTPUT, query_key_norm=QueryKeyNorm.WIDTH),
    "sandwich, multi-query, relu squared": replace(
        GPT2, placement=NormPlacement.SANDWICH, key_value_heads=1, activation=ActivationKind.RELU_SQUARED
    ),
    "post-norm, sinusoidal, gelu, soft cap": replace(
        GPT2,
        placement=NormPlacement.POST,
        positions=PositionKind.SINUSOIDAL,
        activation=ActivationKind.GELU,
        logit_soft_cap=5.0,
        initialization=InitializationKind.FAN_IN,
    ),
    "sliding window": replace(LLAMA, sliding_window=4, biases=Biases.QUERY_KEY_VALUE),
    "alibi and sliding window": replace(BLOOM, sliding_window=4, biases=Biases.ATTENTION),
    "yarn": replace(LLAMA, rope=Rope(scaling=RopeScalingKind.YARN, factor=4.0, original_context=16)),
}
