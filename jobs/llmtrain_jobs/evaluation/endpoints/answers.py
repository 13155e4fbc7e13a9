"""Answers that were paid for, as they came: one file each, so that whoever begins anew asks only for what is missing."""

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

from llmtrain.storage.store import Store, artifact_folder

KIND = "evaluation-answers"
Body = dict[str, Any]


class Answers:
    """Of one task by one model. Safe for several threads."""

    def __init__(self, store: Store, key: str) -> None:
        """`key` stands for all that the questions depend on."""
        self._store, self._folder = store, artifact_folder(KIND, key)
        self._names: frozenset[str] | None = None
        self._lock = threading.Lock()

    def find(self, name: str) -> bytes | None:
        """An answer that an earlier attempt got, byte by byte; None: there is none."""
        with self._lock:
            if self._names is None:
                found = self._store.glob(f"{self._folder}/*.json")
                self._names = frozenset(file.rsplit("/", 1)[1].removesuffix(".json") for file in found)
        return self._store.read(f"{self._folder}/{name}.json") if name in self._names else None

    def keep(self, name: str, answer: bytes) -> None:
        """Store an answer."""
        self._store.write(f"{self._folder}/{name}.json", answer)

    def clear(self) -> None:
        """The task's result is stored, and what it says of the answers with it."""
        if self._names is not None:  # Somebody was asked.
            self._store.remove(self._folder)


def names_of(server: Sequence[str], path: str, bodies: Sequence[Body]) -> list[str]:
    """A name for each question: by server, model and question, and which repetition of it this is."""
    seen, names = Counter[str](), []
    for body in bodies:
        question = json.dumps([*server, path, body], sort_keys=True)
        names.append(hashlib.sha256(f"{seen[question]}/{question}".encode()).hexdigest()[:32])
        seen[question] += 1
    return names
