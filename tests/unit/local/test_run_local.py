"""Stages on one machine: the real driver for preflight, and the arithmetic of what it would have cost."""

import gzip
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from llmtrain.api import API_VERSION
from llmtrain.api.job import JobSpec
from llmtrain.api.stageconfig import FailureClass, Result
from llmtrain.api.status import Stage
from llmtrain.cli.main import app
from llmtrain.cost.errors import InputError
from llmtrain.cost.tables import chip
from llmtrain.local.bill import bill
from llmtrain.local.calibration import calibrate, read, write
from llmtrain.local.machine import Machine
from llmtrain.local.stages import Done, Folders, config_of, interruptible, local_spec, run_stage, stages_of
from llmtrain.pricing.plans import plan_of
from tests.unit.cost.jobs import PLANS, job, job_spec, plan_specs
from tests.unit.jobs.curation.world import prose

RUNNER = CliRunner()
LAPTOP = Machine(cores=8)
SERVER = Machine(cores=64, accelerators=8, chip=chip("H100-SXM-80GB"))
TRAINED = Done(Stage.TRAINING, Result(outcome="Succeeded"), 600.0, speeds=[1.0, 1000.0, 1000.0, 1200.0, 900.0])


def small_job(**training: Any) -> JobSpec:
    workers = {"replicas": 2, "acceleratorsPerWorker": 1}
    spec = job_spec(cluster={"planRef": {"name": "h100-rented"}, "workers": workers}, **training)
    return spec


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Manifest, plans and a storage with three documents."""
    body = job() | {"evaluation": None}
    body.pop("evaluation")
    (tmp_path / "job.yaml").write_text(
        yaml.safe_dump({"apiVersion": API_VERSION, "kind": "LLMTrainingJob", "metadata": {"name": "x"}, "spec": body})
    )
    plans = [
        {"apiVersion": API_VERSION, "kind": "ComputePlan", "metadata": {"name": name}, "spec": spec}
        for name, spec in PLANS.items()
    ]
    (tmp_path / "plans.yaml").write_text(yaml.safe_dump_all(plans))
    (tmp_path / "storage" / "corpus").mkdir(parents=True)
    with gzip.open(tmp_path / "storage" / "corpus" / "docs.jsonl.gz", "wt") as file:
        file.writelines(json.dumps({"id": str(n), "text": prose(n)}) + "\n" for n in range(3))
    return tmp_path


def run(folder: Path, *more: str) -> Any:
    files = (
        "-f",
        str(folder / "job.yaml"),
        "--plans",
        str(folder / "plans.yaml"),
        "--storage",
        str(folder / "storage"),
    )
    return RUNNER.invoke(app, ["run-local", *files, *more])


@pytest.mark.slow
def test_preflight_runs_by_the_code_of_the_pods_and_is_priced(folder: Path) -> None:
    found = run(folder, "--stages", "Preflight")
    assert found.exit_code == 0, found.output
    assert "bytes of sources are readable" in found.output
    assert "USD as if there" in found.output


@pytest.mark.slow
def test_a_stage_that_fails_ends_the_run_with_the_pods_exit_code(folder: Path) -> None:
    (folder / "storage" / "corpus" / "docs.jsonl.gz").unlink()
    found = run(folder, "--stages", "Preflight,Curation", "--calibrate", str(folder / "speed.json"))
    assert found.exit_code == 64, found.output
    assert "spec.curation.sources[0]" in found.output
    assert "Curation: Succeeded" not in found.output
    assert "--calibrate" not in found.output


def test_an_unknown_stage_is_refused_with_those_that_there_are(folder: Path) -> None:
    found = run(folder, "--stages", "Curation,Distillation")
    assert found.exit_code == 64
    assert "Preflight, Curation, Training" in found.output


def test_without_accelerators_the_workers_ask_for_none_and_all_else_stays() -> None:
    spec = job_spec()
    local = local_spec(spec, LAPTOP)
    assert local.training.cluster.workers.accelerators_per_worker == 0
    back = local.training.cluster.workers.model_copy(update={"accelerators_per_worker": 8})
    assert back == spec.training.cluster.workers
    assert local.curation == spec.curation
    assert local_spec(spec, SERVER) == spec


def test_the_config_is_what_the_operator_would_mount() -> None:
    spec = job_spec()
    config = config_of("x", spec, Stage.TRAINING, {Stage.PREFLIGHT: "", Stage.CURATION: "abc"}, SERVER)
    assert config.artifacts == {Stage.CURATION: "abc"}
    assert config.workers == 8
    assert config.peak_tflops == "989.4"
    assert config_of("x", spec, Stage.TRAINING, {}, LAPTOP).peak_tflops is None


def test_a_job_without_evaluation_has_three_stages() -> None:
    spec = job_spec()
    assert stages_of(spec) == list(Stage)
    assert stages_of(spec.model_copy(update={"evaluation": None})) == [Stage.PREFLIGHT, Stage.CURATION, Stage.TRAINING]


def test_the_bill_is_for_the_manifests_pods_at_their_plans_price() -> None:
    plans = {name: plan_of(name, spec) for name, spec in plan_specs().items()}
    assert bill("x", job_spec(), plans, TRAINED) == pytest.approx(600 / 3600 * 64 * 3.99, rel=1e-6)
    assert bill("x", job_spec(), plans, replace(TRAINED, reused=True)) == 0


def test_calibration_is_the_median_speed_over_the_peak_that_was_used() -> None:
    """6.6e9 multiplying parameters, 6 N + 6 L d s FLOPs a token, 1,000 tokens a second on two H100."""
    found = calibrate("2026-11-25", "x", small_job(), [TRAINED], SERVER)
    flops = 6 * (32 * (4 * 4096**2 + 3 * 4096 * 11008) + 32000 * 4096) + 6 * 32 * 4096 * 4096
    assert found.accelerator == "H100-SXM-80GB"
    assert found.mfu == pytest.approx(1000 * flops / (2 * 989.4e12), rel=1e-3)


def test_a_calibration_counts_only_for_the_accelerator_that_it_was_made_on(tmp_path: Path) -> None:
    write(calibrate("2026-11-25", "x", small_job(), [TRAINED], LAPTOP), tmp_path / "speed.json")
    found = read(tmp_path / "speed.json")
    assert found.measured("H100-SXM-80GB") is None
    on_cpu = found.measured("cpu")
    assert on_cpu is not None
    assert "calibration of 2026-11-25" in on_cpu.source


def test_estimate_reads_the_calibration(folder: Path) -> None:
    write(calibrate("2026-11-25", "x", small_job(), [TRAINED], SERVER), folder / "speed.json")
    arguments = ["estimate", "-f", str(folder / "job.yaml"), "--plans", str(folder / "plans.yaml"), "-o", "json"]
    prior = json.loads(RUNNER.invoke(app, arguments).stdout)
    measured = json.loads(RUNNER.invoke(app, [*arguments, "--calibration", str(folder / "speed.json")]).stdout)
    spread = [found["stages"][2]["hours"]["p90"] / found["stages"][2]["hours"]["p10"] for found in (prior, measured)]
    assert spread[1] < 1.3 < spread[0]
    expected = measured["model"]["trainFlops"] / (
        64 * 989.4e12 * calibrate("", "x", small_job(), [TRAINED], SERVER).mfu * 0.92
    )
    assert measured["stages"][2]["hours"]["p50"] == pytest.approx(expected / 3600, rel=0.01)


@pytest.mark.parametrize(
    "done",
    [
        [],
        [replace(TRAINED, reused=True)],
        [replace(TRAINED, speeds=[])],
        [replace(TRAINED, result=Result(outcome="Failed", failure_class=FailureClass.INTERRUPTED))],
    ],
)
def test_there_is_no_calibration_without_a_training_that_ran(done: list[Done]) -> None:
    with pytest.raises(InputError, match="--calibrate"):
        calibrate("2026-11-25", "x", small_job(), done, SERVER)


def test_a_short_curation_says_nothing_of_its_speed() -> None:
    preflight = Done(Stage.PREFLIGHT, Result(outcome="Succeeded", scores={"source_bytes": "6000000000"}), 2.0)
    short, long = (Done(Stage.CURATION, Result(outcome="Succeeded"), seconds) for seconds in (100.0, 1000.0))
    found = [calibrate("", "x", small_job(), [preflight, each, TRAINED], LAPTOP) for each in (short, long)]
    assert found[0].curation_bytes_per_core_second is None
    assert found[1].curation_bytes_per_core_second == pytest.approx(6e9 / 1000 / 4)


def test_a_file_that_is_no_calibration_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(InputError, match="is no calibration"):
        read(tmp_path / "x.json")


def test_a_termination_asks_the_driver_to_save_and_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in for the driver saves on SIGTERM and says so; the test terminates itself once it has started."""
    saver = (
        "import os, pathlib, signal, sys, time\n"
        "folder = pathlib.Path(os.environ['LLMTRAIN_SCRATCH'])\n"
        "def save(*_):\n"
        '    (folder / \'result.json\').write_text(\'{"outcome": "Failed", "failureClass": "Interrupted", "message": "saved"}\')\n'
        "    sys.exit(75)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        '(folder / \'progress.json\').write_text(\'{"done": 1, "total": 2, "unit": "tokens"}\')\n'
        "time.sleep(60)\n"
    )
    (tmp_path / "llmtrain_jobs" / "entrypoint").mkdir(parents=True)
    for package in ("llmtrain_jobs", "llmtrain_jobs/entrypoint"):
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "llmtrain_jobs" / "entrypoint" / "driver.py").write_text(saver)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    told: list[str] = []

    def tell(text: str) -> None:
        told.append(text)
        os.kill(os.getpid(), signal.SIGTERM)

    config = config_of("x", job_spec(), Stage.TRAINING, {}, LAPTOP)
    with interruptible():
        done = run_stage(config, Folders(tmp_path / "storage", tmp_path / "scratch"), tell)
    assert told == ["Training: 1 of 2 tokens"]
    assert (done.result.failure_class, done.result.message) == (FailureClass.INTERRUPTED, "saved")
    assert done.seconds < 30
