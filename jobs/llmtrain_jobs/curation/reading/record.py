"""One document as it was read, or what is wrong with it."""

from dataclasses import dataclass, field

LONGEST_ORIGIN = 2048
"""Characters of an id, a URL or a date."""


@dataclass(frozen=True)
class Record:
    """`size`: bytes of the record in the uncompressed file. `fatal`: nothing after it in the file can be read.

    `readable`: of a problem, that the record was read well and is no document all the same. `skipped`: why it is none and
    none was wanted of it, a picture in a web archive for instance. `textless`: a page that holds no text.
    `charset`: what a page's bytes were read as; empty of other documents, which have to be UTF-8.
    """

    number: int
    size: int
    text: str = ""
    problem: str = ""
    origin: "Origin" = field(default_factory=lambda: Origin())
    fatal: bool = False
    readable: bool = False
    skipped: str = ""
    textless: bool = False
    charset: str = ""


@dataclass(frozen=True)
class Origin:
    """Where a document comes from; empty where the file does not say."""

    id: str = ""
    url: str = ""
    date: str = ""


@dataclass(frozen=True)
class Fields:
    """Where a record's parts stand."""

    text: str
    id: str
    url: str
    date: str


@dataclass(frozen=True)
class Damaged:
    """In place of a value that cannot be told: why, and its bytes."""

    why: str
    data: bytes = b""


def record_of(number: int, size: int, row: object, fields: Fields, longest: int) -> Record:
    """From a row of names and values; a text that is no text, or too long, is a problem."""
    text = row.get(fields.text) if isinstance(row, dict) else None
    if isinstance(text, Damaged):
        return Record(number, size, problem=text.why)
    if not isinstance(row, dict) or not isinstance(text, str):
        kind = "null" if text is None else type(text).__name__
        return Record(number, size, problem=f"no text in field `{fields.text}` ({kind})")
    if len(text) > longest or size > longest:
        return too_long(number, size, longest)
    origin = Origin(_plain(row.get(fields.id)), _plain(row.get(fields.url)), _plain(row.get(fields.date)))
    if not text.strip():
        return Record(number, size, problem=f"field `{fields.text}` is empty", origin=origin, readable=True)
    return Record(number, size, text, origin=origin)


def too_long(number: int, size: int, longest: int) -> Record:
    """A document over the limit."""
    problem = f"longer than {longest} bytes (`spec.curation.limits.documentBytes`)"
    return Record(number, size, problem=problem, readable=True)


def whole_characters(text: str) -> str:
    """The text with U+FFFD for every half of a surrogate pair: JSON can spell one, no file of ours can hold it."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _plain(value: object) -> str:
    """A value as the text of an origin; nothing of one that cannot be told."""
    if value is None:
        return ""
    if isinstance(value, Damaged):
        return value.data.decode(errors="replace")[:LONGEST_ORIGIN]
    try:
        return whole_characters(str(value)[:LONGEST_ORIGIN])
    except RecursionError:
        return ""
