"""Exports of closed months that were kept: read back to the microdollar, and refused where they overlap."""

import csv
import io
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from llmtrain.ledger.exported import ExportError, read_exports
from llmtrain.ledger.focus import charges_csv
from llmtrain.ledger.grouping import grouped
from llmtrain.ledger.lines import UNVERIFIED, Line
from llmtrain.ledger.periodfile import period_csv
from llmtrain.ledger.periods import CLOSED, OPEN, Entry
from tests.unit.ledger.billed import line

NOW = datetime(2026, 5, 20, tzinfo=UTC)
READ_BACK = (
    "namespace",
    "job",
    "uid",
    "stage",
    "role",
    "plan",
    "tenure",
    "pods",
    "pod_seconds",
    "billed_seconds",
    "cost_micro_usd",
)


def of_month(month: str, **more: object) -> Line:
    return line(state="", month=month, start=f"{month}-02T10:00:00Z", end=f"{month}-28T00:00:00Z", **more)


def entry(month: str, corrects: str = "", state: str = CLOSED, **more: object) -> Entry:
    return Entry(of_month(corrects or month, **more), month, state, corrects)


def export(form: str, *entries: Entry) -> str:
    return period_csv(entries) if form == "csv" else charges_csv(one.charge for one in entries)


MARCH = (entry("2026-03"), entry("2026-03", role="head", plan="", cost_micro_usd=0, accelerator_seconds=0))
APRIL = (entry("2026-04", cost_micro_usd=7), entry("2026-04", "2026-03", cost_micro_usd=-3))


@pytest.mark.parametrize("form", ["csv", "focus"])
def test_months_are_read_back_as_they_were_written(form: str) -> None:
    carried = entry("2026-03", job="", uid="", cost_micro_usd=11)
    carried = replace(carried, line=replace(carried.line, state=UNVERIFIED))
    files = [("march.csv", export(form, *MARCH, carried)), ("april.csv", "\ufeff" + export(form, *APRIL))]
    found = read_exports(files, NOW)
    wanted = [*MARCH, carried, *APRIL]
    assert [(one.period, one.corrects, one.state) for one in found] == [
        (one.period, one.corrects, CLOSED) for one in wanted
    ]
    for one, other in zip(found, wanted, strict=True):
        assert [getattr(one.line, name) for name in READ_BACK] == [getattr(other.line, name) for name in READ_BACK]


@pytest.mark.parametrize("form", ["csv", "focus"])
def test_a_month_without_rows_is_an_export_as_well(form: str) -> None:
    assert read_exports([("quiet.csv", export(form))], NOW) == []


@pytest.mark.parametrize("form", ["csv", "focus"])
def test_a_month_of_one_namespace_is_no_month_of_another(form: str) -> None:
    other = replace(MARCH[0], line=replace(MARCH[0].line, namespace="team-b"))
    files = [("a.csv", export(form, *MARCH)), ("b.csv", export(form, other))]
    assert sum(one.line.cost_micro_usd for one in read_exports(files, NOW)) == 2 * 1_396_500


def by_team(*entries: Entry) -> list[Entry]:
    labelled = [replace(one.line, labels={"team": "nlp"}) for one in entries]
    return [Entry(one, entries[0].period, CLOSED) for one in grouped(labelled, "team")]


OVERLAPS = {
    "one file twice": ["MARCH", "MARCH"],
    "a month in a file of its own and in one of two": ["MARCH", "MARCH APRIL"],
    "jobs, and the same jobs added up": ["MARCH", "BY TEAM"],
    "a correction in another file of its month": ["APRIL FIRST", "APRIL SECOND"],
}
PARTS = {"MARCH": MARCH, "MARCH APRIL": (*MARCH, *APRIL), "BY TEAM": tuple(by_team(*MARCH)), "APRIL FIRST": APRIL[:1],
         "APRIL SECOND": APRIL[1:]}  # fmt: skip


@pytest.mark.parametrize("second", ["csv", "focus"])
@pytest.mark.parametrize("first", ["csv", "focus"])
@pytest.mark.parametrize("case", OVERLAPS)
def test_months_in_two_files_are_named_and_refused(case: str, first: str, second: str) -> None:
    one, other = (PARTS[part] for part in OVERLAPS[case])
    month = other[0].period
    wanted = f"exports overlap: month {month} of namespace team-a is at one.csv line 2 and again at other.csv line 2"
    with pytest.raises(ExportError, match=re.escape(wanted)):
        read_exports([("one.csv", export(first, *one)), ("other.csv", export(second, *other))], NOW)


def without_header(text: str) -> str:
    return text.partition("\r\n")[2]


@pytest.mark.parametrize("form", ["csv", "focus"])
def test_what_was_put_together_into_one_file_overlaps_as_well(form: str) -> None:
    march, april = export(form, *MARCH), export(form, *APRIL)
    assert len(read_exports([("both.csv", march + without_header(april))], NOW)) == 4
    with pytest.raises(
        ExportError,
        match=r"both.csv line 2 and both.csv line 6 are one row, [0-9a-f]{32}, of month 2026-03 of namespace team-a",
    ):
        read_exports([("both.csv", march + without_header(april) + without_header(march))], NOW)
    with pytest.raises(ExportError, match=r"both.csv line 4: is the first line of another export"):
        read_exports([("both.csv", march + april)], NOW)


def test_jobs_and_the_same_jobs_added_up_in_one_file_overlap() -> None:
    text = export("focus", *MARCH) + without_header(export("focus", *by_team(*MARCH)))
    with pytest.raises(
        ExportError, match=r"month 2026-03 of namespace team-a is at both.csv line 2 and again at both.csv line 4"
    ):
        read_exports([("both.csv", text)], NOW)
    mixed = export("csv", *MARCH) + without_header(period_csv(by_team(*MARCH), "team"))
    with pytest.raises(ExportError, match=r"both.csv line 4: has other columns than the first line"):
        read_exports([("both.csv", mixed)], NOW)


@pytest.mark.parametrize("form", ["csv", "focus"])
@pytest.mark.parametrize(
    ("month", "state", "said"),
    [
        ("2026-03", OPEN, "month 2026-03 of namespace team-a is not closed, the row says Open"),
        ("2026-05", CLOSED, "month 2026-05 of namespace team-a is not closed"),
        ("2026-06", CLOSED, "2026-06 has not begun"),
    ],
)
def test_a_month_that_is_not_closed_is_refused(form: str, month: str, state: str, said: str) -> None:
    with pytest.raises(ExportError, match=f"kept.csv line 2: {said}"):
        read_exports([("kept.csv", export(form, entry(month, state=state)))], NOW)


def changed(form: str, column: str, value: str) -> str:
    found = list(csv.DictReader(io.StringIO(export(form, *MARCH))))
    out = io.StringIO()
    writer = csv.DictWriter(out, list(found[0]))
    writer.writeheader()
    writer.writerows([found[0] | {column: value}, *found[1:]])
    return out.getvalue()


@pytest.mark.parametrize(
    ("form", "column", "value", "said"),
    [
        ("csv", "costUsd", "NaN", "`costUsd` must be a decimal number, not 'NaN'"),
        ("csv", "costUsd", "1e999999", "`costUsd` must be a decimal number"),
        ("csv", "costUsd", "1.3965001", "`costUsd` must have six decimals"),
        ("csv", "pods", "", "`pods` must be a decimal number, not ''"),
        ("csv", "podSeconds", "0.5", "`podSeconds` must be a whole number"),
        ("csv", "period", "2026-13", "`2026-13` is no calendar month"),
        ("focus", "BilledCost", "$1", "`BilledCost` must be a decimal number"),
        ("focus", "BillingPeriodStart", "", "is no calendar month"),
        ("focus", "Tags", "{", "`Tags` must be JSON"),
        ("focus", "Tags", "[1]", "`Tags` must be an object of texts"),
        ("focus", "x_State", "Settled", "is not closed, the row says Settled"),
    ],
)
def test_a_wrong_cell_is_named(form: str, column: str, value: str, said: str) -> None:
    with pytest.raises(ExportError, match=re.escape(f"kept.csv line 2: {said}" if said[0] == "`" else said)):
        read_exports([("kept.csv", changed(form, column, value))], NOW)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "kept.csv: is no export of a month, for it lacks rowId, namespace"),
        ("plan,costUsd\nh100,1\n", "kept.csv: is no export of a month, for it lacks rowId, namespace"),
        (export("csv", *MARCH).replace("correctsPeriod", "corrects", 1), "kept.csv: is no export of a month, for it lacks correctsPeriod;"),
        (export("focus", *MARCH).replace("x_State", "State", 1), "kept.csv: is no export of a month, for it lacks x_State;"),
        (export("csv", *MARCH) + '"open', "is no CSV"),
        (export("csv", *MARCH) + "team-a\r\n", "kept.csv line 4: has other columns than the first line"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_export_is_named(text: str, said: str) -> None:
    with pytest.raises(ExportError, match=re.escape(said)):
        read_exports([("kept.csv", text)], NOW)
