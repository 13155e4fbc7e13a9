"""Dashboards and alerts over what a real Prometheus scraped of the real runs before: series, finite values, labels, totals."""

import time

import pytest

from tests.e2e.kube import NAMESPACE, status, wait
from tests.observing import Asked, Prometheus, alerts, chosen, metrics_in, panels, problems

JOB = "on-s3"
HOUR = 3600.0
# Empty where all is well: it shows accelerators that are paid for and train nothing.
EMPTY_WHERE_ALL_IS_WELL = {"llmtrain-fleet: Accelerators billed while no token is trained on A"}


@pytest.fixture(scope="module")
def history(prometheus: str) -> Prometheus:
    """Of the tests before, whose job ran on S3."""
    seen = Prometheus(prometheus)
    assert seen.over(f'llmtrain_train_loss{{name="{JOB}"}}', time.time() - HOUR, time.time(), 5), (
        f"{JOB} was not scraped"
    )
    return seen


@pytest.mark.parametrize(
    "asked", [a for a in panels() if a.where not in EMPTY_WHERE_ALL_IS_WELL], ids=lambda a: a.where
)
def test_a_panel_has_finite_series_with_the_labels_it_shows(asked: Asked, history: Prometheus) -> None:
    expr = chosen(asked.expr, NAMESPACE, JOB)
    assert problems(asked, history.over(expr, time.time() - HOUR, time.time(), 5)) == []


@pytest.mark.parametrize("asked", list(alerts()), ids=lambda a: a.where)
def test_an_alerts_metrics_exist_and_it_can_be_evaluated(asked: Asked, history: Prometheus) -> None:
    history.instant(asked.expr)
    for name in metrics_in(asked.expr):
        assert history.over(f"{{__name__={name!r}}}".replace("'", '"'), time.time() - HOUR, time.time(), 15), name


def test_no_rule_failed(history: Prometheus) -> None:
    for group in history.get("rules")["groups"]:
        for rule in group["rules"]:
            assert rule["health"] == "ok", f"{rule['name']}: {rule.get('lastError')}"


def test_the_panels_totals_are_the_ledgers(history: Prometheus) -> None:
    """The table of the Job dashboard, its sum, and the status, to the microdollar."""
    now = time.time()
    by_role = history.over(f'sum by (stage, role) (llmtrain_job_cost_usd_total{{name="{JOB}"}})', now - HOUR, now, 2)
    total = history.over(f'namespace_name:llmtrain_job_cost_usd:sum{{name="{JOB}"}}', now - HOUR, now, 2)
    ledger = status(JOB)["ledger"]
    assert round(sum(float(one["values"][-1][1]) for one in by_role) * 1e6) == ledger["totalMicroUsd"]
    assert round(float(total[0]["values"][-1][1]) * 1e6) == ledger["totalMicroUsd"]
    hours = history.over(f'namespace_name:llmtrain_job_pod_hours:sum{{name="{JOB}"}}', now - HOUR, now, 2)
    seconds = sum(entry["podSeconds"] for entry in ledger["entries"])
    assert float(hours[0]["values"][-1][1]) == pytest.approx(seconds / 3600, abs=1e-9)


def test_what_the_namespaces_budget_shows_as_spent_is_the_ledger(history: Prometheus) -> None:
    """Budgets are read every 15 s."""
    query = f'llmtrain_budget_spent_usd{{namespace="{NAMESPACE}", budget="s3"}}'

    def shown() -> int:
        return round(float(history.instant(query)[0]["value"][1]) * 1e6)

    wait("the last reservation to be counted", lambda: shown() == status(JOB)["ledger"]["totalMicroUsd"], 60)
