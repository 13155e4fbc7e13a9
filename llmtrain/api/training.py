"""Spec of step 4, training."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from llmtrain.api.base import DecimalString, Model, Name, Path, Rule, SignificantString, cel, exactly_one
from llmtrain.api.cluster import TrainingCluster
from llmtrain.api.meshes import mesh_rules


class Precision(StrEnum):
    """Number format of the forward and backward pass."""

    FP32 = "Fp32"
    BF16_MIXED = "Bf16Mixed"
    FP8_MIXED = "Fp8Mixed"


class Device(StrEnum):
    """What the workers compute on."""

    AUTO = "Auto"
    CPU = "Cpu"


class Packing(StrEnum):
    """Whether a position may attend beyond its own document."""

    CONTIGUOUS = "Contiguous"
    DOCUMENT_MASKED = "DocumentMasked"


class Sharding(StrEnum):
    """How the replicas of the model share its state."""

    DDP = "Ddp"
    FSDP2 = "Fsdp2"
    HSDP = "Hsdp"


class PipelineSchedule(StrEnum):
    """The order of forward and backward passes of a pipeline's stages."""

    ONE_F_ONE_B = "OneForwardOneBackward"
    INTERLEAVED = "Interleaved"


class Recompute(StrEnum):
    """Which activations are computed again in the backward pass instead of kept."""

    NONE = "None"
    FULL = "Full"
    ALTERNATE = "Alternate"


class OptimizerName(StrEnum):
    """The update rule."""

    ADAMW = "AdamW"
    MUON = "Muon"


class Schedule(StrEnum):
    """The learning rate after warm-up."""

    COSINE = "Cosine"
    LINEAR = "Linear"
    WARMUP_STABLE_DECAY = "WarmupStableDecay"
    INVERSE_SQUARE_ROOT = "InverseSquareRoot"
    CONSTANT = "Constant"


class Anneal(StrEnum):
    """How the learning rate falls within one phase."""

    NONE = "None"
    LINEAR = "Linear"
    COSINE = "Cosine"
    SQUARE_ROOT = "SquareRoot"


class Reaction(StrEnum):
    """What happens when a step goes wrong."""

    SKIP_STEP = "SkipStep"
    LOWER_RATE = "LowerRate"
    ROLL_BACK = "RollBack"
    STOP = "Stop"


class ContinueState(StrEnum):
    """What is taken over from another training."""

    WEIGHTS = "Weights"
    WEIGHTS_AND_OPTIMIZER = "WeightsAndOptimizer"


class Optimizer(Model):
    """The optimizer and its learning rate."""

    name: OptimizerName = Field(
        OptimizerName.ADAMW,
        description="AdamW, or Muon for the matrices of the blocks with AdamW for everything else.",
    )
    peak_learning_rate: SignificantString = Field("6e-4", description="Learning rate after warm-up.")
    muon_learning_rate: SignificantString = Field("0.02", description="Peak learning rate of Muon's matrices.")
    schedule: Schedule = Field(Schedule.COSINE, description="The learning rate after warm-up.")
    warmup_tokens: int = Field(0, ge=0, le=10**15, description="Tokens of linear warm-up.")
    decay_tokens: int = Field(
        0, ge=0, le=10**15, description="WarmupStableDecay: tokens of the decay at the end; 0: a fifth of all."
    )
    final_share: DecimalString = Field("0.1", description="Share of the peak at which the schedule ends.")
    weight_decay: DecimalString = Field("0.1", description="Decay of matrices; biases, norms and embeddings have none.")
    beta1: DecimalString = Field("0.9", description="AdamW: decay of the mean of gradients.")
    beta2: DecimalString = Field("0.95", description="AdamW: decay of the mean of squared gradients.")
    epsilon: SignificantString = Field("1e-8", description="AdamW: added to the denominator.")
    gradient_clip: DecimalString = Field("1.0", description="Upper bound of the gradient's norm; 0: none.")


DEFAULT_INTERVAL_SECONDS = 300


class CheckpointInterval(Model):
    """How often a checkpoint is written; nothing set: every 300 seconds."""

    seconds: int | None = Field(None, ge=1, le=86400, description="Seconds between checkpoints.")
    steps: int | None = Field(None, ge=1, le=10**9, description="Steps between checkpoints.")
    auto: bool = Field(
        False, description="From the measured cost of a save and the rate of failures (Young 1974, Daly 2006)."
    )

    @property
    def typical_seconds(self) -> int:
        """For estimates: what is set, else the default, which counted steps and Auto are taken to be near."""
        return self.seconds or DEFAULT_INTERVAL_SECONDS

    model_config = Model.model_config | {
        "json_schema_extra": cel(
            Rule(
                rule="[has(self.seconds), has(self.steps), self.auto].filter(x, x).size() <= 1",
                message="at most one of `seconds`, `steps` and `auto` may be set",
            )
        )
    }


class Checkpoint(Model):
    """Checkpoints of training."""

    interval: CheckpointInterval = Field(CheckpointInterval(), description="How often.")
    keep_last: int = Field(2, ge=1, le=100, description="Complete checkpoints that are kept.")
    keep_every: int = Field(
        0, ge=0, le=10**9, description="Checkpoints whose step is a multiple of this are kept for good; 0: none."
    )
    asynchronous: bool = Field(
        True, alias="async", description="Write in the background, from a copy in the worker's memory."
    )


class Stability(Model):
    """What happens when a loss or gradient is no number, or far from what it was."""

    on_non_finite: Reaction = Field(Reaction.SKIP_STEP, description="A loss or gradient that is no finite number.")
    on_spike: Reaction = Field(
        Reaction.SKIP_STEP, description="A loss or gradient norm above mean + spikeSigma standard deviations."
    )
    spike_sigma: DecimalString = Field("6", description="Standard deviations above the mean that make a spike.")
    window: int = Field(128, ge=4, le=4096, description="Steps that mean and standard deviation are taken over.")
    roll_back_checkpoints: int = Field(
        1, ge=1, le=10, description="RollBack: go back to the n-th newest checkpoint and leave out the data since."
    )
    lower_rate_factor: DecimalString = Field("0.5", description="LowerRate: multiplies the learning rate from then on.")
    limit: int = Field(
        20, ge=1, le=1000, description="Reactions in a row, or roll-backs in all, before training stops."
    )


class Parallelism(Model):
    """How the model is spread over the workers: data x context x pipeline x tensor processes."""

    data: Annotated[str, Field(pattern="^(Auto|[1-9][0-9]{0,4})$", max_length=5)] = Field(
        "Auto", description="Replicas of the model, or shards of FSDP; Auto: what the others leave."
    )
    tensor: int = Field(1, ge=1, le=64, description="Processes that share each matrix, with sequence parallelism.")
    pipeline: int = Field(1, ge=1, le=64, description="Stages that the blocks are divided into.")
    context: int = Field(
        1,
        ge=1,
        le=64,
        description="Experimental: processes that divide each sequence (context parallelism); attention gathers the "
        "keys and values of all of it. Must divide contextLength and the lengths of sequenceRamp.",
    )
    sharding: Sharding = Field(Sharding.FSDP2, description="How the data-parallel processes share the state.")
    shard_size: int = Field(0, ge=0, le=4096, description="Hsdp: processes that share one replica's state.")
    schedule: PipelineSchedule = Field(PipelineSchedule.ONE_F_ONE_B, description="Order of the pipeline's passes.")
    virtual_stages: int = Field(2, ge=2, le=16, description="Interleaved: parts of the model in each process.")
    micro_batches: int = Field(0, ge=0, le=4096, description="Micro-batches of a pipeline's step; 0: 2 x pipeline.")


class Compute(Model):
    """What a step costs in memory and time."""

    micro_batch_sequences: int = Field(
        0, ge=0, le=65536, description="Sequences that a worker computes at once; 0: up to 8,192 tokens."
    )
    recompute: Recompute = Field(Recompute.NONE, description="Activations computed again in the backward pass.")
    compile: bool = Field(
        False, description="Compile the blocks with torch.compile; the image must have a compiler (g++, for GPUs gcc)."
    )
    loss_chunk_tokens: int = Field(
        4096, ge=0, le=10**6, description="Tokens whose logits are in memory at once; 0: all of a micro-batch."
    )
    z_loss: SignificantString = Field("0", description="Weight of the squared logarithm of the softmax's denominator.")


class MixtureShare(Model):
    """One source's part of a phase."""

    source: Name = Field(description="Name of a source of `curation.sources`.")
    weight: DecimalString = Field(description="Share of the phase's sequences, relative to the other weights.")


class Phase(Model):
    """A part of training with a mixture of its own."""

    name: Name = Field(description="Name of the phase.")
    tokens: int = Field(ge=1, le=10**15, description="Tokens of the phase.")
    mixture: Annotated[list[MixtureShare], Field(max_length=64)] = Field(
        [], description="Shares of the sources; empty: as many sequences of each as it has."
    )
    anneal: Anneal = Field(Anneal.NONE, description="Fall of the learning rate over this phase; None: the schedule's.")
    final_share: DecimalString = Field("0", description="Share of the peak at which the anneal ends.")


class RampStep(Model):
    """From a number of tokens on, another size."""

    from_tokens: int = Field(ge=0, le=10**15, description="Tokens seen from which on it holds.")
    global_batch_tokens: int = Field(ge=16, le=10**9, description="Tokens per optimizer step.")


class SequenceStep(Model):
    """From a number of tokens on, another length."""

    from_tokens: int = Field(ge=0, le=10**15, description="Tokens seen from which on it holds.")
    length: int = Field(ge=8, le=1_048_576, description="Tokens that are seen at once; divides model.contextLength.")


class ContinueFrom(Model):
    """Start from another training's model, or from a model of one of the Hugging Face families that are exported."""

    artifact: Annotated[str, Field(pattern="^[0-9a-f]{16}$", max_length=16)] | None = Field(
        None, description="Key of a training artifact in this storage."
    )
    hugging_face: Path | None = Field(
        None,
        description="Folder in this storage with config.json, safetensors and tokenizer.json of a model of the same "
        "architecture and tokenizer; embedding rows behind the tokenizer's entries are left out. Finished work is known "
        "by this name: other weights need another folder.",
    )
    state: ContinueState = Field(ContinueState.WEIGHTS, description="What is taken over.")

    model_config = Model.model_config | {
        "json_schema_extra": cel(
            exactly_one("artifact", "huggingFace"),
            Rule(
                rule="!has(self.huggingFace) || self.state == 'Weights'",
                message="`huggingFace` has weights only; `state` must be Weights",
                field_path=".state",
            ),
        )
    }


DECAY = "(self.optimizer.decayTokens > 0 ? self.optimizer.decayTokens : self.tokens / 5)"


def _training_rules() -> dict[str, Any]:
    return cel(
        Rule(
            rule="self.optimizer.warmupTokens <= self.tokens",
            message="`optimizer.warmupTokens` must not be above `tokens`",
            field_path=".optimizer.warmupTokens",
        ),
        Rule(
            rule="self.optimizer.schedule != 'WarmupStableDecay' || "
            f"self.optimizer.warmupTokens + {DECAY} <= self.tokens",
            message="`optimizer.warmupTokens` and `decayTokens` (0: a fifth of `tokens`) together must not be above `tokens`",
            field_path=".optimizer.decayTokens",
        ),
        Rule(
            rule="self.phases.size() == 0 || self.phases.map(p, p.tokens).sum() == self.tokens",
            message="the tokens of `phases` must add up to `tokens`",
            field_path=".phases",
        ),
        *mesh_rules(),
        Rule(
            rule="self.precision != 'Fp8Mixed' || "
            "(self.device == 'Auto' && self.cluster.workers.acceleratorsPerWorker > 0)",
            message="`precision` Fp8Mixed needs accelerators: `cluster.workers.acceleratorsPerWorker` and `device` Auto",
            field_path=".precision",
        ),
        Rule(
            rule="self.precision != 'Fp8Mixed' || self.parallelism.tensor * self.parallelism.pipeline == 1",
            message="`precision` Fp8Mixed is not tested with `parallelism.tensor` or `parallelism.pipeline` above 1",
            field_path=".precision",
        ),
    )


class Training(Model):
    """Step 4: training."""

    cluster: TrainingCluster = Field(description="The stage's cluster.")
    tokens: int = Field(ge=1, le=10**15, description="Tokens to train on; passes over the data repeat.")
    phases: Annotated[list[Phase], Field(max_length=16)] = Field([], description="Parts; empty: one phase.")
    continue_from: ContinueFrom | None = Field(None, description="Start from another training's model.")
    global_batch_tokens: int = Field(16384, ge=16, le=10**9, description="Tokens per optimizer step over all workers.")
    batch_ramp: Annotated[list[RampStep], Field(max_length=64)] = Field(
        [], description="Other batch sizes, by tokens seen; before the first, globalBatchTokens."
    )
    sequence_ramp: Annotated[list[SequenceStep], Field(max_length=16)] = Field(
        [], description="Shorter sequences, by tokens seen; before the first, model.contextLength."
    )
    packing: Packing = Field(Packing.CONTIGUOUS, description="Whether attention crosses documents.")
    device: Device = Field(
        Device.AUTO, description="Auto: accelerators where the workers request some, and no start without them."
    )
    precision: Precision = Field(
        Precision.BF16_MIXED,
        description="Number format; CPU workers use Fp32 masters alike. Fp8Mixed is experimental: as Bf16Mixed, with the "
        "blocks' matrices multiplied in fp8, on NVIDIA accelerators of compute capability 8.9 or above.",
    )
    parallelism: Parallelism = Field(Parallelism(), description="How the model is spread over the workers.")
    compute: Compute = Field(Compute(), description="What a step costs in memory and time.")
    optimizer: Optimizer = Field(Optimizer(), description="The optimizer.")
    checkpoint: Checkpoint = Field(Checkpoint(), description="Checkpoints.")
    stability: Stability = Field(Stability(), description="What happens when a step goes wrong.")
    evaluate_every_tokens: int = Field(
        0, ge=0, le=10**15, description="Loss on held-out text this often, and at the end; 0: never."
    )

    model_config = Model.model_config | {"json_schema_extra": _training_rules()}
