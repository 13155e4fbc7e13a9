"""A month of the ledger on the command line: its rows, its one line for finance, an invoice held against it."""

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from llmtrain.cli import ledger as command
from llmtrain.cli.main import app
from llmtrain.ledger.document import ClosedRow, config_map
from llmtrain.ledger.periods import pages_of

NOW = datetime(2026, 4, 20, 12, tzinfo=UTC)


def entry(month: str, micro: int, seconds: int, billed: int | None = None, **more: Any) -> dict[str, Any]:
    amounts = {"pods": 1, "podSeconds": seconds, "billedSeconds": billed or seconds, "costMicroUsd": micro}
    return {"stage": "Training", "role": "worker", "plan": "h100", "tenure": "Rented", "month": month} | amounts | more


def job(entries: list[dict[str, Any]], marks: list[dict[str, Any]] | None = None, name: str = "gpt") -> dict[str, Any]:
    stages = [{"name": "Training", "state": "Running", "startTime": "2026-03-30T12:00:00Z"}]
    ledger = {"entries": entries, "highWater": marks or []}
    meta = {"namespace": "team-a", "name": name, "uid": f"uid-{name}", "labels": {"cost-centre": "42"}}
    return {"kind": "LLMTrainingJob", "metadata": meta, "status": {"stages": stages, "ledger": ledger}}


def closed(*rows: dict[str, Any], month: str = "2026-03") -> list[dict[str, Any]]:
    told = [
        ClosedRow.model_validate_json(json.dumps({"stage": "Training", "role": "worker", "month": month, **row}))
        for row in rows
    ]
    return [
        {**config_map(page, "llmtrain-system"), "kind": "ConfigMap"}
        for page in pages_of("team-a", month, told, "2026-04-08T00:00:00Z")
    ]


MARCH = {"job": "gpt", "uid": "uid-gpt", "plan": "h100", "tenure": "Rented", "pods": 1, "podSeconds": 50, "billedSeconds": 60,
         "costMicroUsd": 3_000_000}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return NOW

    monkeypatch.setattr(command, "datetime", Clock)

    def invoke(items: list[dict[str, Any]], *arguments: str) -> Result:
        saved = tmp_path / "saved.json"
        saved.write_text(json.dumps({"items": items}))
        return CliRunner().invoke(app, [*arguments, "--from", str(saved)])

    return invoke


def rows(result: Result) -> list[dict[str, str]]:
    assert result.exit_code == 0, result.output
    return list(csv.DictReader(io.StringIO(result.stdout)))


def test_a_month_has_what_accrued_in_it_and_says_open_until_it_is_closed(run: Any) -> None:
    """A pod alive since March 31: a minute in March, the rest of its lower bound in April."""
    mark = entry("", 0, 180, uid="p", startTime="2026-03-31T23:59:00Z", microUsdPerHour=3_600_000)
    items = [job([entry("2026-03", 5_000_000, 100), entry("2026-04", 7_000_000, 200)], [mark])]
    march, april = (rows(run(items, "ledger", "export", "--period", month)) for month in ("2026-03", "2026-04"))
    assert [(row["state"], row["costUsd"], row["period"]) for row in march] == [("Open", "5.060000", "2026-03")]
    assert [(row["state"], row["costUsd"], row["podSeconds"]) for row in april] == [("Open", "7.120000", "320")]
    assert rows(run(items, "ledger", "export", "--period", "2026-02")) == []


def test_a_closed_month_is_the_same_bytes_whatever_became_of_its_jobs_since(run: Any) -> None:
    before = [
        job([entry("2026-03", 3_000_000, 50, 60)]),
        *closed(MARCH | {"labels": {"cost-centre": "42"}, "commitment": "Spot"}),
    ]
    renamed = job([entry("2026-03", 3_000_000, 50, 60), entry("2026-04", 1, 1)])
    renamed["metadata"]["labels"] = {"cost-centre": "7"}
    for arguments in (("-o", "csv"), ("-o", "focus"), ("-o", "focus", "--group-by", "cost-centre")):
        first, again, gone = (
            run(items, "ledger", "export", "--period", "2026-03", *arguments).stdout
            for items in (before, [renamed, *before[1:]], before[1:])
        )
        assert first == again == gone
        assert "Closed" in first
    focus = rows(run(before, "ledger", "export", "--period", "2026-03", "-o", "focus"))
    assert [(row["PricingCategory"], row["BillingPeriodStart"], row["ChargePeriodEnd"]) for row in focus] == [
        ("Dynamic", "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z")
    ]


def test_what_is_found_of_a_closed_month_is_a_correction_in_the_next(run: Any) -> None:
    items = [job([entry("2026-03", 3_500_000, 60, 70, pods=2), entry("2026-04", 1_000_000, 10)]), *closed(MARCH)]
    found = rows(run(items, "ledger", "export", "--period", "2026-04"))
    assert [(row["costUsd"], row["podSeconds"], row["correctsPeriod"]) for row in found] == [
        ("1.000000", "10", ""),
        ("0.500000", "10", "2026-03"),
    ]
    focus = rows(run(items, "ledger", "export", "--period", "2026-04", "-o", "focus"))
    assert [(row["ChargeClass"], row["BilledCost"], row["BillingPeriodStart"]) for row in focus] == [
        ("", "1.000000", "2026-04-01T00:00:00Z"),
        ("Correction", "0.500000", "2026-04-01T00:00:00Z"),
    ]
    assert len({row["x_RowId"] for row in focus}) == 2


def test_finance_gets_one_line(run: Any) -> None:
    items = [job([entry("2026-03", 3_500_000, 60), entry("2026-04", 1_000_000, 10)]), *closed(MARCH)]
    told = [run(items, "cost", "-n", "team-a", "--month", month).stdout for month in ("2026-03", "2026-04", "2026-01")]
    assert told == [
        "team-a 2026-03: 3.000000 USD, 1 job, Closed\n",
        "team-a 2026-04: 1.500000 USD, 1 job, Open, corrections of earlier months 0.500000 USD in it\n",
        "team-a 2026-01: 0.000000 USD, 0 jobs, Closed\n",
    ]
    other = run(items, "cost", "-n", "team-b", "--month", "2026-03").stdout
    assert other == "team-b 2026-03: 0.000000 USD, 0 jobs, Closed\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ledger", "export", "--period", "2026-05"), "2026-05 has not begun; allowed are months up to 2026-04"),
        (("ledger", "export", "--period", "march"), "`march` is no calendar month"),
        (("cost", "--month", "2026-13"), "`2026-13` is no calendar month"),
        (("reconcile-invoice", "INVOICE", "--period", "2026-04"), "--period 2026-04 is not closed in namespace team-a"),
        (("reconcile-invoice", "INVOICE", "--period", "2026-06"), "has not begun"),
    ],
)
def test_a_month_that_cannot_be_told_is_refused_by_name(
    arguments: tuple[str, ...], words: str, run: Any, tmp_path: Path
) -> None:
    invoice = tmp_path / "invoice.csv"
    invoice.write_text("plan,costUsd\nh100,1\n")
    given = [str(invoice) if part == "INVOICE" else part for part in arguments]
    result = run([job([entry("2026-04", 1, 1)])], *given)
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())


def test_an_invoice_is_held_against_its_month_and_a_difference_is_explained(run: Any, tmp_path: Path) -> None:
    invoice = tmp_path / "invoice.csv"
    invoice.write_text("plan,costUsd\nh100,3.25\n")
    correction = MARCH | {"month": "2026-02", "costMicroUsd": 250_000, "pods": 0}
    items = [job([entry("2026-03", 3_000_000, 50, 60), entry("2026-04", 9_000_000, 9)]), *closed(MARCH, correction)]
    same = run(items, "reconcile-invoice", str(invoice), "--period", "2026-03")
    assert (same.exit_code, same.stdout) == (0, "0 of 1 lines differ; invoice 3.250000 USD, ledger 3.250000 USD\n")
    invoice.write_text("plan,costUsd\nh100,5\n")
    other = run(items, "reconcile-invoice", str(invoice), "--period", "2026-03")
    assert other.exit_code == 1
    assert (
        "the ledger has 1 pods that ended in the month, 50 s of pods, 10 s billed beyond them by minimums and increments, corrections of 2026-02: 0.250000 USD"
        in other.stdout
    )
