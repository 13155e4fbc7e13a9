"""Where earlier versions kept what deleted jobs had cost: a ConfigMap of each namespace, and the sentence that stands there now."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from llmtrain.ledger.document import Part, Row, Uid

FORMER_CONFIG_MAP, FORMER_KEY = "llmtrain-ledger", "ledger.json"
BEFORE = "before.json"
"""Beside the sentence: what had been there."""
SENTENCE = "Moved: what deleted jobs of this namespace cost is booked in ConfigMaps of the operator's namespace"


def moved_text(home: str) -> str:
    """The sentence. It is no JSON, so that an earlier operator cannot book here."""
    return (
        f"{SENTENCE}, `{home}`. `llmtrain ledger show` reads them. What was here is in `{BEFORE}`, and is part of them."
    )


def is_moved(config_map: Mapping[str, Any]) -> bool:
    """Whether the sentence stands there."""
    return str((config_map.get("data") or {}).get(FORMER_KEY) or "").startswith(SENTENCE)


class FormerBook(Part):
    """The ledger as earlier versions wrote it: sums of deleted jobs, and the uids of those that were booked last."""

    totals: Annotated[list[Row], Field(max_length=4096)]
    settled_jobs: Annotated[list[Uid], Field(max_length=4096)] = Field([])
