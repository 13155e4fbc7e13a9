"""`llmtrain ladder` over a cluster in memory: what it makes, when, and what it says; left and taken up at every step."""

import json
import math
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from llmtrain.api import API_VERSION
from llmtrain.api.job import JobSpec
from llmtrain.cli import ladder
from llmtrain.cli.kubectl import KubectlError
from llmtrain.cli.main import app
from llmtrain.ladder.foretold import foretold
from llmtrain.pricing.work import job_model
from tests.unit.cost.jobs import PLANS, job, plan_specs

LABEL = "llmtrain.dev/ladder"


class World:
    """Jobs by name, and what a kubectl would do with them."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.budget: dict[str, Any] | None = None
        self.before_create: Callable[[], None] = lambda: None

    def create(self, *arguments: str, text: str | None = None) -> str:
        assert arguments[:3] == ("create", "-f", "-")
        self.before_create()
        bodies = json.loads(text or "")["items"]
        taken = [body["metadata"]["name"] for body in bodies if body["metadata"]["name"] in self.jobs]
        self.jobs |= {body["metadata"]["name"]: body for body in bodies if body["metadata"]["name"] not in taken}
        if taken:
            raise KubectlError(f"llmjobs {taken[0]} AlreadyExists")
        return ""

    def get(self, *arguments: str) -> dict[str, Any]:
        if arguments[1] == "trainingbudget":
            if self.budget is None:
                raise KubectlError(f'Error from server (NotFound): trainingbudgets "{arguments[2]}" not found')
            return self.budget
        key, _, value = arguments[3].partition("=")
        return {"items": [job for job in self.jobs.values() if job["metadata"]["labels"].get(key) == value]}

    def curate(self, name: str, **more: Any) -> None:
        scores = {"validation_bytes": "4000000", "validation_tokens": "1000000"}
        stages = [{"name": "Curation", "state": "Succeeded", "artifact": "c1", "scores": scores}]
        self.jobs[name]["status"] = {"state": "Running", "stages": stages, **more}

    def train(self, name: str, speed: int = 100_000) -> None:
        """By a law that only this test knows: 1.5 + 300 / N^0.33 + 600 / D^0.33."""
        spec = JobSpec.model_validate(self.jobs[name]["spec"])
        size, tokens = job_model(spec).parameters, spec.training.tokens
        loss = 1.5 + 300 / math.pow(size, 0.33) + 600 / math.pow(tokens, 0.33)
        scores = {"loss": "9.9", "validation_loss": f"{loss:.4f}", "tokens_per_second": str(speed)}
        self.curate(name)
        status = self.jobs[name]["status"]
        status["stages"].append({"name": "Training", "state": "Succeeded", "scores": scores})
        status |= {"state": "Succeeded", "ledger": {"totalMicroUsd": 400_000}}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(ladder, "kubectl", made.create)
    monkeypatch.setattr(ladder, "kubectl_json", made.get)
    return made


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    body = {"apiVersion": API_VERSION, "kind": "LLMTrainingJob", "metadata": {"name": "llama", "namespace": "team-a"}}
    plans = [
        {"apiVersion": API_VERSION, "kind": "ComputePlan", "metadata": {"name": n}, "spec": p} for n, p in PLANS.items()
    ]
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(body | {"spec": job(tokens=20_000_000_000)}))
    (tmp_path / "plans.yaml").write_text(yaml.safe_dump_all(plans))
    return str(tmp_path / "job.yaml"), str(tmp_path / "plans.yaml")


def call(files: tuple[str, str], *more: str) -> Result:
    return CliRunner().invoke(app, ["ladder", *more, "-f", files[0], "--plans", files[1]])


def limits(world: World) -> Decimal:
    return sum((Decimal(job["spec"]["budget"]["limitUsd"]) for job in world.jobs.values()), Decimal(0))


def test_a_dry_run_prints_jobs_with_their_own_budgets_and_makes_none(world: World, files: tuple[str, str]) -> None:
    done = call(files, "--budget", "50", "--dry-run")
    assert done.exit_code == 0, done.output
    bodies = list(yaml.safe_load_all(done.stdout))
    assert len(bodies) == 10
    assert sum(Decimal(body["spec"]["budget"]["limitUsd"]) for body in bodies) <= 50
    assert {body["metadata"]["labels"][LABEL] for body in bodies} == {"llama"}
    assert {body["metadata"]["namespace"] for body in bodies} == {"team-a"}
    assert world.jobs == {}


def test_the_first_curates_the_rest_follow_and_all_of_it_is_taken_up_again(
    world: World, files: tuple[str, str]
) -> None:
    asked = ("--budget", "50", "--jobs", "4")
    for _ in range(2):  # nothing more is made while the data is not there
        assert call(files, *asked).exit_code == 0
        assert list(world.jobs) == ["llama-rung-0"]
    world.curate("llama-rung-0")
    for _ in range(2):
        assert call(files, *asked).exit_code == 0
        assert sorted(world.jobs) == [f"llama-rung-{index}" for index in range(4)]
    assert limits(world) <= 50
    for name in ("llama-rung-0", "llama-rung-1"):
        world.train(name)
    del world.jobs["llama-rung-3"]
    said = call(files, *asked)
    assert "llama-rung-3" in world.jobs
    assert "2 jobs have ended with a loss" in said.stdout
    assert limits(world) <= 50


def test_when_they_have_ended_the_target_is_told_in_loss_and_dollars(world: World, files: tuple[str, str]) -> None:
    asked = ("--budget", "50", "--curated")
    assert call(files, *asked).exit_code == 0
    assert len(world.jobs) == 10
    for name in world.jobs:
        world.train(name)
    found = json.loads(call(files, "status", "-o", "json").stdout)
    truth = 1.5 + 300 / math.pow(6_738_415_616, 0.33) + 600 / math.pow(2e10, 0.33)
    loss = found["target"]["lossNatsPerToken"]
    assert loss["p10"] < truth < loss["p90"]
    assert loss["p50"] == pytest.approx(truth, rel=0.02)
    assert found["target"]["bitsPerByte"]["p50"] == pytest.approx(loss["p50"] / math.log(2) / 4.0, rel=1e-4)
    assert 0 < found["target"]["usd"]["p10"] < found["target"]["usd"]["p50"] < found["target"]["usd"]["p90"]
    assert found["costUsd"] == "4.0"
    table = call(files, *asked)
    assert "llama will cost" in table.stdout
    assert table.exit_code == 0


def test_a_fast_ladder_makes_the_target_cheaper(world: World, files: tuple[str, str]) -> None:
    call(files, "--budget", "50", "--curated")
    usd = []
    for speed in (50_000, 500_000):
        for name in world.jobs:
            world.train(name, speed)
        usd.append(json.loads(call(files, "status", "-o", "json").stdout)["target"]["usd"]["p50"])
    assert usd[1] < usd[0]


def test_the_law_it_prints_is_one_that_estimate_reads(world: World, files: tuple[str, str], tmp_path: Path) -> None:
    call(files, "--budget", "50", "--curated")
    for name in world.jobs:
        world.train(name)
    (tmp_path / "law.json").write_text(call(files, "status", "-o", "law").stdout)
    arguments = [
        "estimate",
        "-f",
        files[0],
        "--plans",
        files[1],
        "--scaling-law",
        str(tmp_path / "law.json"),
        "-o",
        "json",
    ]
    outcome = json.loads(CliRunner().invoke(app, arguments).stdout)["outcome"]
    told = json.loads(call(files, "status", "-o", "json").stdout)["target"]
    assert outcome["lossNatsPerToken"] == told["lossNatsPerToken"]
    assert outcome["bytesPerToken"] == 4.0


def test_the_report_of_the_large_job_finds_its_ladder(world: World, files: tuple[str, str]) -> None:
    call(files, "--budget", "50", "--curated")
    large = yaml.safe_load(Path(files[0]).read_text())
    assert foretold(large, list(world.jobs.values()), plan_specs()) is None
    for name in world.jobs:
        world.train(name)
    found = foretold(large, list(world.jobs.values()), plan_specs())
    told = json.loads(call(files, "status", "-o", "json").stdout)["target"]
    assert found is not None
    assert found.usd is not None
    assert found.runs == 10
    assert (found.loss.p50, found.usd.p50) == pytest.approx(
        (told["lossNatsPerToken"]["p50"], told["usd"]["p50"]), rel=1e-5
    )
    without = foretold(large, list(world.jobs.values()), {})
    assert without is not None
    assert (without.loss, without.usd) == (found.loss, None)


def test_jobs_that_failed_or_say_nonsense_are_left_out(world: World, files: tuple[str, str]) -> None:
    call(files, "--budget", "50", "--curated")
    for name in world.jobs:
        world.train(name)
    world.jobs["llama-rung-0"]["status"]["state"] = "Failed"
    world.jobs["llama-rung-1"]["status"]["stages"][1]["scores"] = {"validation_loss": "nan", "loss": "x"}
    found = json.loads(call(files, "status", "-o", "json").stdout)
    assert sum(rung["lossNatsPerToken"] is not None for rung in found["rungs"]) == 8
    assert found["target"]["law"]["source"] == "fitted to 8 runs"


def test_a_loss_of_a_batch_is_not_mixed_with_those_on_held_out_text(world: World, files: tuple[str, str]) -> None:
    call(files, "--budget", "50", "--curated")
    for name in world.jobs:
        world.train(name)
    stages = [job["status"]["stages"] for job in world.jobs.values()]
    del stages[0][1]["scores"]["validation_loss"]
    found = json.loads(call(files, "status", "-o", "json").stdout)
    assert found["target"]["law"]["source"] == "fitted to 9 runs"
    large = yaml.safe_load(Path(files[0]).read_text())
    told = foretold(large, list(world.jobs.values()), plan_specs())
    assert told is not None
    assert (told.runs, told.held_out) == (9, True)
    for each in stages[1:]:
        del each[1]["scores"]["validation_loss"]
        each[1]["scores"]["loss"] = "3.0"
    told = foretold(large, list(world.jobs.values()), plan_specs())
    assert told is not None
    assert (told.runs, told.held_out) == (10, False)


def test_it_ends_with_1_where_too_few_have_ended_well(world: World, files: tuple[str, str]) -> None:
    asked = ("--budget", "50", "--jobs", "3", "--curated")
    call(files, *asked)
    for name in world.jobs:
        world.train(name)
        world.jobs[name]["status"]["state"] = "Failed"
    assert call(files, *asked, "--watch").exit_code == 1


def test_a_first_job_that_failed_stops_the_ladder_until_it_is_made_anew(world: World, files: tuple[str, str]) -> None:
    asked = ("--budget", "50", "--jobs", "3")
    call(files, *asked)
    world.jobs["llama-rung-0"]["status"] = {"state": "Failed"}
    assert call(files, *asked, "--watch").exit_code == 1
    assert list(world.jobs) == ["llama-rung-0"]
    world.jobs.clear()
    assert call(files, *asked).exit_code == 0
    assert list(world.jobs) == ["llama-rung-0"]


def test_a_ladder_of_other_settings_is_not_mixed_in(world: World, files: tuple[str, str]) -> None:
    call(files, "--budget", "50", "--jobs", "3")
    done = call(files, "--budget", "60", "--jobs", "3")
    assert done.exit_code == 64
    assert "--budget 50 --jobs 3" in done.stderr
    assert len(world.jobs) == 1


def test_two_who_call_it_at_once_make_one_ladder(world: World, files: tuple[str, str]) -> None:
    asked = ("--budget", "50", "--jobs", "3", "--curated")

    def other() -> None:
        world.before_create = lambda: None
        assert call(files, *asked).exit_code == 0

    world.before_create = other
    assert call(files, *asked).exit_code == 0
    assert len(world.jobs) == 3
    assert limits(world) <= 50


def test_a_job_of_somebody_else_by_that_name_is_left_alone(world: World, files: tuple[str, str]) -> None:
    world.jobs["llama-rung-1"] = {"metadata": {"name": "llama-rung-1", "labels": {}}, "spec": {}}
    done = call(files, "--budget", "50", "--jobs", "3", "--curated")
    assert done.exit_code == 69
    assert "AlreadyExists" in done.stderr
    assert world.jobs["llama-rung-1"]["spec"] == {}


def test_under_a_training_budget_the_jobs_carry_its_labels_and_stay_within_what_is_left(
    world: World, files: tuple[str, str]
) -> None:
    spec = {"limitUsd": "100", "jobSelector": {"matchLabels": {"cost-centre": "research"}}}
    reserved = {"uid": "u", "job": "other", "spentMicroUsd": 30_000_000, "reservedMicroUsd": 30_000_000}
    world.budget = {"spec": spec, "status": {"reservations": [reserved]}}
    done = call(files, "--training-budget", "team", "--curated")
    assert done.exit_code == 0, done.output
    assert limits(world) <= 40
    assert {job["metadata"]["labels"]["cost-centre"] for job in world.jobs.values()} == {"research"}
    refused = call(files, "--training-budget", "team", "--budget", "41")
    assert refused.exit_code == 64
    assert "another ladder" in refused.stderr
    world.budget["status"]["reservations"].append({"uid": "l", "job": "llama-rung-0", "spentMicroUsd": 39_000_000})
    assert call(files, "--training-budget", "team", "--curated").exit_code == 0  # taken up again by what is left of it
    assert len(world.jobs) == 10


def test_more_than_a_training_budget_has_left_is_refused(world: World, files: tuple[str, str]) -> None:
    world.budget = {"spec": {"limitUsd": "40"}}
    done = call(files, "--training-budget", "team", "--budget", "41", "--curated")
    assert done.exit_code == 64
    assert "41 is more than the 40 US dollars" in done.stderr
    assert world.jobs == {}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"limitUsd": "0"}, "nothing left"),
        (
            {"limitUsd": "9", "jobSelector": {"matchExpressions": [{"key": "team", "operator": "Exists"}]}},
            "matchExpressions",
        ),
    ],
)
def test_a_training_budget_that_cannot_hold_a_ladder_is_named(
    world: World, files: tuple[str, str], spec: dict[str, Any], said: str
) -> None:
    world.budget = {"spec": spec}
    done = call(files, "--training-budget", "team")
    assert done.exit_code == 64
    assert "`--training-budget`" in done.stderr
    assert said in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "field"),
    [
        ((), 64, "--budget"),
        (("--budget=-1",), 64, "--budget"),
        (("--budget", "much"), 64, "--budget"),
        (("--budget", "0.5"), 64, "--budget"),
        (("--budget", "50", "--input-bytes=-1"), 64, "--input-bytes"),
        (("--budget", "50", "--jobs", "2"), 64, "--jobs"),
        (("--budget", "50", "--jobs", "0"), 64, "--jobs"),
        (("--budget", "0.00000000000000000000000000000000000000000000000000000000000000000001"), 64, "--budget"),
        (("--budget", "50.0000001"), 64, "at most 6 decimals"),
        (("--budget", "1e400"), 64, "--budget"),
        (("--training-budget", "none"), 64, "`--training-budget`: there is no TrainingBudget `none`"),
    ],
)
def test_bad_input_is_refused_by_its_field(
    world: World, files: tuple[str, str], arguments: tuple[str, ...], code: int, field: str
) -> None:
    done = call(files, *arguments)
    assert done.exit_code == code
    assert field in done.stderr
    assert world.jobs == {}


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"tokens": 0}, "spec.training.tokens"),
        ({"globalBatchTokens": 0}, "spec.training.globalBatchTokens"),
        ({"optimizer": {"warmupTokens": -1}}, "spec.training.optimizer.warmupTokens"),
    ],
)
def test_a_manifest_that_trains_nothing_is_refused_by_its_field(
    world: World, files: tuple[str, str], changed: dict[str, Any], field: str
) -> None:
    body = yaml.safe_load(Path(files[0]).read_text())
    body["spec"]["training"] |= changed
    Path(files[0]).write_text(yaml.safe_dump(body))
    done = call(files, "--budget", "50")
    assert done.exit_code == 64
    assert field in done.stderr


@pytest.mark.parametrize("told", ["sNaN", "-5", "much"])
def test_a_budget_label_that_somebody_has_changed_is_not_believed(
    world: World, files: tuple[str, str], told: str
) -> None:
    call(files, "--budget", "50", "--curated")
    for rung in world.jobs.values():
        rung["metadata"]["labels"]["llmtrain.dev/ladder-budget"] = told
    found = json.loads(call(files, "status", "-o", "json").stdout)
    assert Decimal(found["budgetUsd"]) == limits(world)


def test_a_manifest_without_a_training_is_refused(world: World, files: tuple[str, str]) -> None:
    body = yaml.safe_load(Path(files[0]).read_text())
    del body["spec"]["training"]
    Path(files[0]).write_text(yaml.safe_dump(body))
    done = call(files, "--budget", "50")
    assert done.exit_code == 64
    assert "spec.training" in done.stderr
