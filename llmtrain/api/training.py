"""Spec of step 4, training."""

from enum import StrEnum

from pydantic import Field

from llmtrain.api.base import DecimalString, Model, SignificantString
from llmtrain.api.cluster import Cluster


class Precision(StrEnum):
    """Number format of the forward and backward pass."""

    FP32 = "Fp32"
    BF16_MIXED = "Bf16Mixed"


class Optimizer(Model):
    """AdamW with linear warm-up and cosine decay."""

    peak_learning_rate: SignificantString = Field("6e-4", description="Learning rate after warm-up.")
    warmup_tokens: int = Field(0, ge=0, le=10**15, description="Tokens of linear warm-up.")
    weight_decay: DecimalString = Field("0.1", description="Decay of matrices; biases, norms and embeddings have none.")
    gradient_clip: DecimalString = Field("1.0", description="Upper bound of the gradient's norm; 0: none.")


class CheckpointInterval(Model):
    """How often a checkpoint is written."""

    seconds: int = Field(300, ge=1, le=86400, description="Seconds between checkpoints.")


class Checkpoint(Model):
    """Checkpoints of training."""

    interval: CheckpointInterval = Field(CheckpointInterval(), description="How often.")
    keep_last: int = Field(2, ge=1, le=100, description="Complete checkpoints that are kept.")


class Training(Model):
    """Step 4: training."""

    cluster: Cluster = Field(description="The stage's cluster.")
    tokens: int = Field(ge=1, le=10**15, description="Tokens to train on; passes over the data repeat.")
    global_batch_tokens: int = Field(16384, ge=16, le=10**9, description="Tokens per optimizer step over all workers.")
    precision: Precision = Field(Precision.BF16_MIXED, description="Number format; CPU workers use Fp32 masters alike.")
    optimizer: Optimizer = Field(Optimizer(), description="The optimizer.")
    checkpoint: Checkpoint = Field(Checkpoint(), description="Checkpoints.")
