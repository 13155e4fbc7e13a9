"""Lists that a team brings along: words that no document may hold, domains that none may come from.

C4's bad words and RefinedWeb's URL lists are such; none is shipped, since their terms and their age differ.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

from llmtrain.storage.store import Store
from llmtrain_jobs.curation.contamination import Grams
from llmtrain_jobs.curation.signals.hashing import Hashes, ngrams
from llmtrain_jobs.curation.signals.words import normal_hashes
from llmtrain_jobs.errors import bad_input


def entries_of(store: Store, path: str, field: str) -> list[str]:
    """Lines that are neither blank nor a comment; none of no file."""
    return [line for line in lines_of(store, path, field) if not line.startswith("#")] if path else []


def lines_of(store: Store, path: str, field: str) -> list[str]:
    """Lines of a small text file that are not blank; `field` is named where it is no text."""
    with store.open(path) as file:
        data = file.read()
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise bad_input(f"`{field}`: `{path}` is no UTF-8 text: {error.reason} at byte {error.start}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


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
    """Whether a URL's host is on the list, or below one that is."""
    host = (urlsplit(url).hostname or "") if "://" in url else ""
    labels = host.split(".")
    return any(".".join(labels[start:]) in domains for start in range(len(labels)))
