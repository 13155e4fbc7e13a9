"""The demo's task is named for what it asks, and its manifest asks what was written."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from llmtrain.api.evaluation import Task
from llmtrain.api.job import JobSpec

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("questions", ROOT / "demo" / "questions.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tasks(manifest: str) -> list[Task]:
    evaluation: Any = JobSpec.model_validate(yaml.safe_load(manifest)["spec"]).evaluation
    return [task for task in evaluation.tasks if task.data_file]


def test_without_arc_s_file_nothing_is_called_arc(
    demo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "ARC", tmp_path / "nowhere.jsonl")
    manifest = demo.prepare(tmp_path)
    assert manifest == (ROOT / "demo" / "job.yaml").read_text(), "what people read is what is applied"
    assert "arc" not in manifest.lower().replace("search", "")
    (task,) = tasks(manifest)
    assert (task.name, task.data_file) == ("python-modules", "benchmarks/python_modules.jsonl")
    (file,) = tmp_path.glob("*.jsonl")
    assert file.name == "python_modules.jsonl"
    rows = [json.loads(line) for line in file.read_text().split("\n") if line]
    assert all(importlib.util.find_spec(row["choices"][row["gold"]]) for row in rows[:5])


def test_with_arc_s_file_the_task_is_arc_s(demo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "given.jsonl").write_text("{}\n")
    monkeypatch.setattr(demo, "ARC", tmp_path / "given.jsonl")
    (tmp_path / "out").mkdir()
    (task,) = tasks(demo.prepare(tmp_path / "out"))
    assert (task.name, task.task, task.data_file) == ("arc-easy", "arc_easy", "benchmarks/arc_easy.jsonl")
    assert (tmp_path / "out" / "arc_easy.jsonl").read_text() == "{}\n"


def test_what_prepares_the_storage_copies_whatever_was_written() -> None:
    script = (ROOT / "demo" / "prepare.yaml").read_text()
    assert "cp /questions/*.jsonl /storage/benchmarks/" in script
    assert "demo/job.yaml" not in (ROOT / "demo" / "run.sh").read_text(), "the manifest comes from questions.py"
