"""The commands about money as a person or a script calls them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from llmtrain.api import API_VERSION
from llmtrain.cli.main import app
from tests.unit.cost.jobs import PLANS, job

RUNNER = CliRunner()
BASE_INPUTS: dict[str, Any] = {
    "owned": {
        "accelerators": 64, "serverPerAcceleratorUsd": "32000", "sparesShare": "0.03", "networkShare": "0.19",
        "storageShare": "0.05", "installationShare": "0.03", "powerKwPerAccelerator": "1.275", "loadShare": "0.75",
        "idleShare": "0.30", "pue": "1.25", "kwhUsd": "0.0826", "colocationKwMonthUsd": "184",
        "maintenanceSharePerYear": "0.05", "insuranceSharePerYear": "0.005", "staffFte": "0.5", "fteYearUsd": "180000",
        "usefulLifeMonths": 48, "resaleDecayOomPerYear": "0.14", "resaleHaircut": "0.85", "discountRatePerYear": "0.10",
        "availability": "0.97",
    },
    "rent": {"acceleratorHourUsd": "2.35", "extraShare": "0.08"},
    "utilization": "0.70",
}  # fmt: skip
NPV_FIELDS = {
    "capexUsd", "fixedPerAvailableHourUsd", "marginalHourUsd", "levelisedHourUsd", "npvOwnUsd", "npvRentUsd",
    "breakEvenUtilization", "breakEvenUtilizationUncapped", "breakEvenHours", "breakEvenMonth",
}  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """A manifest and a file of plans."""
    manifest = {
        "apiVersion": API_VERSION,
        "kind": "LLMTrainingJob",
        "metadata": {"name": "llama"},
        "spec": job() | {"comparePlans": ["h100-owned"]},
    }
    plans = [
        {"apiVersion": API_VERSION, "kind": "ComputePlan", "metadata": {"name": name}, "spec": spec}
        for name, spec in PLANS.items()
    ]
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(manifest))
    (tmp_path / "plans.yaml").write_text(yaml.safe_dump_all(plans))
    return str(tmp_path / "job.yaml"), str(tmp_path / "plans.yaml")


def answer(*arguments: str, stdin: str | None = None) -> str:
    result = RUNNER.invoke(app, arguments, input=stdin)
    assert result.exit_code == 0, result.output
    return result.stdout


def refusal(*arguments: str, stdin: str | None = None) -> str:
    result = RUNNER.invoke(app, arguments, input=stdin)
    assert result.exit_code == 64, result.output
    return result.stderr


def npv_of(inputs: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer("npv", "-f", "-", "-o", "json", stdin=json.dumps(inputs)))
    return found


def test_npv_gives_the_reference_in_the_agreed_names() -> None:
    found = npv_of(BASE_INPUTS)
    assert set(found) == NPV_FIELDS
    assert found["capexUsd"] == pytest.approx(2.81e6, rel=0.003)
    assert found["fixedPerAvailableHourUsd"] == pytest.approx(2.16, abs=0.005)
    assert found["levelisedHourUsd"] == pytest.approx(3.14, abs=0.005)
    assert found["breakEvenUtilization"] == pytest.approx(0.87, abs=0.005)
    hours = 64 * 730 * 0.97 * sum(1.1 ** (-month / 12) for month in range(1, 49))
    assert found["npvRentUsd"] == pytest.approx(2.35 * 1.08 * 0.70 * hours)
    assert found["npvOwnUsd"] == pytest.approx(found["levelisedHourUsd"] * 0.70 * hours)
    assert found["breakEvenHours"] == pytest.approx(found["breakEvenUtilizationUncapped"] * hours)


def test_npv_says_null_where_owning_never_pays() -> None:
    found = npv_of(BASE_INPUTS | {"rent": {"acceleratorHourUsd": "1.70"}})
    assert found["breakEvenUtilization"] is None
    assert found["breakEvenUtilizationUncapped"] == pytest.approx(1.2146, abs=0.0005)
    never = npv_of(BASE_INPUTS | {"rent": {"acceleratorHourUsd": "0.01"}})
    assert [never[name] for name in ("breakEvenUtilizationUncapped", "breakEvenHours", "breakEvenMonth")] == [None] * 3


def test_npv_takes_numbers_for_decimals() -> None:
    rent = {"acceleratorHourUsd": 2.35, "extraShare": 0.08}
    assert npv_of(BASE_INPUTS | {"rent": rent, "utilization": 0.7}) == npv_of(BASE_INPUTS)


@pytest.mark.parametrize(
    ("owned", "rest", "field"),
    [
        ({"usefulLifeMonths": -48}, {}, "owned.usefulLifeMonths"),
        ({"serverPerAcceleratorUsd": "-1"}, {}, "owned.serverPerAcceleratorUsd"),
        ({"serverPerAcceleratorUsd": None}, {}, "owned.serverPerAcceleratorUsd"),
        ({"colocationKwHourUsd": "1"}, {}, "owned.colocationKwHourUsd"),
        ({}, {"utilization": "0"}, "spec.owned.utilization"),
        ({}, {"rent": {}}, "rent.acceleratorHourUsd"),
        ({}, {"rent": None}, "rent"),
    ],
)
def test_npv_refuses_what_makes_no_sense_by_its_field(owned: dict[str, Any], rest: dict[str, Any], field: str) -> None:
    inputs = BASE_INPUTS | {"owned": BASE_INPUTS["owned"] | owned} | rest
    assert field in refusal("npv", "-f", "-", stdin=json.dumps(inputs))


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_estimate_has_hours_dollars_and_energy_of_every_stage(files: tuple[str, str], output: str) -> None:
    found = yaml.safe_load(answer("estimate", "-f", files[0], "--plans", files[1], "-o", output))
    for stage in found["stages"]:
        assert set(stage["hours"]) == set(stage["usd"]) == set(stage["kwh"]) == {"p10", "p50", "p90"}
    assert found["totals"]["usd"]["p90"] > found["totals"]["usd"]["p10"] > 0


def test_tables_name_every_stage_and_plan(files: tuple[str, str]) -> None:
    table = answer("estimate", "-f", files[0], "--plans", files[1])
    assert all(
        name in table for name in ("Preflight", "Curation", "Training", "Evaluation", "Total", "with development")
    )
    table = answer("compare", "-f", files[0], "--plans", files[1])
    assert all(name in table for name in ("h100-rented", "h100-owned", "owning pays from"))


def test_compare_weighs_the_jobs_plans_against_each_other(files: tuple[str, str]) -> None:
    found = json.loads(answer("compare", "-f", files[0], "--plans", files[1], "-o", "json"))
    assert [plan["plan"] for plan in found["plans"]] == ["h100-rented", "h100-owned"]
    assert found["rentOrOwn"][0]["breakEvenUtilization"] == pytest.approx(0.51, abs=0.005)


def test_the_page_stands_alone_and_is_small(files: tuple[str, str]) -> None:
    page = answer("compare", "-f", files[0], "--plans", files[1], "-o", "html")
    assert len(page.encode()) < 1_000_000
    assert not any(reference in page for reference in ("<script", "src=", "@import", "url(", "<link"))


def test_a_missing_plan_is_named(files: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "cpu.yaml").write_text(yaml.safe_dump({"apiVersion": API_VERSION, "kind": "ComputePlan", "metadata": {"name": "cpu"}, "spec": PLANS["cpu"]}))  # fmt: skip
    said = refusal("estimate", "-f", files[0], "--plans", str(tmp_path / "cpu.yaml"))
    assert "spec.training.cluster.planRef.name" in said
    assert "h100-rented" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "is no YAML"),
        ("kind: Pod", "must hold one LLMTrainingJob"),
        (
            f"{{apiVersion: {API_VERSION}, kind: LLMTrainingJob, metadata: {{name: x}}, spec: {{}}}}",
            "spec.storage: Required value",
        ),
        (
            f"{{apiVersion: {API_VERSION}, kind: LLMTrainingJob, metadata: {{}}, spec: {{}}}}",
            "metadata.name: Required value",
        ),
        ("{kind: LLMTrainingJob, metadata: {name: x}, spec: {}}", "apiVersion not set"),
        ("{apiVersion: llmtrain.dev/v9, kind: ComputePlan, metadata: {name: x}}", "no matches for kind"),
    ],
)
def test_a_manifest_that_is_none_is_refused_with_file_and_field(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    message = refusal("estimate", "-f", str(tmp_path / "x.yaml"))
    assert said in message
    assert "x.yaml" in message


def test_an_unquoted_price_is_refused_as_the_apiserver_would(files: tuple[str, str], tmp_path: Path) -> None:
    plan = {"tenure": "Rented", "accelerator": {"product": "H100-SXM-80GB"}, "rented": {"acceleratorHourUsd": 3.99}}
    (tmp_path / "p.yaml").write_text(
        yaml.safe_dump({"apiVersion": API_VERSION, "kind": "ComputePlan", "metadata": {"name": "p"}, "spec": plan})
    )
    assert "rented.acceleratorHourUsd" in refusal("estimate", "-f", files[0], "--plans", str(tmp_path / "p.yaml"))


def test_a_price_per_month_has_no_field_to_be_mistaken_in(files: tuple[str, str], tmp_path: Path) -> None:
    plan = {
        "tenure": "Rented",
        "accelerator": {"product": "H100-SXM-80GB"},
        "rented": {"acceleratorMonthUsd": "2912.7"},
    }
    (tmp_path / "p.yaml").write_text(
        yaml.safe_dump({"apiVersion": API_VERSION, "kind": "ComputePlan", "metadata": {"name": "p"}, "spec": plan})
    )
    said = refusal("estimate", "-f", files[0], "--plans", str(tmp_path / "p.yaml"))
    assert 'unknown field "spec.rented.acceleratorMonthUsd"' in said


def test_a_manifest_is_refused_as_the_apiserver_would_in_its_words(files: tuple[str, str], tmp_path: Path) -> None:
    """Rules across fields, the name, and numbers as kubectl reads them."""
    manifest = Path(files[0]).read_text()
    (tmp_path / "x.yaml").write_text(
        manifest.replace("name: llama", "name: llama-3.1").replace("tokens: 2000000000000", "tokens: 2e12")
    )
    assert "must be a DNS-1035 label" in refusal("estimate", "-f", str(tmp_path / "x.yaml"))
    (tmp_path / "x.yaml").write_text(f"{manifest}    optimizer:\n      peakLearningRate: 3e-3\n")
    assert "peakLearningRate in body must be of type string" in refusal("compare", "-f", str(tmp_path / "x.yaml"))
    (tmp_path / "x.yaml").write_text(manifest.replace("contextLength: 4096", "contextLength: 4095"))
    assert "`training.globalBatchTokens` must be a multiple of" in refusal("run-local", "-f", str(tmp_path / "x.yaml"))


def test_estimate_shows_the_spec_with_every_default(files: tuple[str, str], tmp_path: Path) -> None:
    text = answer("estimate", "-f", files[0], "-o", "spec")
    spec = yaml.safe_load(text)["spec"]
    assert spec["curation"]["sources"][0]["textField"] == "text"
    assert "peakLearningRate: '6e-4'" in text, "kubectl would read it as a number without quotes"
    manifest = yaml.safe_load(Path(files[0]).read_text())
    (tmp_path / "again.yaml").write_text(
        yaml.safe_dump({k: manifest[k] for k in ("apiVersion", "kind", "metadata")}) + text
    )
    assert answer("estimate", "-f", str(tmp_path / "again.yaml"), "-o", "spec") == text


def test_plans_import_prints_manifests_that_estimate_reads(files: tuple[str, str], tmp_path: Path) -> None:
    catalog = (
        "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Price,Region,GpuInfo,SpotPrice\n"
        "p5.48xlarge,H100,8.0,192.0,2048.0,55.04,us-east-1,{},\n"
    )
    plans = answer("plans", "import", "-", "--provider", "aws", "--date", "2026-11-01", stdin=catalog)
    (tmp_path / "aws.yaml").write_text(plans)
    manifest = yaml.safe_load(Path(files[0]).read_text())
    manifest["spec"]["comparePlans"] = ["aws-h100-us-east-1"]
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(manifest))
    found = json.loads(answer("compare", "-f", str(tmp_path / "job.yaml"), "--plans", files[1], "--plans", str(tmp_path / "aws.yaml"), "-o", "json"))  # fmt: skip
    assert found["plans"][1]["usdPerAcceleratorHour"] == 6.88
    assert found["plans"][1]["source"] == {"name": "SkyPilot catalog, aws p5.48xlarge us-east-1", "date": "2026-11-01"}


def test_prices_that_ship_carry_date_and_source() -> None:
    assert "epoch" in answer("plans", "prices", "H100").lower()


def test_accuracy_prints_the_table_and_takes_other_runs(tmp_path: Path) -> None:
    printed = answer("accuracy")
    assert "this estimate" in printed
    assert "77 runs of 36 families" in printed
    assert "83.1% of runs in p10-p90 (families drawn anew: " in printed
    assert "interval score 0.851 of one factor's; p90/p10 2.11; median factor 1.21" in printed
    header = "model,params_active,seq_len,tokens,accelerator,accel_hours"
    (tmp_path / "runs.csv").write_text(f"{header}\nOurs,7e9,2048,1e12,A100-SXM-80GB,100000\n")
    assert "Ours" in answer("accuracy", "--runs", str(tmp_path / "runs.csv"))
    (tmp_path / "bad.csv").write_text("model\nx\n")
    assert "holds no run" in refusal("accuracy", "--runs", str(tmp_path / "bad.csv"))


def test_nothing_heavy_is_imported_before_a_command_runs() -> None:
    """What makes `estimate` answer in well under a second: no torch, ray or pyarrow."""
    code = "import sys, llmtrain.cli.main; print([m for m in ('torch', 'ray', 'pyarrow', 'numpy', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def kubectl_that_knows(folder: Path, job_status: dict[str, Any]) -> None:
    """A stand-in for kubectl on the PATH: answers the two reads that `compare JOB` makes."""
    named = [
        {"apiVersion": API_VERSION, "kind": "ComputePlan", "metadata": {"name": name}, "spec": spec}
        for name, spec in PLANS.items()
    ]
    answers = {
        "llmjob": {"kind": "LLMTrainingJob", "metadata": {"name": "llama"}, "spec": job(), "status": job_status},
        "computeplans": {"kind": "ComputePlanList", "items": named},
    }
    (folder / "answers.json").write_text(json.dumps(answers))
    script = f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(json.load(open({str(folder / 'answers.json')!r}))[sys.argv[2]]))\n"
    (folder / "kubectl").write_text(script)
    (folder / "kubectl").chmod(0o755)


@pytest.mark.parametrize(
    "stage",
    [{}, {"progress": {"tokensPerSecond": "400000"}}, {"progress": {}, "scores": {"tokens_per_second": "400000"}}],
)
def test_a_job_in_the_cluster_is_compared_by_the_speed_that_it_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: dict[str, Any]
) -> None:
    kubectl_that_knows(tmp_path, {"stages": [{"name": "Training", **stage}]})
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = json.loads(answer("compare", "llama", "-n", "team-a", "-o", "json"))
    rented = next(plan for plan in found["plans"] if plan["plan"] == "h100-rented")
    spread = rented["hours"]["p90"] / rented["hours"]["p10"]
    if stage:
        assert rented["hours"]["p50"] == pytest.approx(2e12 / 400000 / 0.92 / 3600, rel=0.001)
        assert spread < 1.3
    else:
        assert spread > 2


def test_without_plans_and_cluster_the_missing_option_is_named(
    files: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    assert "--plans" in refusal("estimate", "-f", files[0])


def test_a_name_and_a_file_at_once_are_refused(files: tuple[str, str]) -> None:
    assert "either the name of a job or a manifest" in refusal("compare", "llama", "-f", files[0])
    assert "either the name of a job or a manifest" in refusal("compare")


GIVEN_LAW: dict[str, Any] = {
    "constants": {"irreducible": 1.69, "a": 406.4, "b": 410.7, "alpha": 0.34, "beta": 0.28, "sigma": 0.02},
    "bytesPerToken": 4.0,
}


@pytest.mark.parametrize("command", ["estimate", "compare"])
def test_the_loss_that_the_money_buys_is_expected_with_its_range(files: tuple[str, str], command: str) -> None:
    arguments = (command, "-f", files[0], "--plans", files[1])
    found = json.loads(answer(*arguments, "-o", "json"))["outcome"]
    loss = 1.8172 + 482.01 / 6_738_415_616**0.3478 + 2085.43 / 2e12**0.3658
    assert found["lossNatsPerToken"]["p50"] == pytest.approx(loss, rel=1e-5)
    assert found["lossNatsPerToken"]["p10"] < loss < found["lossNatsPerToken"]["p90"]
    assert found["bitsPerByte"]["p50"] == pytest.approx(loss / 0.693147 / 4.2, rel=1e-4)
    assert found["tokensPerParameter"] == pytest.approx(2e12 / 6_738_415_616, rel=1e-4)
    best = found["bestSplit"]
    assert best["parameters"] * best["tokens"] == pytest.approx(2e12 * 6_738_415_616, rel=1e-6)
    assert "over-trained" in found["warnings"][0]
    table = answer(*arguments)
    assert all(text in table for text in ("Expected loss", "best split of the same", "over-trained", "bits per byte"))


def test_the_same_money_buys_the_more_loss_where_work_is_cheaper(files: tuple[str, str]) -> None:
    found = json.loads(answer("compare", "-f", files[0], "--plans", files[1], "-o", "json"))
    rented, owned = (plan["sameMoneyBestSplit"] for plan in found["plans"])
    assert rented["lossNatsPerToken"] == found["outcome"]["bestSplit"]["lossNatsPerToken"]
    assert owned["lossNatsPerToken"]["p50"] < rented["lossNatsPerToken"]["p50"]
    page = answer("compare", "-f", files[0], "--plans", files[1], "-o", "html")
    assert "What loss the money buys" in page


def test_a_law_of_ones_own_is_taken_instead(files: tuple[str, str], tmp_path: Path) -> None:
    law = tmp_path / "law.yaml"
    law.write_text(yaml.safe_dump(GIVEN_LAW))
    found = json.loads(answer("estimate", "-f", files[0], "--plans", files[1], "--scaling-law", str(law), "-o", "json"))
    loss = 1.69 + 406.4 / 6_738_415_616**0.34 + 410.7 / 2e12**0.28
    assert found["outcome"]["lossNatsPerToken"]["p50"] == pytest.approx(loss, rel=1e-5)
    assert found["outcome"]["bitsPerByte"]["p50"] == pytest.approx(loss / 0.693147 / 4.0, rel=1e-4)


def test_runs_are_fitted_where_they_are_given(files: tuple[str, str], tmp_path: Path) -> None:
    sizes = [(n, d) for n in (1e8, 1e9, 1e10) for d in (1e10, 1e11, 1e12)]
    runs = [{"parameters": n, "tokens": d, "loss": 1.2 + 406.4 / n**0.34 + 410.7 / d**0.34} for n, d in sizes]
    law = tmp_path / "law.json"
    law.write_text(json.dumps({"schema": "llmtrain.dev/scaling-law/v1", "runs": runs}))
    found = json.loads(answer("estimate", "-f", files[0], "--plans", files[1], "--scaling-law", str(law), "-o", "json"))
    loss = 1.2 + 406.4 / 6_738_415_616**0.34 + 410.7 / 2e12**0.34
    assert found["outcome"]["lossNatsPerToken"]["p50"] == pytest.approx(loss, rel=0.01)
    assert found["outcome"]["law"]["source"] == "fitted to 9 runs"


@pytest.mark.parametrize(
    ("law", "field"),
    [
        (GIVEN_LAW | {"constants": GIVEN_LAW["constants"] | {"gamma": 1}}, "constants.gamma"),
        (GIVEN_LAW | {"constants": GIVEN_LAW["constants"] | {"alpha": -0.3}}, "constants.alpha"),
        (GIVEN_LAW | {"constants": {"a": 1}}, "constants.irreducible"),
        ({"bytesPerToken": 4}, "constants"),
        ({"runs": [{"parameters": 1e6, "tokens": 1e7, "loss": 3}]}, "runs"),
        ({"runs": [{"parameters": 1e6, "tokens": -1e7, "loss": 3}]}, "runs[0].tokens"),
        (GIVEN_LAW | {"constants": GIVEN_LAW["constants"] | {"alpha": 1e-300}}, "constants.alpha"),
        (GIVEN_LAW | {"constants": GIVEN_LAW["constants"] | {"irreducible": 1e300}}, "constants.irreducible"),
        (GIVEN_LAW | {"constants": GIVEN_LAW["constants"] | {"a": 1e300, "b": 1e-300}}, "`constants`: `a`, `b`"),
        ({"runs": [{"parameters": 1e6, "tokens": 1e7, "loss": loss} for loss in (3, 3.1, 2.9)]}, "must differ"),
        ({"runs": [{"parameters": n, "tokens": 1e7, "loss": 3} for n in (1e6, 1e300, 1e7)]}, "runs[1].parameters"),
        ({"runs": [{"parameters": n, "tokens": 1e7, "loss": 1e300} for n in (1e6, 2e6, 1e7)]}, "runs[0].loss"),
        (GIVEN_LAW | {"schema": "llmtrain.dev/estimate/v1"}, "schema"),
        ([], "must be one object"),
    ],
)
def test_a_law_that_is_none_is_refused_by_its_field(
    files: tuple[str, str], tmp_path: Path, law: Any, field: str
) -> None:
    (tmp_path / "law.yaml").write_text(yaml.safe_dump(law))
    said = refusal("estimate", "-f", files[0], "--plans", files[1], "--scaling-law", str(tmp_path / "law.yaml"))
    assert field in said


def test_bytes_per_token_must_be_above_zero(files: tuple[str, str]) -> None:
    assert "--bytes-per-token" in refusal("estimate", "-f", files[0], "--plans", files[1], "--bytes-per-token", "-1")


def test_no_loss_is_expected_of_a_training_that_goes_on_from_another(files: tuple[str, str]) -> None:
    manifest = yaml.safe_load(Path(files[0]).read_text())
    manifest["spec"]["training"]["continueFrom"] = {"artifact": "0123456789abcdef"}
    Path(files[0]).write_text(yaml.safe_dump(manifest))
    assert json.loads(answer("estimate", "-f", files[0], "--plans", files[1], "-o", "json"))["outcome"] is None
    assert "Expected loss" not in answer("compare", "-f", files[0], "--plans", files[1])
