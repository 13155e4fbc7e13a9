"""Documents that hold items of the benchmarks which the model will be evaluated on.

An item is its query and its right answer, as words in normal form. n = min(13, words of the item): a document that
holds any run of n words of an item is contaminated (13 as in Brown et al. 2020, appendix C). Items of fewer than 8
words count only as a whole, items of fewer than 4 only if they are the whole document.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmtrain.storage.store import Store
from llmtrain_jobs.curation.signals.hashing import Hashes, ngrams
from llmtrain_jobs.curation.signals.words import normal_hashes
from llmtrain_jobs.errors import bad_input

LONGEST, WHOLE_BELOW, ALONE_BELOW = 13, 8, 4
FILTER_BITS = 20


@dataclass(frozen=True)
class Hit:
    """`document` holds `words` words in a row of the `item`-th line of a task's file."""

    document: int
    task: str
    item: int
    words: int


@dataclass(frozen=True)
class Grams:
    """Runs of one length: sorted hashes, the item of each, and a bit set that most words are not in."""

    hashes: Hashes
    items: NDArray[np.int64]
    present: NDArray[np.bool_]

    @classmethod
    def make(cls, found: Sequence[tuple[int, int]]) -> "Grams":
        """From (hash, item); of items that share a run the first counts."""
        hashes, first = np.unique(np.array([h for h, _ in found], dtype=np.uint64), return_index=True)
        present = np.zeros(2**FILTER_BITS, dtype=np.bool_)
        present[hashes & np.uint64(2**FILTER_BITS - 1)] = True
        return cls(hashes, np.array([item for _, item in found], dtype=np.int64)[first], present)

    def items_in(self, grams: Hashes) -> set[int]:
        """Items that share a run with a document."""
        likely = grams[self.present[grams & np.uint64(2**FILTER_BITS - 1)]]
        places = np.minimum(np.searchsorted(self.hashes, likely), len(self.hashes) - 1)
        return set(self.items[places[self.hashes[places] == likely]].tolist())


class Benchmarks:
    """All items of all tasks' files."""

    def __init__(self, items: Iterator[tuple[str, int, str]]) -> None:
        """`items`: task, line, query with answer."""
        self._names: list[tuple[str, int]] = []
        found: dict[int, list[tuple[int, int]]] = {}
        for task, line, text in items:
            normal = normal_hashes(text)
            size = min(LONGEST, len(normal))
            if size:
                found.setdefault(size, []).extend((int(h), len(self._names)) for h in ngrams(normal, size))
                self._names.append((task, line))
        self._grams = {size: Grams.make(grams) for size, grams in sorted(found.items())}

    def hits(self, document: int, normal: Hashes) -> list[Hit]:
        """Every item that a document shares a run with."""
        return [
            Hit(document, *self._names[item], size)
            for size, grams in self._grams.items()
            if size >= ALONE_BELOW or len(normal) == size
            for item in sorted(grams.items_in(ngrams(normal, size)))
        ]


def read_items(store: Store, files: Sequence[tuple[str, str]]) -> Iterator[tuple[str, int, str]]:
    """(task, line, text) of every line of (task, file)."""
    for task, file in files:
        with store.open(file) as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield task, number, item_text(_parsed(line, file, number))


def _parsed(line: bytes, file: str, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise bad_input(f"`{file}` line {number}: no JSON: {error}") from error
    if not isinstance(row, dict):
        raise bad_input(f"`{file}` line {number}: no JSON object")
    return row


QUERY_FIELDS = ("passage", "context", "query", "question", "goal", "ctx", "sentence", "text", "prompt", "premise")


def item_text(row: dict[str, Any]) -> str:
    """Query and right answer of a benchmark's row, whichever of the usual shapes it has."""
    query = [row[name] for name in QUERY_FIELDS if isinstance(row.get(name), str)]
    if isinstance(row.get("context_options"), list):
        query += [str(_chosen(row["context_options"], row.get("gold")))]
    return " ".join([*query, *_answer(row)]) or " ".join(value for value in row.values() if isinstance(value, str))


def _answer(row: dict[str, Any]) -> list[str]:
    choices, gold = row.get("choices", row.get("endings")), row.get("gold", row.get("label"))
    if isinstance(choices, dict):
        labels, texts = choices.get("label", []), choices.get("text", [])
        key = row.get("answerKey")
        return [str(texts[labels.index(key)])] if key in labels else []
    if isinstance(choices, list):
        return [str(_chosen(choices, gold))]
    return [str(row[name]) for name in ("continuation", "answer", "target") if isinstance(row.get(name), str)]


def _chosen(options: list[Any], gold: Any) -> Any:
    index = int(gold) if str(gold).isdigit() else 0
    return options[index] if index < len(options) else ""
