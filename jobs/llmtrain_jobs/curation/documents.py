"""What happens to one document: normalised, judged, given a key for deduplication."""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from llmtrain.api.curation import FilterPreset
from llmtrain_jobs.curation import gopher
from llmtrain_jobs.curation.read import Record

BAD_RECORD = "badRecord"
PRESETS: dict[FilterPreset, Callable[[str], str | None]] = {FilterPreset.GOPHER: gopher.rejection}


@dataclass
class Ledger:
    """Where every document and every byte of the input went, by fate."""

    documents: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)

    def add(self, fate: str, size: int) -> None:
        """One document."""
        self.documents[fate] += 1
        self.bytes[fate] += size

    def merge(self, other: "Ledger") -> None:
        """Take in another ledger."""
        self.documents += other.documents
        self.bytes += other.bytes


@dataclass(frozen=True)
class Document:
    """A document that passed the filters. `key`: digest of its normalised text."""

    text: str
    size: int
    key: bytes


@dataclass
class Judged:
    """What became of one file's records."""

    documents: list[Document] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)
    first_problem: str = ""


def judge(records: Iterable[Record], presets: list[FilterPreset], file: str) -> Judged:
    """Apply the filters to one file's records, in order."""
    judged = Judged()
    for record in records:
        judged.ledger.add("read", record.size)
        if record.problem:
            judged.ledger.add(BAD_RECORD, record.size)
            judged.first_problem = judged.first_problem or f"{file} line {record.line}: {record.problem}"
            continue
        text = unicodedata.normalize("NFC", record.text)
        rule = next((name for preset in presets if (name := PRESETS[preset](text))), None)
        if rule:
            judged.ledger.add(rule, record.size)
        else:
            judged.documents.append(Document(text, record.size, dedup_key(text)))
    return judged


def dedup_key(text: str) -> bytes:
    """Digest of the text without case and with single spaces."""
    return hashlib.blake2b(" ".join(text.lower().split()).encode(), digest_size=16).digest()


def is_held_out(key: bytes, seed: int, share: float) -> bool:
    """Whether a document goes to validation: by its content, so that it does whatever else is in the corpus."""
    digest = hashlib.blake2b(key, digest_size=8, salt=seed.to_bytes(8, "little")).digest()
    return int.from_bytes(digest, "little") < share * 2**64
