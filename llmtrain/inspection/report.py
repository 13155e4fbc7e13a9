"""What is asked of a look at the sources, and what it gives: one report a source, as a line of JSON.

The look runs in a process of its own (`llmtrain_jobs.curation.look`), by the code that curates.
"""

from enum import StrEnum

from pydantic import Field

from llmtrain.api.base import Wire
from llmtrain.api.failure import FailureClass
from llmtrain.api.stageconfig import StageConfig

RECORDS = 1000
LANGUAGE_MODEL = "filters.languageModel"


class Request(Wire):
    """How much is looked at. `seconds`: by the clock, for all sources together."""

    config: StageConfig
    records: int = Field(RECORDS, ge=1, description="Documents that are looked at of each source, bad ones too.")
    seconds: float = Field(description="Seconds for all sources together; each has its share of what is left.")
    model_bytes: int = Field(0, ge=0, description="Larger models are left out, and told of; 0: none is.")
    memory_bytes: int = Field(0, ge=0, description="Private memory that the process may take; 0: as much as there is.")


class Stop(StrEnum):
    """Why no more was looked at. End: there was no more."""

    END = "End"
    RECORDS = "Records"
    BYTES = "Bytes"
    SECONDS = "Seconds"


class Amount(Wire):
    """Records, and their bytes in the uncompressed files."""

    records: int
    bytes: int


class Share(Amount):
    """The same with their share of the records that were looked at, 0 to 1."""

    share: float


class RuleLoss(Wire):
    """Documents that break a rule at all, that break it alone, and those whose first it is."""

    breaking: int
    alone: int
    first: int


class Example(Wire):
    """A document. `record`: its number in its file; `text`: its beginning, or what is wrong with it."""

    fate: str
    file: str
    record: int
    id: str
    text: str


class SourceReport(Wire):
    """What became of a source's first records.

    `kept_at_all`: one at least would be kept, of all that was read; where the first ones are all lost, reading goes on
    until one is not. `whole`: the source was read to its end. `unreadable`: why curation would end if all is like this.
    `read_in_all`: records of both. `most_taken`: the fates that took most, for people. `not_applied`: fields of what
    curation will ask and this did not.
    """

    name: str
    path: str
    files: int
    files_read: int
    stopped: Stop
    read: Amount
    text_bytes: int
    blank_bytes: int
    kept: Share
    kept_text_bytes: int
    lost: dict[str, Share]
    rules: dict[str, RuleLoss]
    skipped: dict[str, Amount]
    languages: dict[str, int]
    charsets: dict[str, int]
    pii_found: dict[str, int]
    damaged_files: dict[str, str]
    first_problems: dict[str, str]
    unreadable: str
    most_taken: str
    examples: list[Example]
    kept_at_all: bool
    whole: bool
    read_in_all: int
    not_applied: list[str]

    @property
    def lost_share(self) -> float:
        """Share of the records, 0 to 1; of none nothing is lost."""
        return 1.0 - self.kept.share if self.read.records else 0.0

    @property
    def lost_bytes_share(self) -> float:
        """The same of their bytes."""
        return 1.0 - self.kept.bytes / self.read.bytes if self.read.bytes else 0.0


class Refusal(Wire):
    """Why nothing can be looked at."""

    failure: FailureClass
    reason: str
    message: str


class Answer(Wire):
    """A line of the process: one of the two."""

    source: SourceReport | None = None
    refusal: Refusal | None = None
