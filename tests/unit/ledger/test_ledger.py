"""The bill outside the cluster: exact sums, FOCUS rows, an invoice's differences to the microdollar."""

import csv
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from llmtrain.cli.main import app
from llmtrain.ledger.invoice import InvoiceError, differences, ledger_sums, read_invoice
from llmtrain.ledger.lines import lines_of

SPLIT = {"waiting": 1, "pulling": 2, "starting": 3, "working": 90, "redone": 0, "checkpointing": 4, "stopping": 0}


def entry(stage: str, role: str, plan: str, micro: int, **more: Any) -> dict[str, Any]:
    amounts = {"pods": 1, "podSeconds": 100, "billedSeconds": 100, "acceleratorSeconds": 0, "costMicroUsd": micro}
    return {"stage": stage, "role": role, "plan": plan, "tenure": "Rented", "split": SPLIT} | amounts | more


JOB: dict[str, Any] = {
    "kind": "LLMTrainingJob",
    "metadata": {"namespace": "team-a", "name": "gpt", "uid": "u1"},
    "status": {
        "stages": [
            {"name": "Curation", "state": "Succeeded", "startTime": "2026-03-01T12:00:00Z",
             "completionTime": "2026-03-01T12:10:00Z"},
            {"name": "Training", "state": "Running", "startTime": "2026-03-31T23:50:00Z"},
        ],
        "ledger": {
            "entries": [
                entry("Curation", "head", "cpu", 1234567),
                entry("Training", "worker", "h100", 7_000_001, acceleratorSeconds=7200, energyJoules=5_000_000),
            ],
            "highWater": [entry("Training", "worker", "h100", 500_000, uid="p1", acceleratorSeconds=3600),
                          entry("Training", "worker", "h100", 250_000, uid="p2", acceleratorSeconds=1800)],
        },
    },
}  # fmt: skip
BOOK: dict[str, Any] = {
    "kind": "ConfigMap",
    "metadata": {"namespace": "team-a", "name": "llmtrain-ledger"},
    "data": {"ledger.json": json.dumps({"totals": [entry("Training", "head", "h100", 42)], "settledJobs": ["u0"]})},
}
TOTAL = 1234567 + 7_000_001 + 750_000 + 42


@pytest.fixture
def saved(tmp_path: Path) -> str:
    file = tmp_path / "objects.json"
    file.write_text(json.dumps({"kind": "List", "items": [JOB, BOOK]}))
    return str(file)


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, [*arguments])
    return done.exit_code, done.output


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_csv_adds_up_to_the_ledger(saved: str) -> None:
    code, text = run("ledger", "export", "--from", saved)
    found = rows(text)
    assert code == 0
    assert sum(Decimal(row["costUsd"]) for row in found) * 1_000_000 == TOTAL
    assert [row["state"] for row in found if row["stage"] == "Training" and row["job"]] == ["Provisional", "Settled"]
    training = next(row for row in found if row["state"] == "Settled" and row["plan"] == "h100" and row["job"])
    assert (training["workingSeconds"], training["energyJoules"]) == ("90", "5000000")


def test_the_focus_rows_have_every_mandatory_column_and_the_same_sum(saved: str) -> None:
    found = rows(run("ledger", "export", "-o", "focus", "--from", saved)[1])
    mandatory = [
        "BilledCost",
        "BillingAccountId",
        "BillingAccountName",
        "BillingCurrency",
        "BillingPeriodEnd",
        "BillingPeriodStart",
        "ChargeCategory",
        "ChargeClass",
        "ChargeDescription",
        "ChargePeriodEnd",
        "ChargePeriodStart",
        "ContractedCost",
        "EffectiveCost",
        "InvoiceIssuerName",
        "ListCost",
        "PricingQuantity",
        "PricingUnit",
        "ProviderName",
        "PublisherName",
        "ServiceCategory",
        "ServiceName",
    ]
    assert set(mandatory) <= set(found[0])
    assert sum(Decimal(row["BilledCost"]) for row in found) * 1_000_000 == TOTAL
    curation = next(row for row in found if row["ServiceName"] == "LLM Curation")
    assert (curation["ChargePeriodStart"], curation["ChargePeriodEnd"]) == ("2026-03-01T12:00:00Z",
                                                                            "2026-03-01T12:10:00Z")  # fmt: skip
    assert (curation["BillingPeriodStart"], curation["BillingPeriodEnd"]) == ("2026-03-01T00:00:00Z",
                                                                              "2026-04-01T00:00:00Z")  # fmt: skip
    training = next(row for row in found if row["ResourceName"] == "gpt" and row["BilledCost"] == "7.000001")
    assert (training["PricingQuantity"], training["PricingUnit"]) == ("2.000000", "Accelerator Hours")
    assert json.loads(training["Tags"])["role"] == "worker"


def test_december_ends_in_the_next_year() -> None:
    from datetime import UTC, datetime

    from llmtrain.ledger.focus import next_month

    assert next_month(datetime(2026, 12, 31, tzinfo=UTC)) == datetime(2027, 1, 1, tzinfo=UTC)
    assert next_month(datetime(2026, 1, 31, tzinfo=UTC)) == datetime(2026, 2, 1, tzinfo=UTC)


def test_an_exported_bill_reconciles_with_its_ledger(saved: str, tmp_path: Path) -> None:
    for form in ("csv", "focus"):
        invoice = tmp_path / f"{form}.csv"
        invoice.write_text(run("ledger", "export", "-o", form, "--from", saved)[1])
        code, text = run("reconcile-invoice", str(invoice), "--tolerance-usd", "0", "--from", saved)
        assert (code, text.startswith("0 of ")) == (0, True), text


def test_an_invoice_says_which_lines_differ_and_by_how_much(saved: str, tmp_path: Path) -> None:
    invoice = tmp_path / "march.csv"
    invoice.write_text("plan,costUsd\r\ncpu,1.234567\r\nh100,7.850043\r\nstorage,3.00\r\n")
    code, text = run("reconcile-invoice", str(invoice), "--from", saved)
    assert code == 1
    assert "plan storage: invoice 3.000000 USD, not in the ledger; difference 3.000000 USD" in text
    assert "plan h100: invoice 7.850043 USD, ledger 7.750043 USD; difference 0.100000 USD" in text
    assert "2 of 3 lines differ" in text
    assert "plan cpu" not in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plan\ncpu\n", "no amount column"),
        ("costUsd\n1\n", "no column says what a line is for"),
        ("plan,costUsd\ncpu,a lot\n", "line 2: `costUsd` must be a decimal number, not 'a lot'"),
        ("plan,costUsd\ncpu,NaN\n", "line 2: `costUsd`"),
        ("plan,SkuId,costUsd\ncpu,cpu,1\n", "name the same thing twice"),
    ],
)
def test_an_unreadable_invoice_names_line_and_column(text: str, message: str) -> None:
    with pytest.raises(InvoiceError, match=message):
        read_invoice(text)


def test_a_difference_within_the_tolerance_is_none() -> None:
    columns, invoiced = read_invoice("plan,costUsd\ncpu,1.244567\nh100,7.750043\n")
    ledger = ledger_sums(lines_of([JOB, BOOK]), columns)
    assert differences(invoiced, ledger, 10_000) == []
    assert [found.micro_usd for found in differences(invoiced, ledger, 9_999)] == [10_000]
