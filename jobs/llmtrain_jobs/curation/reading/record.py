"""One document as it was read, or what is wrong with it."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Record:
    """`size`: bytes of the record in the uncompressed file. `fatal`: nothing after it in the file can be read."""

    number: int
    size: int
    text: str = ""
    problem: str = ""
    origin: "Origin" = field(default_factory=lambda: Origin())
    fatal: bool = False


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


def record_of(number: int, size: int, row: object, fields: Fields, longest: int) -> Record:
    """From a row of names and values; a text that is no text, or too long, is a problem."""
    text = row.get(fields.text) if isinstance(row, dict) else None
    if not isinstance(row, dict) or not isinstance(text, str):
        kind = "null" if text is None else type(text).__name__
        return Record(number, size, problem=f"no text in field `{fields.text}` ({kind})")
    if len(text) > longest or size > longest:
        return too_long(number, size, longest)
    origin = Origin(_plain(row.get(fields.id)), _plain(row.get(fields.url)), _plain(row.get(fields.date)))
    if not text.strip():
        return Record(number, size, problem=f"field `{fields.text}` is empty", origin=origin)
    return Record(number, size, text, origin=origin)


def too_long(number: int, size: int, longest: int) -> Record:
    """A document over the limit."""
    return Record(number, size, problem=f"longer than {longest} bytes (`spec.curation.limits.documentBytes`)")


def _plain(value: object) -> str:
    return "" if value is None else str(value)[:2048]
