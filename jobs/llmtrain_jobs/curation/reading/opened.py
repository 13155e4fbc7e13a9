"""What a reader is given: a stretch of a file, and what is wanted of it."""

from dataclasses import dataclass

from llmtrain_jobs.curation.reading.pagelimits import OF_A_PAGE, PageLimits
from llmtrain_jobs.curation.reading.record import Fields
from llmtrain_jobs.curation.reading.streams import SourceFile


@dataclass(frozen=True)
class Part:
    """A stretch of a file: bytes of JSON lines, row groups of Parquet (`rows`); `end` -1: to the end."""

    index: int
    source: int
    file: str
    start: int = 0
    end: int = -1
    rows: bool = False


@dataclass(frozen=True)
class Web:
    """`statuses`: classes of HTTP status whose pages are read."""

    statuses: frozenset[str] = frozenset({"2xx"})
    pages: PageLimits = OF_A_PAGE


@dataclass(frozen=True)
class Opened:
    """What a reader needs. `longest`: bytes of a document; `web`: of pages."""

    raw: SourceFile
    part: Part
    fields: Fields
    longest: int
    web: Web
