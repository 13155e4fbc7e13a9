"""Where every document and every byte of the input went. It adds up, or the stage ends."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmtrain_jobs.curation.decide import Verdicts, staying
from llmtrain_jobs.curation.judge import CONTAMINATED, Judged


def ledger_of(
    judged: Judged, verdicts: Verdicts, input_bytes: int, blank_bytes: int, texts: dict[str, int]
) -> dict[str, Any]:
    """Documents and bytes by fate; bytes are those of the records in the uncompressed files."""
    documents = np.bincount(verdicts.fate, minlength=len(verdicts.names))
    sizes = np.bincount(verdicts.fate, weights=judged.size.astype(np.float64), minlength=len(verdicts.names))
    ledger = {
        "read": {"documents": len(judged.size), "bytes": int(judged.size.sum())},
        "blankBytes": blank_bytes,
        "fates": {
            name: {"documents": int(documents[index]), "bytes": int(sizes[index])}
            for index, name in enumerate(verdicts.names)
            if documents[index]
        },
        "keptText": texts,
        "rules": rules_of(judged, verdicts),
    }
    check(ledger, input_bytes)
    return ledger


def text_sizes(judged: Judged, stays: NDArray[np.bool_], repeated: NDArray[np.int64]) -> dict[str, int]:
    """Bytes of the texts that stay: read, removed by edits and as repeated paragraphs (`repeated`, by document), kept."""
    return {
        "read": int(judged.read[stays].sum()),
        "removedByEdits": int((judged.read - judged.kept)[stays].sum()),
        "removedAsRepeats": int(repeated[stays].sum()),
        "kept": int((judged.kept - repeated)[stays].sum()),
    }


def rules_of(judged: Judged, verdicts: Verdicts) -> dict[str, dict[str, int]]:
    """For every rule: documents that break it at all, that break it alone, and those whose first it is."""
    alone = verdicts.broken.sum(axis=1) == 1
    return {
        name: {
            "breaking": int(verdicts.broken[:, index].sum()),
            "alone": int((verdicts.broken[:, index] & alone).sum()),
            "first": int((verdicts.fate == index).sum()),
            "bytes": int(judged.size[verdicts.broken[:, index]].sum()),
        }
        for index, name in enumerate(verdicts.names[: verdicts.names.index(CONTAMINATED) + 1])
    }


def check(ledger: dict[str, Any], input_bytes: int) -> None:
    """Every document and byte that was read has exactly one fate."""
    for unit in ("documents", "bytes"):
        total = sum(fate[unit] for fate in ledger["fates"].values())
        if total != ledger["read"][unit]:
            raise AssertionError(f"the curation ledger does not add up: {total} {unit} of {ledger['read'][unit]}")
    if ledger["read"]["bytes"] != input_bytes:
        raise AssertionError(f"the curation ledger has {ledger['read']['bytes']} bytes, the parts {input_bytes}")


def by_source(
    sources: NDArray[np.int16], names: list[str], judged: Judged, verdicts: Verdicts, repeated: NDArray[np.int64]
) -> dict[str, Any]:
    """Documents and bytes read and kept of every source."""
    stays = staying(verdicts)
    result = {}
    for index, name in enumerate(names):
        own = sources == index
        result[name] = {
            "documents": int(own.sum()),
            "bytes": int(judged.size[own].sum()),
            "textBytes": int(judged.read[own].sum()),
            "keptDocuments": int((own & stays).sum()),
            "keptTextBytes": int((judged.kept - repeated)[own & stays].sum()),
        }
    return result
