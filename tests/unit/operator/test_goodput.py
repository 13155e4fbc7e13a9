"""One job's shares of work, wherever they are told: the same name is the same number."""

import html
import json
import re

import pytest
from llmtrain_jobs.training.accounts import Accounts
from llmtrain_jobs.training.telemetry import metrics_of

from llmtrain.api.stageconfig import Result
from llmtrain.api.status import Counted, Ledger, LedgerEntry, Split, Stage, StageStatus
from llmtrain.cli.tables import report
from llmtrain.ledger.goodput import goodput_of_billed_time, goodput_of_dollars, score_name, shown, step_efficiency
from llmtrain.observe.rules import MONEY_RULES
from llmtrain.report.facts import facts_of
from llmtrain.report.page import render
from tests.unit.operator.test_evaluators import evaluation
from tests.unit.operator.test_metrics import JOB, Watched

ACCOUNTS = Accounts(highest=9, working=120.0, redone=20.0, checkpointing=10.0)
STATE = {"accounts": ACCOUNTS.to_dict(), "counts": {"roll_backs": 0, "restarts": 1}, "saved": 9, "world": 2,
         "validation_loss": None,
         "last": dict.fromkeys(("loss", "gradient_norm", "learning_rate", "mfu", "tokens_per_second", "memory", "tokens",
                                "step"), 1.0)}  # fmt: skip


async def stopped_and_gone_on(watched: Watched) -> None:
    """A training with evaluators that was stopped and went on to its end, and an evaluation that is under way."""
    for _ in range(2):
        await watched.run.run_stage()
    await watched.run.until_pods()
    await watched.run.turn(3)
    for name in watched.run.pods:
        watched.run.cluster.run_pod(name)
    watched.run.cluster.tick(70)
    await watched.run.turn(2)
    head = next(name for name in watched.run.pods if name.endswith("head"))
    result = Result(outcome="Interrupted", checkpoint="c", working_seconds=40, redone_seconds=5, checkpoint_seconds=3)
    watched.run.job["spec"]["suspend"] = True
    await watched.run.turn()
    watched.run.cluster.end_pod(head, 75, json.dumps(result.to_dict()))
    await watched.run.drain()
    watched.run.job["spec"]["suspend"] = False
    await watched.run.run_stage(130)
    await watched.run.until_pods()
    await watched.run.turn(3)
    for name in watched.run.pods:
        watched.run.cluster.run_pod(name)
    watched.run.cluster.tick(200)
    await watched.run.turn(2)


def tile(page: str, name: str) -> str:
    found = re.search(rf'<div class="tile"><b>([^<]*)</b><span>{name}</span>', page)
    assert found is not None
    return html.unescape(found[1])


async def test_status_command_page_and_metrics_tell_the_same() -> None:
    watched = Watched(evaluation=evaluation())
    await stopped_and_gone_on(watched)
    job, status = watched.run.job, watched.run.status
    text, page = report(status), render(facts_of(job, None), "now")

    time = status.ledger.goodput
    assert 0 < float(time) < 1
    assert time == shown(goodput_of_billed_time(status.ledger.entries, Stage.TRAINING))
    rows = [[cell.strip() for cell in line.split("│")] for line in text.splitlines()]
    assert next(row[-2] for row in rows if row[1:2] == ["Training"]) == time
    assert tile(page, "goodput of billed time, training") == time
    assert watched.total("llmtrain_job_goodput_of_billed_time_ratio", **JOB) == float(time)

    waste, cost = (watched.total(f"llmtrain_job_{name}_usd_total", **JOB) for name in ("waste", "cost"))
    dollars = shown(1 - waste / cost)
    assert 0 < float(dollars) < 1
    assert dollars != time
    assert f"goodput of dollars {dollars}" in text
    assert tile(page, "goodput of dollars") == dollars
    assert dollars == shown(goodput_of_dollars(status.ledger))


def test_the_rule_of_the_dashboard_is_the_definition() -> None:
    rules = {rule.record: rule.expr for rule in MONEY_RULES}
    ratio = "namespace_name:llmtrain_job_waste_per_cost:ratio"
    assert rules["namespace_name:llmtrain_job_goodput_of_dollars:ratio"] == f"1 - {ratio}"
    assert list(rules).index(ratio) < list(rules).index("namespace_name:llmtrain_job_goodput_of_dollars:ratio")


def test_step_efficiency_is_the_pods_metric_and_score() -> None:
    assert step_efficiency(120, 20, 10) == ACCOUNTS.step_efficiency == 0.8
    told = metrics_of(STATE, 100)
    assert told["llmtrain_train_step_efficiency_ratio"] == told["llmtrain_train_goodput_ratio"] == 0.8


@pytest.mark.parametrize(
    ("entries", "share"),
    [
        ([], None),
        ([("Training", "worker", 100, 80), ("Training", "head", 100, 60)], 0.7),
        ([("Training", "worker", 100, 80), ("Training", "evaluator", 900, 900)], 0.8),
        ([("Training", "worker", 100, 80), ("Curation", "worker", 900, 0)], 0.8),
        ([("Training", "evaluator", 900, 900)], None),
        ([("Training", "worker", 100, 0)], 0.0),
    ],
)
def test_goodput_of_billed_time_is_of_one_stages_heads_and_workers(
    entries: list[tuple[str, str, int, int]], share: float | None
) -> None:
    found = [LedgerEntry(stage=Stage(stage), role=role, billed_seconds=billed, split=Split(working=working))
             for stage, role, billed, working in entries]  # fmt: skip
    assert goodput_of_billed_time(found, Stage.TRAINING) == share


def test_goodput_of_dollars_takes_off_what_is_told_of_pods_alive() -> None:
    settled = LedgerEntry(stage=Stage.TRAINING, role="worker", cost_split=Split(working=80, stopping=20))
    told = Counted(stage=Stage.TRAINING, role="worker", waste=Split(working=80, stopping=20, redone=30))
    assert goodput_of_dollars(Ledger()) is None
    assert goodput_of_dollars(Ledger(entries=[settled], total_micro_usd=100)) == 0.8
    assert goodput_of_dollars(Ledger(entries=[settled], counted=[told], total_micro_usd=200)) == 0.75


def test_a_score_of_before_has_its_name_of_now() -> None:
    stage = StageStatus(name=Stage.TRAINING, scores={"goodput": "0.9012"})
    assert score_name(stage.name, "goodput") == "step_efficiency"
    assert score_name(Stage.EVALUATION, "goodput") == "goodput"
