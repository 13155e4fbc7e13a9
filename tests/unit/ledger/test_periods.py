"""A month of the ledger on the command line: its rows, its one line for finance, an invoice held against it."""

import csv
import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from llmtrain.cli import ledger as command
from llmtrain.cli.main import app
from llmtrain.ledger.document import ClosedRow, MonthPage, config_map
from llmtrain.ledger.invoice import read_invoice
from llmtrain.ledger.periods import Periods, closed_pages, pages_of, row_of
from tests.unit.ledger.test_ledger import document

NOW = datetime(2026, 4, 20, 12, tzinfo=UTC)


def entry(month: str, micro: Any, seconds: int, billed: int | None = None, **more: Any) -> dict[str, Any]:
    amounts = {"pods": 1, "podSeconds": seconds, "billedSeconds": billed or seconds, "costMicroUsd": micro}
    return {"stage": "Training", "role": "worker", "plan": "h100", "tenure": "Rented", "month": month} | amounts | more


def job(entries: list[dict[str, Any]], marks: list[dict[str, Any]] | None = None, name: str = "gpt") -> dict[str, Any]:
    stages = [{"name": "Training", "state": "Running", "startTime": "2026-03-30T12:00:00Z"}]
    ledger = {"entries": entries, "highWater": marks or []}
    meta = {"namespace": "team-a", "name": name, "uid": f"uid-{name}", "labels": {"cost-centre": "42"}}
    return {"kind": "LLMTrainingJob", "metadata": meta, "status": {"stages": stages, "ledger": ledger}}


def closed(
    *rows: dict[str, Any], month: str = "2026-03", others: Sequence[dict[str, Any]] = ()
) -> list[dict[str, Any]]:
    told = [
        ClosedRow.model_validate_json(json.dumps({"stage": "Training", "role": "worker", "month": month, **row}))
        for row in rows
    ]
    return [
        {**config_map(page, "llmtrain-system"), "kind": "ConfigMap"}
        for page in pages_of("team-a", month, told, "2026-04-08T00:00:00Z", closed_pages(others))
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
        (
            ("ledger", "export", "--period", "9999-12"),
            "`9999-12` is no calendar month; allowed are `1970-01` to `2199-12`",
        ),
        (("ledger", "export", "--period", "0000-01"), "`0000-01` is no calendar month"),
        (("cost", "--month", "٢٠٢٦-03"), "`٢٠٢٦-03` is no calendar month"),
        (("cost", "--month", "2199-12"), "2199-12 has not begun"),
        (("ledger", "export", "--period", ""), "`` is no calendar month"),
        (("reconcile-invoice", "INVOICE", "--period", ""), "`` is no calendar month"),
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


def test_a_rows_id_is_the_same_whatever_of_it_is_settled_yet(run: Any) -> None:
    """A pod alive, the same settled, and settled beside another that was booked by itself after its job."""
    mark = entry("", 0, 30, uid="p", startTime="2026-03-30T23:59:00Z", microUsdPerHour=3_600_000)
    booked = entry("2026-03", 30_000, 30)
    row = {
        "stage": "Training",
        "role": "worker",
        "plan": "h100",
        "tenure": "Rented",
        "pods": 1,
        "costMicroUsd": 5,
        "month": "2026-03",
    }
    page = MonthPage.model_validate_json(
        json.dumps({
            "namespace": "team-a", "namespaceUid": "n", "month": "2026-04", "page": 1, "bookings": [
                {"kind": "Pod", "uid": "pod-9", "job": "gpt", "jobUid": "uid-gpt", "deleted": "2026-04-02T00:00:00Z", "rows": [row]}],
        })
    )  # fmt: skip
    late = {**config_map(page, "llmtrain-system"), "kind": "ConfigMap"}
    told = [[job([], [mark])], [job([booked])], [job([booked], [mark])], [late], [late, job([booked])]]
    for arguments, column in ((("-o", "csv"), "rowId"), (("-o", "focus"), "x_RowId")):
        found = [rows(run(items, "ledger", "export", "--period", "2026-03", *arguments)) for items in told]
        assert [len(one) for one in found] == [1] * len(told)
        assert len({one[0][column] for one in found}) == 1


def test_a_job_that_is_settled_and_one_that_is_not_are_one_row_of_their_cost_centre(run: Any) -> None:
    mark = entry("", 0, 30, uid="p", startTime="2026-03-30T23:59:00Z", microUsdPerHour=3_600_000)
    items = [job([entry("2026-03", 1_000_000, 10)]), job([], [mark], name="other")]
    for form, amount in (("csv", "costUsd"), ("focus", "BilledCost")):
        (found,) = rows(run(items, "ledger", "export", "--period", "2026-03", "-o", form, "--group-by", "cost-centre"))
        assert found[amount] == "1.030000"


def test_without_a_period_each_month_is_a_row_of_its_own_in_its_own_time(run: Any) -> None:
    """A training from March 30 on: what it cost in April is no charge of March, and has an id of its own."""
    items = [job([entry("2026-03", 5_000_000, 100), entry("2026-04", 7_000_000, 200)])]
    found = rows(run(items, "ledger", "export"))
    assert [(row["month"], row["costUsd"]) for row in found] == [("2026-03", "5.000000"), ("2026-04", "7.000000")]
    assert len({row["rowId"] for row in found}) == 2
    focus = rows(run(items, "ledger", "export", "-o", "focus"))
    assert [(row["BillingPeriodStart"], row["ChargePeriodStart"], row["ChargePeriodEnd"]) for row in focus] == [
        ("2026-03-01T00:00:00Z", "2026-03-30T12:00:00Z", "2026-04-01T00:00:00Z"),
        ("2026-04-01T00:00:00Z", "2026-04-01T00:00:00Z", "2026-04-20T12:00:00Z"),
    ]
    assert [len(row["x_RowId"]) for row in focus] == [32, 32]
    assert len({row["x_RowId"] for row in focus}) == 2
    by_centre = rows(run(items, "ledger", "export", "--group-by", "cost-centre"))
    assert [(row["month"], row["costUsd"]) for row in by_centre] == [("2026-03", "5.000000"), ("2026-04", "7.000000")]


FEBRUARY = {**MARCH, "month": "2026-02", "costMicroUsd": 2_000_000}


def kept(run: Any, folder: Path, form: str) -> list[str]:
    """Exports of February and March, both closed."""
    items = [*closed(FEBRUARY, month="2026-02"), *closed(MARCH, FEBRUARY | {"costMicroUsd": 250_000, "pods": 0})]
    files = []
    for month in ("2026-02", "2026-03"):
        file = folder / f"{month}.csv"
        with file.open("w", newline="") as out:
            out.write(run(items, "ledger", "export", "--period", month, "-o", form).stdout)
        files.append(str(file))
    return files


def reconcile(invoice: Path, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["reconcile-invoice", str(invoice), *arguments])
    return done.exit_code, " ".join(done.output.split())


@pytest.mark.parametrize("form", ["csv", "focus"])
def test_an_invoice_of_two_months_is_held_against_the_exports_that_were_kept(
    form: str, run: Any, tmp_path: Path
) -> None:
    february, march = kept(run, tmp_path, form)
    invoice = tmp_path / "invoice.csv"
    invoice.write_text("plan,costUsd\nh100,5.25\n")
    both = ("--ledger", february, "--ledger", march)
    assert reconcile(invoice, *both) == (0, "0 of 1 lines differ; invoice 5.250000 USD, ledger 5.250000 USD")
    code, text = reconcile(invoice, "--ledger", march)
    assert (code, "the ledger has 1 pods that ended in the month" in text) == (1, True)
    assert "corrections of 2026-02: 0.250000 USD" in text
    assert reconcile(invoice, *both, "-n", "team-b")[1].startswith("plan h100: invoice 5.250000 USD, not in the ledger")
    whole = tmp_path / "bill.csv"
    whole.write_text(Path(february).read_text() + Path(march).read_text().partition("\n")[2])
    assert reconcile(whole, *both, "--tolerance-usd", "0")[0] == 0


def test_exports_that_overlap_are_named_and_refused(run: Any, tmp_path: Path) -> None:
    february, march = kept(run, tmp_path, "csv")
    invoice = tmp_path / "invoice.csv"
    invoice.write_text("plan,costUsd\nh100,5.25\n")
    code, text = reconcile(invoice, "--ledger", february, "--ledger", march, "--ledger", march)
    assert code == 2
    assert f"month 2026-03 of namespace team-a is at {march} line 2 and again at {march} line 2" in text
    assert reconcile(invoice, "--ledger", march, "--period", "2026-03")[0] == 2
    assert "leave --period and --from out" in reconcile(invoice, "--ledger", march, "--from", march)[1]
    assert "No such file" in reconcile(invoice, "--ledger", str(tmp_path / "none.csv"))[1]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("plan,costUsd,rowId\nh100,1,a\nh100,1,b\nh100,1,a\n", "lines 2 and 4 are one row, `rowId` a: exports overlap"),
        ("SkuId,BilledCost,x_RowId\nh100,1,a\nh100,1,a\n", "lines 2 and 3 are one row, `x_RowId` a"),
        ("plan,costUsd\nh100,1\nplan,costUsd\nh100,2\n", "line 3: is the first line again"),
        (
            "SkuId,BilledCost,BillingPeriodStart\nh100,1,2026-03-01T00:00:00Z\nh100,1,2026-04-01T00:00:00Z\n",
            "line 3: is of 2026-04 by `BillingPeriodStart`, and 2026-03 is asked for",
        ),
        ("plan,costUsd\nh100,1e999999\n", "line 2: `costUsd` must be at most 1000000000000"),
        (f"plan,costUsd\n{'a' * 200_000}\n", "is no CSV"),
    ],
)
def test_an_invoice_that_was_put_together_wrongly_is_refused(run: Any, body: str, said: str, tmp_path: Path) -> None:
    invoice = tmp_path / "invoice.csv"
    invoice.write_text(body)
    done = run(closed(MARCH), "reconcile-invoice", str(invoice), "--period", "2026-03")
    assert (done.exit_code, said in " ".join(done.output.split())) == (2, True), done.output


@pytest.mark.parametrize("tolerance", ["NaN", "sNaN", "Infinity", "-1", "1e30", "a lot", ""])
def test_a_tolerance_that_is_none_is_refused(tolerance: str, run: Any, tmp_path: Path) -> None:
    invoice = tmp_path / "invoice.csv"
    invoice.write_text("plan,costUsd\nh100,3\n")
    done = run(closed(MARCH), "reconcile-invoice", str(invoice), "--tolerance-usd", tolerance)
    assert (done.exit_code, "--tolerance-usd must be a decimal number from 0" in " ".join(done.output.split())) == (
        2,
        True,
    )


def test_amounts_below_a_microdollar_are_added_up_before_they_are_rounded() -> None:
    _, sums = read_invoice("plan,costUsd\n" + "h100,0.0000004\n" * 5)
    assert list(sums.values()) == [2]


def test_an_object_that_is_saved_twice_is_refused_and_so_is_a_status_that_is_none(run: Any) -> None:
    one = job([entry("2026-03", 1, 1)])
    said = [
        (one, one, "LLMTrainingJob team-a/gpt is in it twice"),
        (closed(MARCH)[0], closed(MARCH)[0], "ConfigMap llmtrain-system/llmtrain-ledger-closed-team-a-2026-03-1 is in it twice"),
        (one, job([entry("2026-03", "much", 1)], name="b"), "LLMTrainingJob team-a/b: `status.ledger.entries.0.costMicroUsd`"),
        (one, {"kind": "LLMTrainingJob", "metadata": {"name": "b"}}, "no objects of Kubernetes"),
    ]  # fmt: skip
    for first, second, words in said:
        for asked in (("ledger", "export"), ("cost", "--month", "2026-03"), ("ledger", "waste"), ("ledger", "show")):
            done = run([first, second], *asked)
            assert (done.exit_code, words in " ".join(done.output.split())) == (2, True), (
                asked,
                done.output,
                done.exception,
            )


def pod_of(name: str, micro: int) -> dict[str, Any]:
    """The page of a pod whose job had gone before it."""
    row = entry("2026-03", micro, 5)
    booking = {"kind": "Pod", "uid": name, "job": "gpt", "jobUid": "uid-gpt", "deleted": "2026-03-02T00:00:00Z"}
    pages = {"kind": "Month", "namespace": "team-a", "month": "2026-03", "page": 1, "namespaceUid": f"ns-{name}"}
    body = document("x", pages | {"bookings": [booking | {"rows": [row]}]})
    return body | {"metadata": body["metadata"] | {"name": f"llmtrain-ledger-ns-{name}-2026-03-1"}}


ALIVE = entry("", 0, 100, uid="p", startTime="2026-03-31T23:59:00Z", microUsdPerHour=3_600_000)


@pytest.mark.parametrize(
    "items",
    [
        [job([entry("2026-03", 5_000_000, 100)], [ALIVE])],
        [job([], [ALIVE])],
        [pod_of("b", 1), pod_of("a", 2)],
        [job([entry("2026-03", 5_000_000, 100)]), pod_of("a", 2)],
    ],
    ids=["settled and alive", "alive", "pods alone", "a pod and its job"],
)
@pytest.mark.parametrize("form", ["csv", "focus"])
def test_a_row_keeps_its_id_when_its_month_is_closed(form: str, items: list[dict[str, Any]], run: Any) -> None:
    column = {"csv": "rowId", "focus": "x_RowId"}[form]
    month = ("ledger", "export", "--period", "2026-03", "-o", form)
    before = [row[column] for row in rows(run(items, *month))]
    lines = [found.line for found in Periods.of(items).entries("2026-03", NOW)]
    pages = pages_of("team-a", "2026-03", map(row_of, lines), "2026-04-08T00:00:00Z")
    stored = [{**config_map(page, "llmtrain-system"), "kind": "ConfigMap"} for page in pages]
    assert [row[column] for row in rows(run([*items, *stored], *month))] == before
    assert before


@pytest.mark.parametrize("form", ["csv", "focus"])
@pytest.mark.parametrize("by", [(), ("--group-by", "cost-centre")])
def test_every_row_of_any_export_has_an_id_of_its_own(by: tuple[str, ...], form: str, run: Any) -> None:
    """Over months, and of corrections of two of them in one."""
    column = {"csv": "rowId", "focus": "x_RowId"}[form]
    february = closed(MARCH | {"month": "2026-02"}, month="2026-02")
    march = closed(MARCH, others=february)
    items = [job([entry(month, 9_000_000, 90) for month in ("2026-02", "2026-03", "2026-04")]), *february, *march]
    for period in ((), ("--period", "2026-04")):
        ids = [row[column] for row in rows(run(items, "ledger", "export", "-o", form, *period, *by))]
        assert len({one.partition("-")[0] for one in ids}) == len(ids) > 0


def test_a_closed_month_that_is_gone_or_was_made_anew_as_another_is_told_by_the_next(run: Any) -> None:
    february = closed(MARCH | {"month": "2026-02"}, month="2026-02")
    march = closed(MARCH, others=february)
    months = [entry("2026-02", 3_000_000, 50, 60), entry("2026-03", 3_000_000, 50, 60)]
    export = ("ledger", "export", "--period", "2026-04")
    assert rows(run([job(months), *february, *march], *export)) == []
    other = closed(MARCH | {"month": "2026-02", "costMicroUsd": 1}, month="2026-02")
    for items, what in (([], "has gone"), (other, "is not as it was")):
        result = run([job(months), *items, *march], *export)
        words = f"closed month 2026-02 of namespace team-a {what}: put ConfigMap llmtrain-ledger-closed-team-a-2026-02-1 back"
        assert (result.exit_code, words in " ".join(result.output.split())) == (2, True), result.output
    assert all(one["immutable"] for one in (*february, *march))
    # The newest has none behind it: it is open again, and what it comes to is what it was.
    assert [row["costUsd"] for row in rows(run([job(months), *february], *export[:3], "2026-03"))] == ["3.000000"]
