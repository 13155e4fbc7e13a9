"""The page of compared runs as Chromium draws it: curves read off the screen against the losses that they were drawn from."""

from typing import Any

import pytest

from llmtrain.pages.runs import runs_page
from llmtrain.runs.comparison import compare_runs
from tests.browser.chromium import measured
from tests.browser.test_compare_page import PHONE, Screen
from tests.unit.runs.jobs import narrow_facts, wide_facts


@pytest.fixture(scope="module")
def phone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return measured(runs_page(compare_runs([narrow_facts(), wide_facts()])), PHONE, tmp_path_factory.mktemp("phone"))


@pytest.mark.parametrize(
    ("chart", "curve", "first", "tokens_per_unit"),
    [
        ("tokens", "option-0", 3.0, 1.0),
        ("tokens", "option-1", 2.9, 1.0),
        ("dollars", "option-0", 3.0, 500_000.0),
        ("dollars", "option-1", 2.9, 1_000_000 / 6),
    ],
)
def test_every_curve_is_the_loss_of_its_run(
    phone: dict[str, Any], chart: str, curve: str, first: float, tokens_per_unit: float
) -> None:
    screen = Screen(phone["charts"][chart])
    points = screen.curve(curve)
    assert len(points) > 100
    for at, loss in points:
        assert loss == pytest.approx(first - 0.5 * at * tokens_per_unit / 1e6, abs=0.01 * screen.height)


def test_the_page_fits_a_phone_and_loads_nothing(phone: dict[str, Any]) -> None:
    assert phone["scrollWidth"] <= phone["clientWidth"]
    assert phone["loaded"] == 0
    assert all(chart["width"] <= PHONE and chart["fontPixels"] >= 9 for chart in phone["charts"].values())
    assert "training USD per million tokens" in phone["text"]
