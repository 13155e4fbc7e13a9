"""Rules and dashboards as they are generated: current, deterministic, and by Grafana's and Prometheus' customs."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmtrain.observe.__main__ import files
from llmtrain.observe.dashboards import DASHBOARDS
from llmtrain.observe.rules import ALERTS, groups

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "charts" / "llmtrain"
PAGES = {page.uid: page.to_dict() for page in DASHBOARDS}
PANELS = [(uid, panel) for uid, page in PAGES.items() for panel in page["panels"] if panel["type"] != "row"]
UNITS = {"currencyUSD", "percentunit", "s", "reqps", "none"}


def ids(value: Any) -> str:
    return value["title"] if isinstance(value, dict) else str(value)


def test_the_charts_files_are_what_the_code_says() -> None:
    for name, text in files().items():
        assert (CHART / name).read_text() == text, f"{name}: run make generate"
    assert files() == files()


def test_uids_never_change() -> None:
    assert list(PAGES) == ["llmtrain-fleet", "llmtrain-job", "llmtrain-rent-or-own", "llmtrain-operator"]


def test_every_page_has_one_data_source_variable_and_is_not_editable() -> None:
    for page in PAGES.values():
        variables = page["templating"]["list"]
        assert [v["name"] for v in variables if v["type"] == "datasource"] == ["datasource"]
        assert page["editable"] is False
        assert "llmtrain" in page["tags"]


@pytest.mark.parametrize(("uid", "panel"), PANELS, ids=ids)
def test_every_panel_says_what_it_shows_in_which_unit(uid: str, panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["targets"]
    assert [target["refId"] for target in panel["targets"]] == ["A", "B", "C", "D"][: len(panel["targets"])]
    assert panel["datasource"]["uid"] == "${datasource}"


@pytest.mark.parametrize(("uid", "panel"), PANELS, ids=ids)
def test_what_is_called_a_cost_is_in_dollars(uid: str, panel: dict[str, Any]) -> None:
    dollars = re.search(r"\b(USD|[Cc]ost|[Ss]pen[dt]|[Bb]urn)\b", panel["title"])
    unit = panel["fieldConfig"]["defaults"]["unit"]
    overrides = {o["properties"][0]["value"] for o in panel["fieldConfig"]["overrides"]}
    if dollars and panel["title"] != "Budget spent":
        assert "currencyUSD" in {unit, *overrides}


def test_panels_do_not_overlap_and_ids_are_unique() -> None:
    for page in PAGES.values():
        taken: set[tuple[int, int]] = set()
        for panel in page["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken, panel["title"]
            assert max(x for x, _ in cells) < 24
            taken |= cells
        numbers = [panel["id"] for panel in page["panels"]]
        assert len(set(numbers)) == len(numbers)


def test_a_total_of_money_is_never_read_by_increase() -> None:
    """increase() loses what a counter had at its first scrape and extrapolates; the raw value is the ledger's."""
    for _, panel in PANELS:
        for target in panel["targets"]:
            assert not re.search(r"increase\(llmtrain_\w*_usd_total", target["expr"])


def test_real_and_counterfactual_cost_are_never_added() -> None:
    for _, panel in PANELS:
        for target in panel["targets"]:
            assert not {"counterfactual", "cost_usd_total"} <= set(
                re.findall(r"counterfactual|cost_usd_total", target["expr"])
            )


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_every_alert_has_a_runbook_a_severity_and_a_fixed_summary(alert: Any) -> None:
    page = (ROOT / "docs" / "runbooks" / f"{alert.name}.md").read_text()
    for heading in ("## What it means", "## What it costs", "## What to do"):
        assert heading in page
    assert alert.severity in ("critical", "warning")
    assert "$" not in alert.summary.replace("$value", "")
    assert alert.summary.endswith(".")


def test_there_is_no_runbook_without_an_alert() -> None:
    pages = {file.stem for file in (ROOT / "docs" / "runbooks").glob("LLMTrain*.md")}
    assert pages == {alert.name for alert in ALERTS}


def test_recording_rules_are_named_level_metric_operation() -> None:
    for group in groups():
        for rule in group["rules"]:
            if "record" in rule:
                assert re.fullmatch(r"[a-z_]+:llmtrain_[a-z_]+:[a-z0-9_]+", rule["record"])
                assert not rule["record"].split(":")[1].endswith("_total")
    assert yaml.safe_load(files()["files/rules.yaml"])["groups"] == groups()
