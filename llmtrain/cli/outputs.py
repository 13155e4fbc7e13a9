"""How results are printed: what `-o` takes."""

from enum import StrEnum


class Output(StrEnum):
    """A table for people, JSON for programs."""

    TABLE = "table"
    JSON = "json"


class PageOutput(StrEnum):
    """The same, and a page with curves."""

    TABLE = "table"
    JSON = "json"
    HTML = "html"
