"""Spec of step 3, the architecture: a published one by name, one sized to the budget, or one of your own."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from llmtrain.api.base import Model, Rule, SignificantString, cel, exactly_one

ShareString = Annotated[str, Field(pattern=r"^0(\.[0-9]{1,9})?$", max_length=16)]
"""A decimal from 0 to below 1, as a string: "0.1"."""


class NormKind(StrEnum):
    """How a vector is normalised."""

    LAYER_NORM = "LayerNorm"
    RMS_NORM = "RMSNorm"


class NormPlacement(StrEnum):
    """Where a block normalises, f being attention or feed-forward.

    Pre: x + f(norm(x)). Post: norm(x + f(x)). Output: x + norm(f(x)). Sandwich: x + norm(f(norm(x))).
    """

    PRE = "Pre"
    POST = "Post"
    OUTPUT = "Output"
    SANDWICH = "Sandwich"


class ActivationKind(StrEnum):
    """Nonlinearity of the feed-forward block."""

    GELU = "Gelu"
    GELU_TANH = "GeluTanh"
    RELU_SQUARED = "ReluSquared"
    SILU = "Silu"


class PositionKind(StrEnum):
    """How the model knows where a token stands."""

    LEARNED = "Learned"
    SINUSOIDAL = "Sinusoidal"
    ROPE = "Rope"
    ALIBI = "Alibi"


class RopeScalingKind(StrEnum):
    """How rotary frequencies are stretched for a longer context."""

    LINEAR = "Linear"
    LLAMA3 = "Llama3"
    YARN = "Yarn"


class QueryKeyNorm(StrEnum):
    """Normalisation of queries and keys: none, each head by itself (Qwen 3), all heads as one vector (OLMo 2)."""

    NONE = "None"
    HEAD = "Head"
    WIDTH = "Width"


class Biases(StrEnum):
    """Which layers have biases. All: every matrix but the output's, and LayerNorm."""

    NONE = "None"
    QUERY_KEY_VALUE = "QueryKeyValue"
    ATTENTION = "Attention"
    ALL = "All"


class InitializationKind(StrEnum):
    """Standard deviation of the first weights.

    Normal: `std` everywhere. DepthScaled: what is added to the residual stream gets std / sqrt(2 layers) (GPT-2).
    WidthDepthScaled: as DepthScaled with std = 1 / sqrt(3 embedding) (Smith et al. 2022, BloombergGPT).
    FanIn: 1 / sqrt(inputs of the matrix).
    """

    NORMAL = "Normal"
    DEPTH_SCALED = "DepthScaled"
    WIDTH_DEPTH_SCALED = "WidthDepthScaled"
    FAN_IN = "FanIn"


class Norm(Model):
    """Normalisation."""

    kind: NormKind = Field(NormKind.LAYER_NORM, description="LayerNorm or RMSNorm.")
    placement: NormPlacement = Field(
        NormPlacement.PRE,
        description="Pre: x + f(norm(x)); Post: norm(x + f(x)); Output: x + norm(f(x)); Sandwich: x + norm(f(norm(x))).",
    )
    epsilon: SignificantString = Field("1e-5", description="Added to the variance.")


class Activation(Model):
    """Feed-forward nonlinearity."""

    kind: ActivationKind = Field(ActivationKind.GELU_TANH, description="Gelu, GeluTanh, ReluSquared or Silu.")
    gated: bool = Field(False, description="down(act(gate(x)) * up(x)) instead of down(act(up(x))): SwiGLU, GeGLU.")


class RopeScaling(Model):
    """Stretching of rotary positions."""

    kind: RopeScalingKind = Field(description="Linear, Llama3 or Yarn.")
    factor: SignificantString = Field(description="How many times longer the context becomes.")
    original_context: int = Field(
        8192, ge=16, le=1_048_576, description="Llama3, Yarn: context before stretching, tokens."
    )
    low_frequency_factor: SignificantString = Field("1", description="Llama3: below, frequencies are stretched whole.")
    high_frequency_factor: SignificantString = Field("4", description="Llama3: above, they stay as they are.")
    beta_fast: SignificantString = Field("32", description="Yarn: rotations above which a frequency stays.")
    beta_slow: SignificantString = Field("1", description="Yarn: rotations below which it is stretched whole.")


class Positions(Model):
    """Positions."""

    kind: PositionKind = Field(PositionKind.LEARNED, description="Learned, Sinusoidal, Rope or Alibi.")
    rope_theta: SignificantString = Field("10000", description="Rope: base of the wavelengths.")
    rope_scaling: RopeScaling | None = Field(None, description="Rope: stretching for a longer context.")

    model_config = Model.model_config | {
        "json_schema_extra": cel(
            Rule(
                rule="!has(self.ropeScaling) || self.kind == 'Rope'",
                message="`ropeScaling` needs `kind: Rope`",
                field_path=".ropeScaling",
            )
        )
    }


class Initialization(Model):
    """First weights."""

    kind: InitializationKind = Field(
        InitializationKind.DEPTH_SCALED, description="Normal, DepthScaled, WidthDepthScaled or FanIn."
    )
    std: SignificantString = Field("0.02", description="Standard deviation; not used by WidthDepthScaled.")


_ARCHITECTURE_RULES = cel(
    Rule(
        rule="self.headWidth > 0 || self.embedding % self.heads == 0",
        message="`embedding` must be a multiple of `heads` unless `headWidth` is set",
        field_path=".embedding",
    ),
    Rule(
        rule="self.keyValueHeads == 0 || self.heads % self.keyValueHeads == 0",
        message="`heads` must be a multiple of `keyValueHeads`",
        field_path=".keyValueHeads",
    ),
    Rule(
        rule="self.positions.kind != 'Rope' || "
        "(self.headWidth > 0 ? self.headWidth : self.embedding / self.heads) % 2 == 0",
        message="`positions.kind: Rope` needs an even width of a head (`headWidth`, or `embedding` / `heads`)",
        field_path=".headWidth",
    ),
    Rule(
        rule="self.positions.kind != 'Sinusoidal' || self.embedding % 2 == 0",
        message="`positions.kind: Sinusoidal` needs an even `embedding`",
        field_path=".embedding",
    ),
)


class Architecture(Model):
    """A decoder-only transformer, given by its dimensions; without more it is built like GPT-2."""

    layers: int = Field(ge=1, le=512, description="Transformer blocks.")
    heads: int = Field(ge=1, le=512, description="Attention heads.")
    key_value_heads: int = Field(
        0, ge=0, le=512, description="Heads of keys and values, shared by groups of `heads`; 0: as many as `heads`."
    )
    head_width: int = Field(0, ge=0, le=4096, description="Width of a head; 0: embedding / heads.")
    embedding: int = Field(ge=8, le=65536, description="Model width; must be a multiple of `heads`.")
    feed_forward: int = Field(
        0,
        ge=0,
        le=262144,
        description="Hidden width of the feed-forward block; 0: 4 x embedding, or 8/3 x embedding where it is gated.",
    )
    norm: Norm = Field(Norm(), description="Normalisation.")
    activation: Activation = Field(Activation(), description="Feed-forward nonlinearity.")
    positions: Positions = Field(Positions(), description="Positions.")
    query_key_norm: QueryKeyNorm = Field(QueryKeyNorm.NONE, description="Normalisation of queries and keys.")
    sliding_window: int = Field(
        0, ge=0, le=1_048_576, description="Tokens that a token sees, itself included; 0: all before it."
    )
    embedding_norm: bool = Field(False, description="Normalise the embedding, as BLOOM and BloombergGPT do.")
    biases: Biases = Field(Biases.ALL, description="Which layers have biases.")
    tied_embeddings: bool = Field(True, description="The output shares the token embedding.")
    dropout: ShareString = Field("0", description="Share of activations that is dropped in training, below 1.")
    initialization: Initialization = Field(Initialization(), description="First weights.")
    logit_soft_cap: SignificantString = Field("0", description="c: logits become c tanh(logits / c); 0: none.")

    model_config = Model.model_config | {"json_schema_extra": _ARCHITECTURE_RULES}


class Preset(StrEnum):
    """Published architectures by name, a tiny one for trials, and `auto`, sized to the budget."""

    AUTO = "auto"
    TINY = "tiny"
    GPT2 = "gpt2"
    GPT2_MEDIUM = "gpt2-medium"
    GPT2_LARGE = "gpt2-large"
    GPT2_XL = "gpt2-xl"
    LLAMA2_7B = "llama2-7b"
    LLAMA2_13B = "llama2-13b"
    LLAMA2_70B = "llama2-70b"
    LLAMA3_8B = "llama3-8b"
    LLAMA3_70B = "llama3-70b"
    LLAMA3_405B = "llama3-405b"
    BLOOMBERGGPT_50B = "bloomberggpt-50b"


class SizeFor(Model):
    """What `preset: auto` sizes the model for; nothing: `training.tokens`."""

    tokens: int | None = Field(None, ge=1, le=10**15, description="Training tokens.")
    flops: SignificantString | None = Field(None, description="Floating-point operations of training: 6 N D.")

    model_config = Model.model_config | {"json_schema_extra": cel(exactly_one("tokens", "flops"))}


class ModelSpec(Model):
    """Step 3: the architecture."""

    preset: Preset | None = Field(None, description="A published architecture, or `auto`.")
    architecture: Architecture | None = Field(None, description="An architecture of your own.")
    size_for: SizeFor | None = Field(None, description="Budget of `preset: auto`; absent: `training.tokens`.")
    context_length: int = Field(512, ge=16, le=1_048_576, description="Tokens that the model sees at once.")

    model_config = Model.model_config | {
        "json_schema_extra": cel(
            exactly_one("preset", "architecture"),
            Rule(
                rule="!has(self.sizeFor) || (has(self.preset) && self.preset == 'auto')",
                message="`sizeFor` needs `preset: auto`",
                field_path=".sizeFor",
            ),
        )
    }
