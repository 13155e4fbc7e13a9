"""Holds: an evaluator says which checkpoint it reads, so that no sweep takes it away.

One file for each evaluator of an attempt, written anew with every checkpoint it takes. Nobody has to clean up after an
evaluator that died: its successor overwrites its hold, and holds of earlier attempts count no more. So there are never
more checkpoints held than evaluators, whatever happens, and no clock is compared with another.
"""

import json

from llmtrain.storage.store import Store


def _folder(base: str) -> str:
    return f"{base}/holds"


def hold(store: Store, base: str, attempt: int, evaluator: int, folder: str) -> None:
    """`base` is the folder of all checkpoints; `folder` the one that is read, empty: none."""
    store.write(f"{_folder(base)}/a{attempt}-e{evaluator}.json", json.dumps({"checkpoint": folder}).encode())


def held(store: Store, base: str, attempt: int) -> list[str]:
    """Folders that evaluators of this attempt read."""
    names = store.glob(f"{_folder(base)}/a{attempt}-e*.json")
    return [folder for name in names if (folder := json.loads(store.read(name))["checkpoint"])]
