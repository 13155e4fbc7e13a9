"""Spec of the work itself: curation, model, training, evaluation."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from llmtrain.api.base import DecimalString, Model, Name, Rule, SignificantString, cel
from llmtrain.api.cluster import Cluster, PreflightCluster

Path = Annotated[str, Field(min_length=1, max_length=1024)]


class SourceFormat(StrEnum):
    """How a source's files are read. Auto goes by the file's ending."""

    AUTO = "Auto"
    JSONL = "Jsonl"
    TEXT = "Text"


class Source(Model):
    """One set of documents."""

    name: Name = Field(description="Name of the source in reports.")
    path: Path = Field(description="Glob of files: s3://bucket/..., file:///..., or relative to the job's storage.")
    group: Name = Field("default", description="Group that the source is reported under.")
    format: SourceFormat = Field(SourceFormat.AUTO, description="File format; Auto goes by the file's ending.")
    text_field: Annotated[str, Field(max_length=64)] = Field("text", description="JSON field that holds the text.")
    id_field: Annotated[str, Field(max_length=64)] = Field("id", description="JSON field that holds the id, if any.")
    licence: Annotated[str, Field(max_length=64)] = Field("", description="SPDX name of the texts' licence.")


class FilterPreset(StrEnum):
    """Published sets of document rules."""

    GOPHER = "Gopher"


class Filters(Model):
    """Which documents are kept."""

    presets: Annotated[list[FilterPreset], Field(max_length=8)] = Field(
        [FilterPreset.GOPHER], description="Rule sets that apply."
    )


class Deduplication(Model):
    """Removal of repeated documents."""

    exact: bool = Field(True, description="Drop documents whose normalised text occurred before.")


class TokenizerTraining(Model):
    """A byte-level BPE tokenizer trained on the kept text."""

    vocabulary_size: int = Field(8192, ge=300, le=1_000_000, description="Entries, special tokens included.")


class Tokenizer(Model):
    """Where the tokenizer comes from."""

    train: TokenizerTraining = Field(TokenizerTraining(), description="Train one on the kept text.")


class Validation(Model):
    """The held-out split."""

    share: DecimalString = Field("0.01", description="Share of the documents that is held out, 0 to 0.5.")


class CurationRequirement(Model):
    """Gate: training is not paid for unless this holds."""

    min_tokens: int = Field(0, ge=0, le=10**15, description="Tokens that must be kept.")


class Curation(Model):
    """Step 2: from raw documents to token shards."""

    cluster: Cluster = Field(description="The stage's cluster.")
    sources: Annotated[list[Source], Field(min_length=1, max_length=64)] = Field(
        description="Where documents come from."
    )
    max_bad_record_share: DecimalString = Field("0.01", description="Share of unreadable records that is tolerated.")
    filters: Filters = Field(Filters(), description="Document rules.")
    deduplication: Deduplication = Field(Deduplication(), description="Removal of repeats.")
    tokenizer: Tokenizer = Field(Tokenizer(), description="The tokenizer.")
    validation: Validation = Field(Validation(), description="The held-out split.")
    require: CurationRequirement = Field(CurationRequirement(), description="Gate before training.")


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


class TaskKind(StrEnum):
    """Kinds of local multiple-choice files that are known by shape."""

    ARC_EASY = "arc_easy"
    ARC_CHALLENGE = "arc_challenge"


class Perplexity(Model):
    """Held-out perplexity."""

    split: Annotated[str, Field(pattern="^validation$", max_length=16)] = Field("validation", description="The split.")


class Task(Model):
    """One evaluation."""

    name: Name = Field(description="Name of the result.")
    perplexity: Perplexity | None = Field(None, description="Held-out perplexity and bits per byte.")
    task: TaskKind | None = Field(None, description="Multiple-choice task, read from `dataFile`.")
    data_file: Path | None = Field(None, description="The task's JSON lines: s3://..., file:///..., or relative.")
    few_shot: int = Field(0, ge=0, le=64, description="Solved examples before each question.")
    limit: int = Field(0, ge=0, le=10**6, description="Questions that are asked; 0: all.")

    model_config = Model.model_config | {
        "json_schema_extra": cel(
            Rule(
                rule="has(self.perplexity) != has(self.task)",
                message="exactly one of `perplexity` and `task` must be set",
            ),
            Rule(
                rule="has(self.task) == has(self.dataFile)",
                message="`dataFile` must be set where `task` is, and only there",
            ),
        )
    }


class Requirement(Model):
    """Gate on a score."""

    metric: Annotated[str, Field(pattern=r"^[a-z0-9-]+/[a-z_]+$", max_length=128)] = Field(
        description="`task/metric`, for example held-out/bits_per_byte."
    )
    at_most: DecimalString | None = Field(None, description="Upper bound, inclusive.")
    at_least: DecimalString | None = Field(None, description="Lower bound, inclusive.")

    model_config = Model.model_config | {
        "json_schema_extra": cel(
            Rule(
                rule="has(self.atMost) != has(self.atLeast)",
                message="exactly one of `atMost` and `atLeast` must be set",
            )
        )
    }


class Evaluation(Model):
    """Step 5: evaluation."""

    cluster: Cluster = Field(description="The stage's cluster.")
    tasks: Annotated[list[Task], Field(min_length=1, max_length=64)] = Field(description="What is measured.")
    require: Annotated[list[Requirement], Field(max_length=64)] = Field([], description="Scores that must be reached.")


class Preflight(Model):
    """The check before anything is paid for."""

    cluster: PreflightCluster = Field(PreflightCluster(), description="The stage's pod.")
