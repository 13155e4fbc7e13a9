"""The panels of money over time, asked of promtool: right whenever Prometheus began, over restarts and at the turn of a month."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmtrain.observe.dashboards import FLEET, ONE_JOB
from llmtrain.observe.panels import Dashboard
from tests.api.programs import CHART, run
from tests.observing import chosen

pytestmark = pytest.mark.timeout(180)
RULES = CHART / "files" / "rules.yaml"
MONTH = "Spent by calendar month"
SPACE_AND_MONTH = "Spent by namespace and month"


def series(month: str, values: str, namespace: str = "a", instance: str = "one") -> dict[str, str]:
    labels = f'namespace="{namespace}", month="{month}", instance="{instance}"'
    return {"series": f"llmtrain_namespace_period_cost_usd{{{labels}}}", "values": values}


def counter(values: str) -> dict[str, str]:
    labels = 'namespace="a", stage="Training", role="worker", plan="h100", tenure="Rented"'
    return {"series": f"llmtrain_namespace_cost_usd_total{{{labels}}}", "values": values}


# A sample a minute. What was spent before the first of them is in it.
CASES: list[tuple[str, list[dict[str, str]], str, dict[str, float]]] = [
    ("Prometheus began after the spending",
     [series("2026-10", "0x60"), series("2026-11", "1500x60"), counter("1500x60")], "60m", {"2026-10": 0, "2026-11": 1500}),
    ("it began in the midst of it",
     [series("2026-10", "12x60"), series("2026-11", "100+1x60"), counter("112+1x60")], "60m", {"2026-10": 12, "2026-11": 160}),
    ("two namespaces", [series("2026-11", "5x60"), series("2026-11", "7x60", "b")], "60m", {"2026-11": 12}),
    ("two namespaces, of which one was chosen", [series("2026-11", "5x60"), series("2026-11", "7x60", "other")], "60m",
     {"2026-11": 5}),
    ("the operator is replaced, and both are scraped",
     [series("2026-11", "5x60"), series("2026-11", "_x30 5+1x30", instance="two")], "32m", {"2026-11": 7}),
    ("the operator was replaced an hour ago",
     [series("2026-11", "5x30"), series("2026-11", "_x40 9x50", instance="two")], "90m", {"2026-11": 9}),
    ("a gap while it starts", [series("2026-11", "5x50 _x3 6x7")], "60m", {"2026-11": 6}),
    ("the month turns", [series("2026-10", "3x30"), series("2026-11", "8x60"), series("2026-12", "_x31 0+1x29")], "60m",
     {"2026-11": 8, "2026-12": 29}),
    ("a month is corrected down", [series("2026-11", "9x30 8x30")], "60m", {"2026-11": 8}),
]  # fmt: skip


@pytest.mark.parametrize(("given", "at", "spent"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_a_month_cost(given: list[dict[str, str]], at: str, spent: dict[str, float], tmp_path: Path) -> None:
    wanted = [{"labels": f'{{month="{month}"}}', "value": usd} for month, usd in spent.items()]
    check(FLEET, MONTH, given, at, wanted, tmp_path, "a|b")


def test_what_a_month_of_a_namespace_cost_is_the_last_that_was_told(tmp_path: Path) -> None:
    given = [series("2026-10", "3x30"), series("2026-11", "8x60"), series("2026-11", "2+1x60", "b")]
    wanted = [
        {"labels": f'{{namespace="{space}", month="{month}"}}', "value": usd}
        for space, month, usd in (("a", "2026-10", 3), ("a", "2026-11", 8), ("b", "2026-11", 32))
    ]
    check(FLEET, SPACE_AND_MONTH, given, "30m", wanted, tmp_path, "a|b")


JOB_SERIES = [
    {"series": f'llmtrain_job_cost_usd_total{{namespace="a", name="gpt", stage="Training", role="{role}", plan="p", tenure="Rented"}}',
     "values": values}
    for role, values in (("head", "0.5x60"), ("worker", "8+0.125x60"))
] + [
    {"series": f'llmtrain_job_waste_usd_total{{namespace="a", name="gpt", kind="{kind}"}}', "values": values}
    for kind, values in (("pulling", "1x60"), ("redone", "3x60"))
] + [
    {"series": 'llmtrain_job_cost_now_usd{namespace="a", name="gpt"}', "values": "16.5x60"},
    {"series": 'llmtrain_job_goodput_of_billed_time_ratio{namespace="a", name="gpt"}', "values": "0.5x60"},
    {"series": 'llmtrain_train_step_efficiency_ratio{namespace="a", name="gpt", attempt="1"}', "values": "0.9x20"},
    {"series": 'llmtrain_train_step_efficiency_ratio{namespace="a", name="gpt", attempt="2"}', "values": "_x30 0.8x30"},
]  # fmt: skip


@pytest.mark.parametrize(
    ("title", "value"),
    [("Cost", 16), ("Cost now", 16.5), ("Goodput of dollars", 0.75), ("Goodput of billed time, training", 0.5),
     ("Step efficiency", 0.8)],
)  # fmt: skip
def test_a_jobs_two_costs_and_three_shares(title: str, value: float, tmp_path: Path) -> None:
    """One series each, of the newest attempt where each attempt has its own."""
    expr = expression(ONE_JOB, title)
    found = evaluated(f"sum({expr}) / count({expr})", JOB_SERIES, "60m", [{"labels": "{}", "value": value}], tmp_path)
    assert found == ""
    assert evaluated(f"count({expr})", JOB_SERIES, "60m", [{"labels": "{}", "value": 1}], tmp_path) == ""


def check(
    page: Dashboard,
    title: str,
    given: list[dict[str, str]],
    at: str,
    wanted: list[dict[str, Any]],
    where: Path,
    space: str,
) -> None:
    found = evaluated(expression(page, title, space), given, at, wanted, where)
    assert found == ""


def expression(page: Dashboard, title: str, space: str = "a") -> str:
    panel = next(panel for panel in page.to_dict()["panels"] if panel["title"] == title)
    (target,) = panel["targets"]
    return chosen(target["expr"], space, "gpt")


def evaluated(expr: str, given: list[dict[str, str]], at: str, wanted: list[dict[str, Any]], where: Path) -> str:
    """What promtool has against it."""
    tested = {
        "interval": "1m",
        "input_series": given,
        "promql_expr_test": [{"expr": expr, "eval_time": at, "exp_samples": wanted}],
    }
    file = where / "case.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [tested]}))
    done = run("promtool", "test", "rules", str(file))
    return "" if done.returncode == 0 else done.stdout + done.stderr + json.dumps(tested, indent=1)
