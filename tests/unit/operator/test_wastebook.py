"""Waste by node and by cause: bounded, exact, and small in a status of hundreds of pods."""

import json
import random

import pytest
from llmtrain_operator.wastebook import MOST_NODES, REST, Sums, WasteBook

from llmtrain.api.status import CauseWaste, Ledger, LedgerEntry, NodeWaste, Split, Stage

CAUSES = {"waiting": "Start", "pulling": "Start", "starting": "Start", "redone": "NodeLost", "checkpointing": "Checkpoint",
          "stopping": "Completed", "minimum": "BillingMinimum"}  # fmt: skip


def entry(waiting: int, micro: int, **more: int) -> LedgerEntry:
    split, cost = Split(waiting=waiting, working=500, **more), Split(waiting=micro, working=9, **more)
    return LedgerEntry(stage=Stage.TRAINING, role="worker", split=split, cost_split=cost)


def booked(ledger: Ledger, one: LedgerEntry, node: str) -> Ledger:
    book = WasteBook(ledger)
    book.book(one, node, CAUSES.__getitem__)
    return ledger.model_copy(update=book.update())


def test_work_is_no_waste_and_every_kind_has_its_cause() -> None:
    ledger = booked(Ledger(), entry(10, 1000, redone=3, stopping=2), "a")
    ledger = booked(ledger, entry(5, 500), "b")
    assert ledger.waste_by_node == [NodeWaste(node="a", billed_seconds=15, cost_micro_usd=1005),
                                    NodeWaste(node="b", billed_seconds=5, cost_micro_usd=500)]  # fmt: skip
    assert ledger.waste_by_cause == [CauseWaste(cause="Completed", billed_seconds=2, cost_micro_usd=2),
                                     CauseWaste(cause="NodeLost", billed_seconds=3, cost_micro_usd=3),
                                     CauseWaste(cause="Start", billed_seconds=15, cost_micro_usd=1500)]  # fmt: skip


def test_nothing_booked_changes_nothing() -> None:
    assert WasteBook(booked(Ledger(), entry(1, 1), "a")).update() == {}


@pytest.mark.parametrize("nodes", [MOST_NODES - 1, MOST_NODES, MOST_NODES + 1, 400])
def test_the_dearest_nodes_are_told_apart_and_the_sum_is_exact(nodes: int) -> None:
    ledger, rng, whole = Ledger(), random.Random(nodes), 0
    for pod in range(2 * nodes):
        number = pod % nodes
        micro = 10_000 * number + rng.randint(1, 9)
        whole += micro
        ledger = booked(ledger, entry(1, micro), f"node-{number:03}")
    assert sum(row.cost_micro_usd for row in ledger.waste_by_node) == whole
    assert sum(row.billed_seconds for row in ledger.waste_by_node) == 2 * nodes
    named = {row.node for row in ledger.waste_by_node} - {REST}
    assert len(named) == min(nodes, MOST_NODES)
    assert f"node-{nodes - 1:03}" in named
    assert Ledger.model_validate(json.loads(json.dumps(ledger.to_dict()))) == ledger, "the schema's bounds hold"


def test_of_equals_the_order_in_which_they_came_does_not_matter() -> None:
    names, found = [f"n{number:02}" for number in range(90)], []
    for seed in range(3):
        sums = Sums(MOST_NODES)
        for name in random.Random(seed).sample(names, 90):
            sums.add(name, 1, 1)
        found.append(sums.rows())
    assert found[0] == found[1] == found[2]


def test_a_status_of_300_pods_on_300_nodes_grows_by_less_than_8_kilobytes() -> None:
    ledger = Ledger()
    for number in range(300):
        ledger = booked(ledger, entry(100 + number, 10**7 + number), f"ip-10-0-{number}-17.eu-west-1.compute.internal")
    rows = {key: value for key, value in ledger.to_dict().items() if key.startswith("waste")}
    assert len(json.dumps(rows)) < 8192
