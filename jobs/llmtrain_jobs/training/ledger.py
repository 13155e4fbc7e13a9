"""The skip ledger in storage: one line a reaction, replaced as a whole."""

import json

from llmtrain.storage.store import Store, artifact_folder
from llmtrain_jobs.training.stability import Entry, SkipLedger


def name_of(key: str) -> str:
    """Where it lies."""
    return f"{artifact_folder('training', key)}/stability.jsonl"


def read_ledger(store: Store, key: str) -> SkipLedger:
    """As it was last written, or empty."""
    if not store.exists(name_of(key)):
        return SkipLedger()
    return SkipLedger([Entry.from_dict(json.loads(line)) for line in store.read(name_of(key)).splitlines()])


def write_ledger(store: Store, key: str, ledger: SkipLedger) -> None:
    """Make it last."""
    lines = [json.dumps(entry.to_dict(), sort_keys=True) for entry in ledger.entries]
    store.write(name_of(key), ("\n".join(lines) + "\n").encode())
