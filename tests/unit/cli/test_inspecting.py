"""`llmtrain inspect` as a person or a script calls it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from llmtrain.api import API_VERSION
from llmtrain.cli.looks import text_of
from llmtrain.cli.main import app
from llmtrain.inspection.findings import findings
from llmtrain.inspection.report import Example, RuleLoss
from tests.unit.cost.jobs import job
from tests.unit.inspection.reports import report

RUNNER = CliRunner()
SENTENCE = (
    "The river and the town have been neighbours for as long as that of which people here tell each other stories. "
)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A manifest whose filters ask for nothing, its storage, and a corpus of one long and two short documents."""
    rows = [
        {"id": f"{n}", "text": text}
        for n, text in enumerate([SENTENCE * 2 + "Water, bridge, boat and mill. " * 3, "short", "brief"])
    ]
    (tmp_path / "storage" / "in").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "storage" / "in"):
        (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    body = job()
    body["curation"] |= {"sources": [{"name": "mine", "path": "in/*.jsonl"}], "filters": {"presets": []}}
    body.pop("evaluation", None)
    manifest = {"apiVersion": API_VERSION, "kind": "LLMTrainingJob", "metadata": {"name": "x"}, "spec": body}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(manifest))
    return tmp_path


def asked(*arguments: str) -> Any:
    found = RUNNER.invoke(app, ["inspect", *arguments])
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


@pytest.mark.slow
def test_paths_are_judged_by_the_rules_of_the_manifest_or_by_those_of_the_default(files: Path) -> None:
    paths = asked(str(files / "*.jsonl"), "-o", "json")
    [source] = paths["sources"]
    assert (source["read"]["records"], source["kept"]["records"], source["lostShare"]) == (3, 0, 1.0)
    assert source["lost"]["gopher.minWords"]["records"] == 2
    assert "would lose every one of all 3 records" in paths["findings"][0]["message"]
    manifest = asked("-f", str(files / "job.yaml"), "--storage", str(files / "storage"), "-o", "json")
    assert (manifest["sources"][0]["name"], manifest["sources"][0]["kept"]["records"]) == ("mine", 3)
    assert manifest["findings"] == []


@pytest.mark.slow
def test_what_cannot_be_read_ends_with_the_exit_code_of_bad_input(files: Path) -> None:
    found = RUNNER.invoke(app, ["inspect", str(files / "nowhere*.jsonl")])
    assert found.exit_code == 64
    assert "no file matches" in found.output


def test_nothing_to_look_at_is_said() -> None:
    found = RUNNER.invoke(app, ["inspect"])
    assert found.exit_code == 64
    assert "files, folders or patterns" in found.output


def test_the_table_has_reasons_shares_and_examples_and_obeys_no_text() -> None:
    example = Example(fate="gopher.minWords", file="a", record=1, id="", text="[red]bold\x1b[2J and\nmore")
    rules = {"gopher.minWords": RuleLoss(breaking=70, alone=60, first=60)}
    languages = {f"l{n}": 10 for n in range(12)}
    found = report(kept=40, rules=rules, examples=[example], languages=languages, not_applied=["filters.languageModel"])
    text = text_of([found], findings([found]))
    assert "docs  in/*" in text
    assert "100 records of 1 of 3 files (the first ones): 1,000 bytes, text 800" in text
    assert "40.0% of the records would be kept: text 320" in text
    assert "others 40" in text
    assert "not asked here: spec.curation.filters.languageModel" in text
    row = next(line for line in text.split("\n") if line.strip().startswith("gopher.minWords"))
    assert row.split()[1:6] == ["60", "60.0%", "600", "70", "60"]
    assert "[red]bold and more" in row
    assert "finding: source `docs` would lose 60.0% of the first 100 records" in text
    assert "\x1b" not in text
