"""Rules and alerts by promtool: valid, and every alert fires when it should and not when it should not."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmtrain.observe.rules import ALERTS
from tests.api.programs import CHART, run

pytestmark = pytest.mark.timeout(180)
RULES = CHART / "files" / "rules.yaml"
JOB = 'namespace="a", name="gpt"'
WHO = {"namespace": "a", "name": "gpt"}
HOUR = "x60"
ACTIVE = [(f'llmtrain_job_condition{{{JOB}, condition="Succeeded", status="{s}"}}', f"{v}{HOUR}")
          for s, v in (("True", 0), ("False", 0), ("Unknown", 1))]  # fmt: skip
ENDED = [(f'llmtrain_job_condition{{{JOB}, condition="Succeeded", status="True"}}', f"1{HOUR}")]
SUSPENDED = [(f'llmtrain_job_condition{{{JOB}, condition="Suspended", status="True"}}', f"1{HOUR}")]
NOT_PROGRESSING = [(f'llmtrain_job_condition{{{JOB}, condition="Progressing", status="False"}}', f"1{HOUR}")]
PENDING = f'llmtrain_job_condition{{{JOB}, condition="UpToDate", status="False"}}'
BLOCKED = f'llmtrain_job_condition{{{JOB}, condition="ReconcileBlocked", status="True"}}'


def ledger(metric: str, per_minute: float, stage: str = "Training", plan: str = "h100") -> tuple[str, str]:
    labels = f'{JOB}, stage="{stage}", role="worker", plan="{plan}", tenure="Rented"'
    return f"llmtrain_job_{metric}{{{labels}}}", f"0+{per_minute}{HOUR}"


@dataclass(frozen=True)
class Case:
    """`series` over an hour, one sample a minute; what fires at `at`, and what it says."""

    alert: str
    name: str
    series: list[tuple[str, str]]
    fires: dict[str, str] | None = None
    says: str = ""
    at: str = "59m"


GPUS = ledger("accelerator_seconds_total", 120)
COST = ledger("cost_usd_total", 0.133)
TOKENS = 'llmtrain_train_tokens_total{namespace="a", name="gpt", pod="gpt-trn-1-head"}'
PUTS = 'llmtrain_operator_api_requests_total{verb="PUT", code="%s"}'
BURN = f"llmtrain_job_usd_per_hour{{{JOB}}}"
BUDGET = (f"llmtrain_job_budget_usd{{{JOB}}}", f"10{HOUR}")
TEAM = {"namespace": "a", "budget": "team"}
TEAM_LIMIT = ('llmtrain_budget_limit_usd{namespace="a", budget="team", period="Month"}', f"100{HOUR}")
TEAM_SPENT = 'llmtrain_budget_spent_usd{namespace="a", budget="team"}'
WARNED, TOLD = (
    (
        'llmtrain_budget_condition{namespace="a", budget="team", condition="BelowWarning", status="False"}',
        f"{value}{HOUR}",
    )
    for value in (1, 0)
)
FORECAST = f'llmtrain_job_forecast_usd{{{JOB}, percentile="50"}}'
ERRORS, TURNS = "llmtrain_operator_reconcile_errors_total", "llmtrain_operator_reconcile_total"
LAST, INFO = "llmtrain_operator_last_success_timestamp_seconds", "llmtrain_job_info"

CASES = [
    Case("LLMTrainOperatorDown", "no scrape", [("up", "1x60")], {}, "Prometheus has no llmtrain_operator_build_info"),
    Case("LLMTrainOperatorDown", "up", [('llmtrain_operator_build_info{version="1"}', "1x60")]),
    Case("LLMTrainOperatorDown", "a restart of three minutes",
         [('llmtrain_operator_build_info{version="1"}', "1x54 _x3 1x3")]),
    Case("LLMTrainOperatorStuck", "the last turn is an hour old",
         [(LAST, "0x60"), (f'{INFO}{{{JOB}, state="Running"}}', "1x60")], {}, "was 59m 0s ago"),
    Case("LLMTrainOperatorStuck", "turns succeed", [(LAST, "0+60x60"), (f'{INFO}{{{JOB}, state="Running"}}', "1x60")]),
    Case("LLMTrainOperatorStuck", "nothing to do", [(LAST, "0x60"), (f'{INFO}{{{JOB}, state="Succeeded"}}', "1x60")]),
    Case("LLMTrainReconcileErrors", "a fifth fails", [(TURNS, "0+100x60"), (ERRORS, "0+20x60")], {}, "20% of the turns"),
    Case("LLMTrainReconcileErrors", "a hundredth fails", [(TURNS, "0+100x60"), (ERRORS, "0+1x60")]),
    Case("LLMTrainReconcileErrors", "idle", [(TURNS, "5x60"), (ERRORS, "0x60")]),
    Case("LLMTrainLedgerNotWritten", "forbidden", [(PUTS % "403", "0+6x60")], {}, "(0.10 a second)"),
    Case("LLMTrainLedgerNotWritten", "no answer", [(PUTS % "0", "0+6x60")], {}, "(0.10 a second)"),
    Case("LLMTrainLedgerNotWritten", "written, with conflicts", [(PUTS % "200", "0+6x60"), (PUTS % "409", "0+6x60")]),
    Case("LLMTrainJobNotBooked", "one was let go", [("llmtrain_operator_unbooked_jobs_total", "0x30 1x30")], {},
         "1 deleted jobs"),
    Case("LLMTrainJobNotBooked", "none", [("llmtrain_operator_unbooked_jobs_total", "3x60")]),
    Case("LLMTrainForecastBeyondBudget", "beyond", [(FORECAST, "12x60"), BUDGET, *ACTIVE], WHO | {"percentile": "50"},
         "a/gpt is forecast to cost $12.00,"),
    Case("LLMTrainForecastBeyondBudget", "within", [(FORECAST, "8x60"), BUDGET, *ACTIVE]),
    Case("LLMTrainForecastBeyondBudget", "beyond, but over", [(FORECAST, "12x60"), BUDGET, *ENDED]),
    Case("LLMTrainForecastBeyondBudget", "no budget", [(FORECAST, "12x60"), *ACTIVE]),
    # Flat: promtool evaluates groups of rules in any order, so a recorded value may be that of a minute before.
    Case("LLMTrainBudgetNearlySpent", "95 percent", [(ledger("cost_usd_total", 0)[0], "9.5x60"), BUDGET, (BURN, "8x60")],
         WHO, "has spent 95% of"),
    Case("LLMTrainBudgetNearlySpent", "half", [ledger("cost_usd_total", 0.08), BUDGET, (BURN, "8x60")]),
    Case("LLMTrainBudgetNearlySpent", "95 percent, and over", [ledger("cost_usd_total", 0.161), BUDGET, (BURN, "0x60")]),
    Case("LLMTrainTeamBudgetNearlySpent", "95 percent", [TEAM_LIMIT, (TEAM_SPENT, "95x60"), TOLD], TEAM,
         "a/team is 95% spent"),
    Case("LLMTrainTeamBudgetNearlySpent", "beyond a share of its own", [TEAM_LIMIT, (TEAM_SPENT, "60x60"), WARNED], TEAM,
         "a/team is 60% spent"),
    Case("LLMTrainTeamBudgetNearlySpent", "60 percent", [TEAM_LIMIT, (TEAM_SPENT, "60x60"), TOLD]),
    Case("LLMTrainTeamBudgetNearlySpent", "a new month has begun",
         [TEAM_LIMIT, (TEAM_SPENT, "95x57 0x3"), TOLD]),
    Case("LLMTrainAcceleratorsIdle", "tokens stand still", [GPUS, (TOKENS, "5x60")], WHO, "billed for 2.00 accelerators"),
    Case("LLMTrainAcceleratorsIdle", "tokens grow", [GPUS, (TOKENS, "0+1000x60")]),
    Case("LLMTrainAcceleratorsIdle", "nothing is billed", [ledger("accelerator_seconds_total", 0), (TOKENS, "5x60")]),
    Case("LLMTrainAcceleratorsIdle", "evaluation's accelerators",
         [ledger("accelerator_seconds_total", 120, "Evaluation"), (TOKENS, "5x60")]),
    Case("LLMTrainMoneyWasted", "80 percent",
         [ledger("cost_usd_total", 0.1), (f'llmtrain_job_waste_usd_total{{{JOB}, kind="waiting"}}', "0+0.08x60")], WHO,
         "80% of what a/gpt cost", at="60m"),
    Case("LLMTrainMoneyWasted", "20 percent",
         [ledger("cost_usd_total", 0.1), (f'llmtrain_job_waste_usd_total{{{JOB}, kind="waiting"}}', "0+0.02x60")]),
    Case("LLMTrainMoneyWasted", "over", [ledger("cost_usd_total", 0), (f'llmtrain_job_waste_usd_total{{{JOB}, kind="x"}}', "5x60")]),
    Case("LLMTrainStageStuck", "waits", [*NOT_PROGRESSING, *ACTIVE], WHO | {"condition": "Progressing", "status": "False"},
         "kubectl describe llmjob -n a gpt"),
    Case("LLMTrainStageStuck", "suspended", [*NOT_PROGRESSING, *SUSPENDED, *ACTIVE]),
    Case("LLMTrainStageStuck", "over", [*NOT_PROGRESSING, *ENDED]),
    Case("LLMTrainStageStuck", "for a quarter of an hour",
         [(NOT_PROGRESSING[0][0], "0x45 1x15"), *ACTIVE]),
    Case("LLMTrainReconcileBlocked", "a release is refused", [(BLOCKED, "1x60")],
         WHO | {"condition": "ReconcileBlocked", "status": "True"}, "kubectl describe llmjob -n a gpt"),
    Case("LLMTrainReconcileBlocked", "for five minutes", [(BLOCKED, "0x55 1x5")]),
    Case("LLMTrainChangePending", "since the night", [(PENDING, "1x400")], WHO | {"condition": "UpToDate", "status": "False"},
         "kubectl describe llmjob -n a gpt", at="6h10m"),
    Case("LLMTrainChangePending", "for an hour", [(PENDING, "0x300 1x60")], at="6h"),
    Case("LLMTrainNodeClockOff", "off", [(f'llmtrain_job_condition{{{JOB}, condition="ClockSkewed", status="True"}}', "1x60")],
         WHO | {"condition": "ClockSkewed", "status": "True"}, "kubectl describe llmjob -n a gpt"),
    Case("LLMTrainNodeClockOff", "right", [(f'llmtrain_job_condition{{{JOB}, condition="ClockSkewed", status="True"}}', "0x60")]),
    Case("LLMTrainClusterNotTornDown", "suspended and billed", [(BURN, "8x60"), *SUSPENDED], WHO, "burns $8.00 an hour"),
    Case("LLMTrainClusterNotTornDown", "over and billed", [(BURN, "8x60"), *ENDED], WHO, "burns $8.00 an hour"),
    Case("LLMTrainClusterNotTornDown", "running", [(BURN, "8x60"), *ACTIVE]),
    Case("LLMTrainClusterNotTornDown", "suspended and gone", [(BURN, "0x60"), *SUSPENDED]),
    Case("LLMTrainJobFailed", "failed", [(f'llmtrain_job_condition{{{JOB}, condition="Succeeded", status="False"}}', "1x60")],
         WHO | {"condition": "Succeeded", "status": "False"}, "a/gpt failed"),
    Case("LLMTrainJobFailed", "succeeded", [*ENDED, (f'llmtrain_job_condition{{{JOB}, condition="Succeeded", status="False"}}', "0x60")]),
    Case("LLMTrainPriceMissing", "accelerators for nothing", [GPUS, ledger("cost_usd_total", 0)], WHO | {"plan": "h100"},
         "plan h100, which has no price"),
    Case("LLMTrainPriceMissing", "a price", [GPUS, COST]),
    Case("LLMTrainPriceMissing", "CPUs for nothing", [ledger("accelerator_seconds_total", 0), ledger("cost_usd_total", 0)]),
]  # fmt: skip
BY_NAME = {alert.name: alert for alert in ALERTS}


def suite(case: Case) -> dict[str, Any]:
    """promtool's form. That nothing else fires is not asked: series for one alert may fire another."""
    severity = {"severity": BY_NAME[case.alert].severity}
    expected = (
        [] if case.fires is None else [{"labels": f"alert{_labels(case.fires | severity, case.alert)}", "value": 1}]
    )
    query = f'label_replace(ALERTS{{alertname="{case.alert}", alertstate="firing"}}, "__name__", "alert", "", "")'
    test = {"expr": query, "eval_time": case.at, "exp_samples": expected}
    series = [{"series": name, "values": values} for name, values in case.series]
    return {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": [test]}],
    }


def _labels(labels: dict[str, str], alert: str) -> str:
    named = {"alertname": alert, "alertstate": "firing"} | labels
    return "{" + ",".join(f'{key}="{value}"' for key, value in sorted(named.items())) + "}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.alert}: {case.name}")
def test_an_alert_fires_when_it_should_and_only_then(case: Case, tmp_path: Path) -> None:
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump(suite(case)))
    done = run("promtool", "test", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_of_either_kind() -> None:
    for name in BY_NAME:
        kinds = {case.fires is not None for case in CASES if case.alert == name}
        assert kinds == {True, False}, name


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.fires is not None], ids=lambda case: f"{case.alert}: {case.name}"
)
def test_an_alert_says_who_and_how_much(case: Case, tmp_path: Path) -> None:
    """promtool prints what it got where no alert was expected; the text holds the description as people read it."""
    body = suite(case)
    test = body["tests"][0]
    del test["promql_expr_test"]
    test["alert_rule_test"] = [{"eval_time": case.at, "alertname": case.alert, "exp_alerts": []}]
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump(body))
    got = " ".join(run("promtool", "test", "rules", str(file)).stderr.split())
    assert case.says in got
    assert f"RUNBOOK_URL/{case.alert}.md" in got
    assert "<no value>" not in got
    assert "error" not in got.lower().replace("reconcileerrors", "").replace("end in an error", "")


def test_promtool_finds_nothing_in_the_rules() -> None:
    done = run("promtool", "check", "rules", "--lint=all", str(RULES))
    assert done.returncode == 0, done.stdout + done.stderr


PODS = [ledger("pod_seconds_total", 120), ledger("cost_usd_total", 0.133)]


def test_pod_hours_and_dollars_per_pod_hour_are_the_counters_divided(tmp_path: Path) -> None:
    """Two pods for an hour at 3.99 USD: 2 pod-hours, 7.98 USD, 3.99 USD a pod-hour."""
    series = [{"series": name, "values": values} for name, values in PODS]
    labels = '{name="gpt",namespace="a",plan="h100",role="worker",stage="Training",tenure="Rented"}'
    expected = {
        f"namespace_name_stage_role:llmtrain_job_pod_hours:sum{labels}": 2,
        f"namespace_name_stage_role:llmtrain_job_usd_per_pod_hour:ratio{labels}": 3.99,
        'namespace_name:llmtrain_job_usd_per_pod_hour:ratio{name="gpt",namespace="a"}': 3.99,
        'namespace_name:llmtrain_job_cost_usd:sum{name="gpt",namespace="a"}': 7.98,
    }
    tests = [
        {"expr": f"round({sample}, 0.001)", "eval_time": "60m",
         "exp_samples": [{"labels": "{" + sample.split("{")[1], "value": value}]}
        for sample, value in expected.items()
    ]  # fmt: skip
    body = {"rule_files": [str(RULES)], "evaluation_interval": "1m",
            "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": tests}]}  # fmt: skip
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump(body))
    done = run("promtool", "test", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
