"""Spec of step 2, data curation: from raw documents to token shards."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from llmtrain.api.base import DecimalString, Model, Name, Path, Rule, cel
from llmtrain.api.cluster import Cluster
from llmtrain.api.urls import URL

FieldName = Annotated[str, Field(max_length=64)]
OptionalPath = Annotated[str, Field(max_length=1024), URL]


class SourceFormat(StrEnum):
    """How a source's files are read. Auto goes by the file's ending."""

    AUTO = "Auto"
    JSONL = "Jsonl"
    PARQUET = "Parquet"
    TEXT = "Text"
    HTML = "Html"
    WARC = "Warc"
    WET = "Wet"


class StatusClass(StrEnum):
    """A class of HTTP status."""

    SUCCESS = "2xx"
    REDIRECTION = "3xx"
    CLIENT_ERROR = "4xx"
    SERVER_ERROR = "5xx"


class Source(Model):
    """One set of documents."""

    name: Name = Field(description="Name of the source in reports.")
    path: Path = Field(description="Glob of files: s3://bucket/..., file:///..., or relative to the job's storage.")
    group: Name = Field("default", description="Group that the source is reported under.")
    format: SourceFormat = Field(SourceFormat.AUTO, description="File format; Auto goes by the file's ending.")
    text_field: FieldName = Field("text", description="Field that holds the text (JSON lines, Parquet).")
    id_field: FieldName = Field("id", description="Field that holds the id, if any.")
    url_field: FieldName = Field("url", description="Field that holds the URL, if any.")
    date_field: FieldName = Field("date", description="Field that holds an ISO 8601 date, if any.")
    http_statuses: Annotated[list[StatusClass], Field(min_length=1, max_length=4)] = Field(
        [StatusClass.SUCCESS],
        description="HTTP statuses whose pages are read from web archives; others are skipped and counted.",
    )
    licence: FieldName = Field("", description="SPDX name of the texts' licence.")
    weight: DecimalString = Field("1.0", description="Weight in the sample that the tokenizer is trained on.")


class Pages(Model):
    """What is taken of web pages."""

    comments: bool = Field(
        False, description="Take readers' comments beside the main text. Of a page without a main text all is taken."
    )


class Edit(StrEnum):
    """Line rules that change a text before anything is measured on it."""

    C4_LINES = "C4Lines"
    REFINED_WEB_LINES = "RefinedWebLines"


class FilterPreset(StrEnum):
    """Published sets of document rules."""

    GOPHER = "Gopher"
    C4 = "C4"
    FINE_WEB = "FineWeb"
    REFINED_WEB = "RefinedWeb"
    DCLM_HEURISTIC = "DCLMHeuristic"
    DOLMA = "Dolma"


class Language(Model):
    """A language that is kept."""

    code: Annotated[str, Field(pattern="^[a-z]{2,3}$", max_length=3)] = Field(description="ISO 639 code: en, de.")
    min_score: DecimalString = Field("0.65", description="Least probability that the language model gives it, 0 to 1.")


class ClassifierKind(StrEnum):
    """What the model is. FastText: one file; SequenceClassification: a folder in Hugging Face's format."""

    FAST_TEXT = "FastText"
    SEQUENCE_CLASSIFICATION = "SequenceClassification"


class Classifier(Model):
    """A model that scores every document."""

    name: Annotated[str, Field(pattern="^[a-z][A-Za-z0-9]{0,30}$", max_length=31)] = Field(
        description="Name of the score in reports and rules."
    )
    kind: ClassifierKind = Field(ClassifierKind.FAST_TEXT, description="What the model is.")
    path: Path = Field(description="FastText: the .bin or .ftz file; SequenceClassification: the model's folder.")
    label: FieldName = Field(
        "__label__hq", description="Label whose probability is the score; of a model with one output, that output is."
    )
    min_score: DecimalString = Field("0.5", description="Least score of a document that is kept.")


class Filters(Model):
    """Which documents are kept."""

    presets: Annotated[list[FilterPreset], Field(max_length=8)] = Field(
        [FilterPreset.GOPHER], description="Rule sets that apply."
    )
    languages: Annotated[list[Language], Field(max_length=64)] = Field([], description="Languages kept; empty: all.")
    language_model: OptionalPath = Field(
        "", description="A fastText model (.bin, .ftz) whose labels begin with ISO 639 codes; empty: lid.176."
    )
    blocked_words: OptionalPath = Field(
        "", description="File with a word or phrase on each line; a document that holds one is dropped. Empty: none."
    )
    blocked_domains: OptionalPath = Field(
        "", description="File with a domain on each line; documents from it or below it are dropped. Empty: none."
    )
    classifiers: Annotated[list[Classifier], Field(max_length=4)] = Field([], description="Scores by a model.")
    overrides: Annotated[dict[str, DecimalString], Field(max_length=128)] = Field(
        {}, description='Bounds other than the published ones, by rule: {"gopher.minWords": "20"}.'
    )


class Scope(StrEnum):
    """Within what near-duplicates count."""

    GLOBAL = "Global"
    SOURCE = "Source"
    GROUP = "Group"


class MinHash(Model):
    """Near-duplicates by MinHash and LSH, verified by exact Jaccard similarity of the documents' shingles."""

    enabled: bool = Field(True, description="Look for near-duplicates.")
    shingle_words: int = Field(5, ge=1, le=32, description="Words of a shingle.")
    permutations: int = Field(112, ge=1, le=1024, description="Values of a signature.")
    bands: int = Field(14, ge=1, le=256, description="Bands of the signature; documents that share one are compared.")
    min_jaccard: DecimalString = Field("0.70", description="Least similarity of two duplicates, 0 to 1.")
    scope: Scope = Field(Scope.GLOBAL, description="Within what documents are compared.")

    model_config = Model.model_config | {
        "json_schema_extra": cel(
            Rule(
                rule="self.permutations % self.bands == 0",
                message="`permutations` must be a multiple of `bands`",
                field_path=".permutations",
            )
        )
    }


class ParagraphRepeats(Model):
    """Paragraphs, ended by a newline, that occurred before in a document that stays, word for word."""

    enabled: bool = Field(False, description="Take repeated paragraphs out of the documents that stay.")
    min_words: int = Field(10, ge=1, le=10_000, description="Words of the shortest paragraph that is looked at.")
    max_removed_share: DecimalString = Field(
        "0.8", description="A document that would lose more of its text than this is dropped as a whole, 0 to 1."
    )


class Deduplication(Model):
    """Removal of repeated documents and paragraphs."""

    exact: bool = Field(True, description="Drop documents whose normalised text occurred before.")
    min_hash: MinHash = Field(MinHash(), description="Near-duplicates.")
    paragraphs: ParagraphRepeats = Field(ParagraphRepeats(), description="Repeated paragraphs.")


class PiiAction(StrEnum):
    """What happens to personal data that is found."""

    PLACEHOLDER = "Placeholder"
    DROP = "Drop"
    KEEP = "Keep"


class PiiType(StrEnum):
    """Kinds of personal data that are found by pattern and checksum. Names and addresses are not."""

    EMAIL = "Email"
    PHONE = "Phone"
    IP_ADDRESS = "IpAddress"
    PAYMENT_CARD = "PaymentCard"
    IBAN = "Iban"
    NATIONAL_ID = "NationalId"
    SECRET = "Secret"


class Pii(Model):
    """Personal data in the texts."""

    action: PiiAction = Field(
        PiiAction.PLACEHOLDER, description="Placeholder: replaced by its type; Drop: the document goes; Keep: nothing."
    )
    types: Annotated[list[PiiType], Field(max_length=16)] = Field(list(PiiType), description="Kinds looked for.")


class Takedown(Model):
    """Documents that have to go."""

    path: OptionalPath = Field("", description="File with an id or a URL on each line; empty: none.")


class TokenizerTraining(Model):
    """A byte-level BPE tokenizer trained on the kept text."""

    vocabulary_size: int = Field(8192, ge=300, le=1_000_000, description="Entries, special tokens included.")
    special_tokens: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=64)]], Field(min_length=1, max_length=64)
    ] = Field(["<|endoftext|>"], description="Tokens with a meaning of their own; the first one ends a document.")
    sample_bytes: int = Field(
        64_000_000, ge=10_000, le=10**10, description="Text it is trained on, drawn by the sources' weights."
    )


class Tokenizer(Model):
    """Where the tokenizer comes from."""

    train: TokenizerTraining = Field(TokenizerTraining(), description="Train one on the kept text.")
    file: OptionalPath = Field("", description="A tokenizer.json to use instead; empty: train one.")
    min_round_trip_share: DecimalString = Field(
        "1",
        description="Least share of the documents that must come back from their tokens, each character as it was or in its normal form.",
    )


class SplitBy(StrEnum):
    """What decides that a document is held out."""

    DEDUP_CLUSTER = "DedupCluster"
    DATE = "Date"


class Validation(Model):
    """The held-out split."""

    share: DecimalString = Field("0.01", description="Share of the documents that is held out, 0 to 0.5.")
    by: SplitBy = Field(
        SplitBy.DEDUP_CLUSTER,
        description="DedupCluster: at random, near-duplicates together; Date: the newest, by the sources' dateField.",
    )


class CurationRequirement(Model):
    """Gate: training is not paid for unless this holds."""

    min_tokens: int = Field(0, ge=0, le=10**15, description="Tokens that must be kept.")
    min_kept_share: DecimalString = Field("0", description="Least share of the documents that must be kept.")
    max_duplicate_share: DecimalString = Field("1", description="Most of the documents that may be duplicates.")
    max_contaminated_share: DecimalString = Field("1", description="Most of the documents that may hold a benchmark.")


class Limits(Model):
    """What one worker holds in memory at a time."""

    part_bytes: int = Field(
        64_000_000, ge=1000, le=10**12, description="Size that large uncompressed files are split into."
    )
    chunk_bytes: int = Field(8_000_000, ge=1000, le=10**9, description="Text that a worker holds at a time.")
    document_bytes: int = Field(10_000_000, ge=1000, le=10**9, description="Longer documents are bad records.")
    page_seconds: int = Field(
        10, ge=1, le=3600, description="CPU time of reading one HTML page; a page that takes longer is a bad record."
    )


class Curation(Model):
    """Step 2: from raw documents to token shards."""

    cluster: Cluster = Field(description="The stage's cluster.")
    sources: Annotated[list[Source], Field(min_length=1, max_length=64)] = Field(
        description="Where documents come from."
    )
    max_bad_record_share: DecimalString = Field(
        "0.01", description="Share of bad records that is tolerated, of the records and of their bytes."
    )
    max_bad_files: int = Field(
        0, ge=0, le=1_000_000, description="Damaged files that are tolerated: cut, or nothing in them can be read."
    )
    pages: Pages = Field(Pages(), description="What is taken of web pages.")
    edits: Annotated[list[Edit], Field(max_length=8)] = Field([], description="Line rules, in order.")
    filters: Filters = Field(Filters(), description="Document rules.")
    deduplication: Deduplication = Field(Deduplication(), description="Removal of repeats.")
    pii: Pii = Field(Pii(), description="Personal data.")
    decontaminate: bool = Field(True, description="Drop documents that hold items of the evaluation's data files.")
    takedown: Takedown = Field(Takedown(), description="Documents that have to go.")
    tokenizer: Tokenizer = Field(Tokenizer(), description="The tokenizer.")
    validation: Validation = Field(Validation(), description="The held-out split.")
    require: CurationRequirement = Field(CurationRequirement(), description="Gate before training.")
    limits: Limits = Field(Limits(), description="What one worker holds in memory at a time.")
