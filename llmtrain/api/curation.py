"""Spec of step 2, data curation: from raw documents to token shards."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from llmtrain.api.base import DecimalString, Model, Name, Path
from llmtrain.api.cluster import Cluster


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
