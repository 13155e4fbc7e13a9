"""Waste as text: `llmtrain ledger waste`."""

import json
from collections.abc import Sequence
from typing import Any

from llmtrain.ledger.csvfile import exact_usd
from llmtrain.ledger.waste import By, Wasted
from llmtrain.text import plain


def waste_table(rows: Sequence[Wasted], by: By) -> str:
    """As kubectl draws tables, and the sum below."""
    whole = Wasted("total", sum(row.billed_seconds for row in rows), sum(row.cost_micro_usd for row in rows))
    cells = [(by.value.upper(), "BILLED-SECONDS", "USD", "SHARE")]
    for row in [*rows, whole]:
        share = f"{100 * row.cost_micro_usd / whole.cost_micro_usd:.1f}%" if whole.cost_micro_usd else "-"
        cells.append((plain(row.name), str(row.billed_seconds), exact_usd(row.cost_micro_usd), share))
    widths = [max(len(line[column]) for line in cells) + 3 for column in range(4)]
    return "".join("".join(map(str.ljust, line, widths)).rstrip() + "\n" for line in cells)


def waste_json(rows: Sequence[Wasted], by: By) -> str:
    """Exact amounts; dollars as strings."""
    body = {
        "by": by.value,
        "rows": [{by.value: plain(row.name)} | _amounts(row.billed_seconds, row.cost_micro_usd) for row in rows],
        "total": _amounts(sum(row.billed_seconds for row in rows), sum(row.cost_micro_usd for row in rows)),
    }
    return json.dumps(body, indent=2) + "\n"


def _amounts(seconds: int, micro: int) -> dict[str, Any]:
    return {"billedSeconds": seconds, "costUsd": exact_usd(micro)}
