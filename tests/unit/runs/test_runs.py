"""Runs beside each other: every number against one that was worked out by hand, on the terminal, in JSON and on the page."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmtrain.cli.outputs import PageOutput
from llmtrain.cli.runs import rendered
from llmtrain.cost.errors import InputError
from llmtrain.report.artifacts import Point
from llmtrain.report.facts import facts_of
from llmtrain.runs.comparison import RunsComparison, compare_runs, loss_at
from llmtrain.runs.facts import run_of
from llmtrain.runs.manifests import differences
from llmtrain.runs.view import runs_view
from tests.unit.cli.test_jobs import Kubectl, run
from tests.unit.report.test_page import cells
from tests.unit.runs.jobs import STEP, narrow, narrow_facts, wide, wide_facts


@pytest.fixture(scope="module")
def found() -> RunsComparison:
    return compare_runs([narrow_facts(), wide_facts()])


def mean(first: float, tokens: float) -> float:
    """Of the losses over the last fiftieth of the tokens, at whole steps, on the line that they lie on."""
    seen = [n for n in range(1, 1001) if 0.98 * tokens < n * STEP <= tokens]
    return first - 0.5 * sum(seen) / len(seen) / 1000


def test_losses_are_compared_at_the_tokens_that_both_have_seen(found: RunsComparison) -> None:
    assert [one.at for one in found.equal_tokens] == [125_000, 250_000, 375_000, 500_000]
    for one in found.equal_tokens:
        assert one.losses == pytest.approx((mean(3.0, one.at), mean(2.9, one.at)))


def test_losses_are_compared_at_the_dollars_that_both_have_paid(found: RunsComparison) -> None:
    """A million tokens cost the narrow run $2, the wide one $6: for $2 it has seen a third of a million."""
    last = found.equal_dollars[-1]
    assert last.at == pytest.approx(2.0)
    narrow_loss, wide_loss = last.losses
    assert narrow_loss == pytest.approx(mean(3.0, 1_000_000))
    assert wide_loss == pytest.approx(2.9 - 0.5 / 3, abs=0.005)
    assert narrow_loss is not None
    assert wide_loss is not None
    assert narrow_loss < wide_loss, "at equal tokens the wide run is the better, at equal dollars the narrow one"
    narrow_loss, wide_loss = found.equal_tokens[-1].losses
    assert narrow_loss is not None
    assert wide_loss is not None
    assert wide_loss < narrow_loss


def test_the_mixture_is_that_of_all_phases() -> None:
    shares = {source.name: source.share for source in run_of(narrow_facts()).sources}
    assert shares == pytest.approx({"docs": 0.75, "code": 0.25})
    shares = {source.name: source.share for source in run_of(wide_facts()).sources}
    assert shares == pytest.approx({"docs": 0.375, "code": 0.625})
    unread = run_of(facts_of(narrow(), None))
    assert [(source.share, source.kept) for source in unread.sources] == [(None, None), (None, None)]


def test_the_manifests_differ_where_they_do(found: RunsComparison) -> None:
    differing = {one.path: one.values for one in found.manifest}
    assert differing["model.contextLength"] == ("128", "256")
    assert differing["training.tokens"] == ("1000000", "500000")
    assert differing["training.phases[two].mixture[0].source"] == ("", '"code"')
    assert not any(path.startswith("curation") for path in differing)


def test_a_default_that_one_manifest_spells_out_is_no_difference() -> None:
    said = narrow()
    said["spec"]["training"]["packing"] = "Contiguous"
    said["metadata"]["name"] = "said"
    assert compare_runs([narrow_facts(), facts_of(said, None)]).manifest == ()


def test_lists_are_compared_by_the_names_of_their_items() -> None:
    one = {"sources": [{"name": "a", "path": "x"}, {"name": "b", "path": "y"}]}
    other = {"sources": [{"name": "b", "path": "y"}], "tags": ["1", "2"]}
    found = [(each.path, each.values) for each in differences([one, other])]
    assert found == [("sources[a].name", ('"a"', "")), ("sources[a].path", ('"x"', "")), ("tags", ("", '["1", "2"]'))]


@pytest.mark.parametrize(
    ("tokens", "loss"), [(99, None), (100, 4.0), (150, 3.5), (200, 3.0), (201, None)], ids=lambda value: str(value)
)
def test_between_two_points_the_loss_is_on_the_line(tokens: float, loss: float | None) -> None:
    assert loss_at(((100.0, 4.0), (200.0, 3.0)), tokens) == loss


def test_json_has_everything_by_name(found: RunsComparison) -> None:
    view = runs_view(found)
    one = view["runs"][0]
    assert view["schema"] == "llmtrain.dev/runs/v1"
    assert (one["name"], one["tokens"]) == ("team-a/narrow", 1_000_000)
    assert one["bill"]["costUsd"] == pytest.approx(2.001358)
    assert one["bill"]["byStageUsd"] == pytest.approx({"Curation": 0.001358, "Training": 2.0})
    assert one["bill"]["trainingUsdPerMillionTokens"] == pytest.approx(2.0)
    assert one["bill"]["acceleratorHours"] == pytest.approx(2.0)
    assert one["waste"]["usd"] == pytest.approx(0.3)
    assert one["waste"]["share"] == pytest.approx(0.3 / 2.001358)
    assert one["waste"]["byKindUsd"] == pytest.approx({"starting": 0.3})
    assert one["scores"]["Evaluation: held-out/bits_per_byte"] == "1.9"
    assert one["model"]["context"] == 128
    json.dumps(view, allow_nan=False)


def test_terminal_and_page_show_the_same_cells(found: RunsComparison) -> None:
    text, page = rendered(found, PageOutput.TABLE), rendered(found, PageOutput.HTML)
    seen = cells(page)
    assert seen.fetched == []
    for row in (
        ["cost", "$2.00", "$3.00"],
        ["docs", "75.0%, 750 tokens kept", "37.5%, 750 tokens kept"],
        ["all of it", "$0.30", "$0.00"],
        ["share of the bill", "15.0%", "0.0%"],
        ["training USD per million tokens", "$2", "$6"],
        ["500,000 tokens", f"{mean(3.0, 500_000):.4f}", f"{mean(2.9, 500_000):.4f}"],
        ["context", "128", "256"],
        ["model.contextLength", "128", "256"],
    ):
        assert row in seen.rows
        assert all(cell in text for cell in row)
    assert page.count("<polyline") == 4


def test_what_is_no_number_and_what_was_not_read_is_left_out_and_told() -> None:
    broken = replace(narrow_facts(), losses=(Point(1, 10, float("nan")), Point(2, 20, 2.0)))
    assert run_of(broken).losses == ((20.0, 2.0),)
    unread = facts_of(wide(), None)
    found = compare_runs([narrow_facts(), unread])
    assert found.equal_tokens == ()
    assert "team-a/wide: not read: curves" in rendered(found, PageOutput.TABLE)
    assert "Not on this page, team-a/wide: curves" in rendered(found, PageOutput.HTML)


def test_a_manifest_of_another_version_is_compared_as_it_is_stored() -> None:
    old = narrow() | {"spec": {"former": 1}}
    old["metadata"] = old["metadata"] | {"name": "old"}
    found = compare_runs([facts_of(old, None), narrow_facts()])
    assert ("former", ("1", "")) in [(one.path, one.values) for one in found.manifest]


def test_words_of_others_are_no_commands_of_terminal_or_page() -> None:
    evil = narrow()
    evil["metadata"] |= {"name": "x"}
    evil["status"]["stages"][3]["scores"] = {"<script>\x1b[2J": "[/red]"}
    found = compare_runs([facts_of(evil, None), wide_facts()])
    assert "<script" not in rendered(found, PageOutput.HTML)
    assert "\x1b" not in rendered(found, PageOutput.TABLE)


def test_too_few_too_many_and_the_same_run_twice_are_refused() -> None:
    one, other = narrow_facts(), wide_facts()
    for facts, message in (
        ([one], "must be 2 to 8 runs, there are 1"),
        ([replace(one, name=f"r{n}") for n in range(9)], "must be 2 to 8 runs, there are 9"),
        ([one, other, one], "`team-a/narrow` is named twice"),
    ):
        with pytest.raises(InputError, match=message):
            compare_runs(facts)


def test_the_command_reads_jobs_of_several_namespaces(kubectl: Kubectl) -> None:
    kubectl.says(narrow(), 1)
    kubectl.says(wide(), 2)
    done: Any = run("runs", "compare", "narrow", "team-b/wide", "-n", "team-a", "-o", "json")
    assert done.exit_code == 0
    assert [one["name"] for one in json.loads(done.stdout)["runs"]] == ["team-a/narrow", "team-a/wide"]
    assert [call.split(" -o")[0] for call in kubectl.calls] == [
        "get llmjob narrow -n team-a",
        "get llmjob wide -n team-b",
    ]
    done = run("runs", "compare", "narrow")
    assert (done.exit_code, done.stderr.strip()) == (64, "error: `RUNS`: must be 2 to 8 runs, there are 1")
    kubectl.fails("NotFound")
    assert run("runs", "compare", "narrow", "gone").exit_code == 69


def test_the_command_reads_curves_from_a_folder(kubectl: Kubectl, tmp_path: Path) -> None:
    folder = tmp_path / "store" / "artifacts" / "training" / "t1" / "loss"
    folder.mkdir(parents=True)
    lines = [json.dumps({"step": s, "tokens": 1000 * s, "loss": 3.0}) for s in range(1, 11)]
    (folder / "attempt-0001-1.jsonl").write_text("\n".join(lines))
    kubectl.says(narrow(), 1)
    kubectl.says(wide(), 2)
    done = run("runs", "compare", "narrow", "wide", "--artifacts", str(tmp_path / "store"), "-o", "json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["lossAtEqualTokens"][-1] == {"tokens": 10_000, "losses": [3.0, 3.0]}
