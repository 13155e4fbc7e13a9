"""Spec of step 3, the architecture."""

from enum import StrEnum

from pydantic import Field

from llmtrain.api.base import Model, Rule, cel


class Architecture(Model):
    """A decoder-only transformer, given by its dimensions."""

    layers: int = Field(ge=1, le=512, description="Transformer blocks.")
    heads: int = Field(ge=1, le=512, description="Attention heads.")
    embedding: int = Field(ge=8, le=65536, description="Model width; must be a multiple of `heads`.")
    feed_forward: int = Field(
        0, ge=0, le=262144, description="Hidden width of the feed-forward block; 0: 4 x embedding."
    )

    model_config = Model.model_config | {
        "json_schema_extra": cel(
            Rule(
                rule="self.embedding % self.heads == 0",
                message="`embedding` must be a multiple of `heads`",
                field_path=".embedding",
            )
        )
    }


class Preset(StrEnum):
    """Published architectures by name."""

    TINY = "tiny"
    GPT2 = "gpt2"
    GPT2_XL = "gpt2-xl"


class ModelSpec(Model):
    """Step 3: the architecture."""

    preset: Preset | None = Field(None, description="A published architecture.")
    architecture: Architecture | None = Field(None, description="An architecture of your own.")
    context_length: int = Field(512, ge=16, le=1_048_576, description="Tokens that the model sees at once.")

    model_config = Model.model_config | {
        "json_schema_extra": cel(
            Rule(
                rule="has(self.preset) != has(self.architecture)",
                message="exactly one of `preset` and `architecture` must be set",
            )
        )
    }
