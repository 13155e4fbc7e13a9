"""Lists that a team brings along: words that no document may hold, domains that none may come from.

C4's bad words and RefinedWeb's URL lists are such; none is shipped, since their terms and their age differ.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from llmtrain.storage.store import Store
from llmtrain_jobs.curation.addresses import address_of, is_ip, page_of
from llmtrain_jobs.curation.contamination import Grams
from llmtrain_jobs.curation.reading.record import LONGEST_ORIGIN
from llmtrain_jobs.curation.signals.hashing import Hashes, ngrams
from llmtrain_jobs.curation.signals.words import normal_hashes
from llmtrain_jobs.errors import bad_input

COMMENT = re.compile(r"(?<!\s)\s++#.*")
LABEL = re.compile(r"(?:[a-z0-9_-]|[^\x00-\x7f\s]){1,63}")
LONGEST_NAME = 253
"""Characters of a domain's name."""


def entries_of(store: Store, path: str, field: str) -> list[str]:
    """Lines that are neither blank nor a comment; none of no file."""
    return [line for _, line in numbered_entries(store, path, field)]


def numbered_entries(store: Store, path: str, field: str) -> list[tuple[int, str]]:
    """The same with the number of each line."""
    return [(number, line) for number, line in lines_of(store, path, field) if not line.startswith("#")] if path else []


def lines_of(store: Store, path: str, field: str) -> list[tuple[int, str]]:
    """Lines of a small text file that are not blank, with their numbers; `field` is named where it is no text."""
    with store.open(path) as file:
        data = file.read()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise bad_input(f"`{field}`: `{path}` is no UTF-8 text: {error.reason} at byte {error.start}") from error
    return [(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]


class Phrases:
    """Words and phrases in normal form: neither case nor punctuation hides one."""

    def __init__(self, phrases: Iterable[str]) -> None:
        """Phrases without a word are passed over."""
        found: dict[int, list[tuple[int, int]]] = {}
        for number, phrase in enumerate(phrases):
            normal = normal_hashes(phrase)
            if len(normal):
                found.setdefault(len(normal), []).append((int(ngrams(normal, len(normal))[0]), number))
        self._grams = {size: Grams.make(grams) for size, grams in found.items()}

    def count(self, normal: Hashes) -> int:
        """How many different phrases a text holds."""
        return sum(len(grams.items_in(ngrams(normal, size))) for size, grams in self._grams.items())


def from_domain(url: str, domains: frozenset[str]) -> bool:
    """Whether a URL's host is on the list, or below one that is. `domains`: in the form of `domain_of`."""
    host = address_of(url).host
    if is_ip(host):
        return host in domains
    labels = host.split(".")
    return any(".".join(labels[start:]) in domains for start in range(len(labels)))


def domain_of(entry: str) -> str:
    """What a line of a list of domains blocks. ValueError: nothing, and why."""
    address = address_of(COMMENT.sub("", entry))
    host = address.host.removeprefix("*.")
    if address.rest not in ("", "/", "/*"):
        raise ValueError("is a page, not a domain; `spec.curation.takedown` takes pages out")
    if is_ip(host):
        return host
    if not host or len(host) > LONGEST_NAME or not all(map(LABEL.fullmatch, host.split("."))):
        raise ValueError("is no domain")
    if host.rpartition(".")[2].isdecimal():
        raise ValueError("is neither a name nor an IP address")
    return host


@dataclass(frozen=True)
class Gone:
    """Ids as they stand, and pages in the form of `page_of`."""

    ids: frozenset[str] = frozenset()
    pages: frozenset[str] = frozenset()

    @classmethod
    def of(cls, entries: Iterable[str]) -> "Gone":
        """From the lines of a list."""
        lines = list(entries)
        return cls(frozenset(line[:LONGEST_ORIGIN] for line in lines), frozenset(map(page_of, lines)) - {""})

    def __bool__(self) -> bool:
        """Whether anything has to go."""
        return bool(self.ids)

    def takes(self, name: str, url: str) -> bool:
        """Whether the document of this id and URL has to go; an id may be a URL."""
        if (name and name in self.ids) or (url and url in self.ids):
            return True
        return bool(self.pages) and any(page_of(text) in self.pages for text in (url, name) if text)


def check_takedown(entry: str) -> None:
    """ValueError: the line can take nothing down, and why."""
    address = address_of(entry)
    if address.scheme and not address.host:
        raise ValueError("is a URL without a host")
    is_address = address.scheme or "." in address.host
    if entry == "*" or (is_address and ("*" in address.host or address.rest.endswith("/*"))):
        raise ValueError(
            "stands for many pages; `spec.curation.filters.blockedDomains` takes whole domains out, a star in a page's "
            "own name is written %2A"
        )
