"""`llmtrain ledger waste`: by node, by cause and by job the same sum, of jobs that are there and of those that are deleted."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from llmtrain.cli.main import app
from llmtrain.ledger.waste import By, wasted
from tests.unit.ledger.test_ledger import document, entry

WASTED = {"waiting": 10, "starting": 20, "minimum": 8}
NODES = [{"node": "a", "billedSeconds": 30, "costMicroUsd": 700_000}, {"billedSeconds": 3, "costMicroUsd": 30_000}]
CAUSES = [{"cause": "NodeLost", "billedSeconds": 33, "costMicroUsd": 730_000}]


def job(name: str, **ledger: Any) -> dict[str, Any]:
    one = entry("Training", "worker", "h100", 2_000_000, split=WASTED | {"working": 62},
                costSplit={"waiting": 200_000, "starting": 500_000, "minimum": 100_000, "working": 1_200_000})  # fmt: skip
    status = {"stages": [{"name": "Training"}], "ledger": {"entries": [one]} | ledger}
    return {"kind": "LLMTrainingJob", "metadata": {"namespace": "team-a", "name": name, "uid": name}, "status": status}


def page(uid: str, **told: Any) -> dict[str, Any]:
    """A deleted job: half of it was waste; `told`: of what nodes and causes."""
    row = {"stage": "Training", "role": "head", "plan": "h100", "tenure": "Rented", "pods": 1, "podSeconds": 100,
           "billedSeconds": 100, "costMicroUsd": 60, "split": {"working": 50, "stopping": 50},
           "costSplit": {"working": 30, "stopping": 30}}  # fmt: skip
    booking = {
        "kind": "Job",
        "uid": uid,
        "job": "gone",
        "jobUid": uid,
        "deleted": "2026-03-02T00:00:00Z",
        "rows": [row],
    } | told
    body = {"kind": "Month", "namespace": "team-b", "month": "2026-03", "page": 1, "bookings": [booking]}
    return document("2026-03-1", body)


TOLD = job("told", wasteByNode=NODES, wasteByCause=CAUSES)
OLD = job("of-before")
ITEMS = [TOLD, OLD, page("u9")]


def rows(by: By, items: list[dict[str, Any]] = ITEMS) -> list[tuple[str, int, int]]:
    return [(row.name, row.billed_seconds, row.cost_micro_usd) for row in wasted(items, by)]


@pytest.mark.parametrize("by", By)
def test_every_way_adds_up_to_the_same(by: By) -> None:
    found = rows(by)
    assert (sum(row[1] for row in found), sum(row[2] for row in found)) == (2 * 38 + 50, 2 * 800_000 + 30)
    assert found == sorted(found, key=lambda row: -row[2])


def test_what_a_status_does_not_tell_apart_is_a_row_of_its_own() -> None:
    assert rows(By.JOB) == [("team-a/of-before", 38, 800_000), ("team-a/told", 38, 800_000), ("team-b/gone", 50, 30)]
    assert rows(By.NODE) == [("(not recorded)", 5 + 38, 870_000), ("a", 30, 700_000), ("(others)", 3, 30_000),
                             ("(deleted jobs)", 50, 30)]  # fmt: skip
    assert rows(By.CAUSE) == [
        ("(not recorded)", 5 + 38, 870_000),
        ("NodeLost", 33, 730_000),
        ("(deleted jobs)", 50, 30),
    ]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"a": [40, 20], "b": [10, 10]}, [("a", 40, 20), ("b", 10, 10)]),
        ({"a": [30, 10], "": [20, 20]}, [("(others)", 20, 20), ("a", 30, 10)]),
        ({"a": [10, 20]}, [("a", 10, 20), ("(deleted jobs)", 40, 10)]),
        ({}, [("(deleted jobs)", 50, 30)]),
    ],
)
def test_a_deleted_job_tells_its_waste_by_node_and_by_cause(
    told: dict[str, list[int]], expected: list[tuple[str, int, int]]
) -> None:
    items = [page("u9", wasteByNode=told, wasteByCause=told)]
    assert rows(By.NODE, items) == rows(By.CAUSE, items) == expected
    assert rows(By.JOB, items) == [("team-b/gone", 50, 30)]


def test_the_waste_of_one_node_is_a_sum_over_jobs_that_are_there_and_that_are_deleted() -> None:
    items = [TOLD, page("u9", wasteByNode={"a": [50, 30]})]
    assert rows(By.NODE, items)[0] == ("a", 30 + 50, 700_000 + 30)


def test_a_job_that_is_booked_and_still_there_counts_once() -> None:
    assert rows(By.JOB, [TOLD, page("told")]) == [("team-a/told", 38, 800_000)]


def run(items: list[dict[str, Any]], where: Path, *arguments: str) -> tuple[int, str]:
    file = where / "objects.json"
    file.write_text(json.dumps({"kind": "List", "items": items}))
    done = CliRunner().invoke(app, ["ledger", "waste", "--from", str(file), *arguments])
    return done.exit_code, done.output


def test_the_table_is_as_kubectl_draws_it(tmp_path: Path) -> None:
    code, text = run([TOLD], tmp_path, "--by", "node")
    assert code == 0
    assert text.splitlines() == [
        "NODE             BILLED-SECONDS   USD        SHARE",
        "a                30               0.700000   87.5%",
        "(not recorded)   5                0.070000   8.8%",
        "(others)         3                0.030000   3.8%",
        "total            38               0.800000   100.0%",
    ]


def test_json_has_exact_amounts_and_the_sum(tmp_path: Path) -> None:
    code, text = run(ITEMS, tmp_path, "--by", "cause", "-o", "json")
    assert code == 0
    found = json.loads(text)
    assert found["by"] == "cause"
    assert found["rows"][1] == {"cause": "NodeLost", "billedSeconds": 33, "costUsd": "0.730000"}
    assert found["total"] == {"billedSeconds": 126, "costUsd": "1.600030"}


@pytest.mark.parametrize("by", ["node", "cause", "job"])
def test_nothing_wasted_is_an_empty_table(by: str, tmp_path: Path) -> None:
    assert run([], tmp_path, "--by", by)[1].splitlines()[1].split() == ["total", "0", "0.000000", "-"]


def test_a_way_that_does_not_exist_is_refused_with_those_that_do(tmp_path: Path) -> None:
    code, text = run(ITEMS, tmp_path, "--by", "pod")
    assert code == 2
    assert all(way in text for way in ("node", "cause", "job"))


def test_names_of_others_are_shown_and_never_obeyed(tmp_path: Path) -> None:
    """A reason may be a head's own word, and what wrote a status may have been anything."""
    said = [{"cause": "\x1b[2Jgone\nforged", "billedSeconds": 33, "costMicroUsd": 730_000}]
    for form in ("table", "json"):
        text = run([job("told", wasteByCause=said)], tmp_path, "--by", "cause", "-o", form)[1]
        assert "\x1b" not in text
        assert "gone forged" in text


def test_a_ledger_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    broken = page("u9")
    broken["data"]["ledger.json"] = "{"
    code, text = run([broken], tmp_path)
    assert code == 2
    assert "llmtrain-ledger-n1-2026-03-1" in text
