"""The page of a decision as Chromium draws it: every curve read off the screen against costs worked out by hand."""

from typing import Any

import pytest
import yaml

from llmtrain.cli.decide import read_decision
from llmtrain.decision.analysis import Decision, decide
from llmtrain.pages.decide import decide_page
from tests.browser.chromium import measured
from tests.browser.test_compare_page import PHONE, Screen, along, number
from tests.unit.decision.oracle import DECISION, IN, MONTHS, NAMES, OUT, cost
from tests.unit.decision.test_decide import CURVES


@pytest.fixture(scope="module")
def decision() -> Decision:
    return decide(read_decision(yaml.safe_dump(DECISION)))


@pytest.fixture(scope="module")
def phone(decision: Decision, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return measured(decide_page(decision), PHONE, tmp_path_factory.mktemp("phone"))


@pytest.mark.parametrize("chart", CURVES)
def test_every_curve_is_the_cost_of_its_option(phone: dict[str, Any], chart: str) -> None:
    screen = Screen(phone["charts"][chart])
    for index, name in enumerate(NAMES):
        curve = screen.curve(f"option-{index}")
        assert len(curve) == MONTHS + 1 if chart == "months" else len(curve) > 50
        for at, usd in curve:
            assert usd == pytest.approx(CURVES[chart](name, at), abs=0.005 * screen.height), (name, at)


def test_the_break_evens_are_marked_where_the_curves_cross(phone: dict[str, Any], decision: Decision) -> None:
    screen = Screen(phone["charts"]["tokens"])
    for at, usd in (screen.read(point) for point in screen.chart["marks"]):
        scale = at * 1e9 / (IN + OUT)
        assert usd == pytest.approx(cost("called", scale=scale), abs=0.01 * screen.height)
        assert any(cost(name, scale=scale) == pytest.approx(usd, abs=0.01 * screen.height) for name in NAMES[:3])
    assert screen.chart["marks"]


def test_tornado_bars_end_at_the_costs_of_their_numbers(phone: dict[str, Any], decision: Decision) -> None:
    for index, result in enumerate(decision.results):
        chart = phone["charts"][f"tornado-{index}"]
        labels = [(number(text), at) for text, at in chart["x"]]
        span = max(at for at, _ in labels) - min(at for at, _ in labels)
        for bar, (left, right) in zip(result.tornado, chart["bars"], strict=False):
            ends = sorted((bar.at_low, bar.at_high))
            assert [along(labels, left), along(labels, right)] == pytest.approx(ends, abs=0.02 * span)


def test_the_page_fits_a_phone_and_loads_nothing(phone: dict[str, Any]) -> None:
    assert phone["scrollWidth"] <= phone["clientWidth"]
    assert phone["loaded"] == 0
    assert all(chart["width"] <= PHONE and chart["fontPixels"] >= 9 for chart in phone["charts"].values())
