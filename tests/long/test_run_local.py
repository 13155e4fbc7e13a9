"""A whole job on one machine: all stages by the pods' code, its as-if bill, reuse, and the calibration it leaves."""

import gzip
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from llmtrain.cli.main import app
from tests.unit.cost.jobs import PLANS

RUNNER = CliRunner()


def documents() -> list[str]:
    """Sentences of made-up words, no two documents alike."""
    words = ["".join(Random(n).choices("aeioulmnrst", k=3 + n % 6)) for n in range(500)]
    return [". ".join(" ".join(Random(n * 1000 + line).choices(words, k=12)) for line in range(15)) for n in range(400)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Storage, manifest and plans."""
    root = tmp_path_factory.mktemp("local")
    (root / "storage" / "corpus").mkdir(parents=True)
    with gzip.open(root / "storage" / "corpus" / "docs.jsonl.gz", "wt") as file:
        file.writelines(json.dumps({"id": str(n), "text": text}) + "\n" for n, text in enumerate(documents()))
    worker = {"replicas": 1, "acceleratorsPerWorker": 1}
    spec: dict[str, Any] = {
        "storage": {"persistentVolumeClaim": {"claimName": "llm"}},
        "curation": {
            "cluster": {"planRef": {"name": "cpu"}, "workers": {"replicas": 1}},
            "sources": [{"name": "docs", "path": "corpus/*.jsonl.gz"}],
            "filters": {"presets": []},
            "tokenizer": {"train": {"vocabularySize": 400}},
        },
        "model": {"preset": "tiny", "contextLength": 64},
        "training": {
            "cluster": {"planRef": {"name": "h100-rented"}, "workers": worker},
            "tokens": 40960,
            "globalBatchTokens": 2048,
        },
        "evaluation": {
            "cluster": {"planRef": {"name": "h100-rented"}, "workers": worker},
            "tasks": [{"name": "held-out", "perplexity": {}}],
        },
    }
    manifest = {"kind": "LLMTrainingJob", "metadata": {"name": "local"}, "spec": spec}
    (root / "job.yaml").write_text(yaml.safe_dump(manifest))
    plans = [{"kind": "ComputePlan", "metadata": {"name": name}, "spec": plan} for name, plan in PLANS.items()]
    (root / "plans.yaml").write_text(yaml.safe_dump_all(plans))
    return root


def run(folder: Path, command: str, *more: str) -> Result:
    return RUNNER.invoke(app, [command, "-f", str(folder / "job.yaml"), "--plans", str(folder / "plans.yaml"), *more])


def test_all_stages_run_are_priced_and_calibrate_the_estimate(folder: Path) -> None:
    storage = ("--storage", str(folder / "storage"))
    done = run(folder, "run-local", *storage, "--calibrate", str(folder / "speed.json"))
    assert done.exit_code == 0, done.output
    for stage in ("Preflight", "Curation", "Training", "Evaluation"):
        assert f"{stage}: Succeeded" in done.output
    speed = json.loads((folder / "speed.json").read_text())
    assert speed["accelerator"] == "cpu"
    assert 0 < speed["mfu"] < 1

    again = run(folder, "run-local", *storage)
    assert again.exit_code == 0, again.output
    assert again.output.count("Reused") == 3

    manifest = yaml.safe_load((folder / "job.yaml").read_text())
    manifest["spec"]["training"]["cluster"] = {"planRef": {"name": "cpu"}, "workers": {"replicas": 1, "cpu": "1"}}
    (folder / "cpu.yaml").write_text(yaml.safe_dump(manifest))
    arguments = ["estimate", "-f", str(folder / "cpu.yaml"), "--plans", str(folder / "plans.yaml"), "-o", "json"]
    found = json.loads(RUNNER.invoke(app, [*arguments, "--calibration", str(folder / "speed.json")]).stdout)
    work = found["stages"][2]["hours"]["p50"] * 3600 - 60
    assert work == pytest.approx(40960 / speed["tokens_per_second"] / 0.92, rel=0.01)
