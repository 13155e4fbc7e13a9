"""Waste of settled pods by node and by cause: one sum, told twice, each time in a bounded number of rows.

Where there are more, the cheapest is added to the row without a name: what a named row says is then what was wasted
since it was last among the dearest, and the sum of all rows is exact.
"""

from collections.abc import Callable

from llmtrain.api.status import CauseWaste, Ledger, LedgerEntry, NodeWaste
from llmtrain.ledger.goodput import WASTE

MOST_NODES, MOST_CAUSES = 64, 32
REST = ""
"""Name of the row of what is not told apart."""


class Sums:
    """Billed seconds and microdollars by name."""

    def __init__(self, most: int) -> None:
        """`most`: names that are told apart."""
        self._most = most
        self._rows: dict[str, tuple[int, int]] = {}

    def add(self, name: str, seconds: int, micro: int) -> None:
        """Add to a name's row."""
        before = self._rows.get(name, (0, 0))
        self._rows[name] = before[0] + seconds, before[1] + micro

    def rows(self) -> list[tuple[str, int, int]]:
        """The dearest by name, and the rest."""
        named = sorted((name for name in self._rows if name != REST), key=self._cost)
        for name in named[: max(0, len(named) - self._most)]:
            self.add(REST, *self._rows.pop(name))
        return [(name, *amounts) for name, amounts in sorted(self._rows.items())]

    def _cost(self, name: str) -> tuple[int, int, str]:
        seconds, micro = self._rows[name]
        return micro, seconds, name


class WasteBook:
    """What a ledger tells of it, and what is settled now."""

    def __init__(self, ledger: Ledger) -> None:
        """The ledger is left alone."""
        self._ledger = ledger
        self._nodes, self._causes = Sums(MOST_NODES), Sums(MOST_CAUSES)
        self._grown = False

    def book(self, entry: LedgerEntry, node: str, cause: Callable[[str], str]) -> None:
        """One pod's bill; `cause` of a kind of waste is asked for where there is any."""
        self._grown = True
        for kind in WASTE:
            seconds, micro = getattr(entry.split, kind), getattr(entry.cost_split, kind)
            if seconds or micro:
                self._nodes.add(node, seconds, micro)
                self._causes.add(cause(kind), seconds, micro)

    def update(self) -> dict[str, list[NodeWaste] | list[CauseWaste]]:
        """The fields of the ledger that change."""
        if not self._grown:
            return {}
        for node in self._ledger.waste_by_node:
            self._nodes.add(node.node, node.billed_seconds, node.cost_micro_usd)
        for cause in self._ledger.waste_by_cause:
            self._causes.add(cause.cause, cause.billed_seconds, cause.cost_micro_usd)
        return {
            "waste_by_node": [
                NodeWaste(node=name, billed_seconds=seconds, cost_micro_usd=micro)
                for name, seconds, micro in self._nodes.rows()
            ],
            "waste_by_cause": [
                CauseWaste(cause=name, billed_seconds=seconds, cost_micro_usd=micro)
                for name, seconds, micro in self._causes.rows()
            ],
        }
