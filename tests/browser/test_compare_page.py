"""The comparison page as Chromium draws it: curves read off the screen against the published formulas.

The oracle knows the screen positions of the axes' labels and the formulas of owning, written out here once more; it
uses nothing of the code that drew the page.
"""

import re
from pathlib import Path
from typing import Any

import pytest

from llmtrain.cost.comparison import compare
from llmtrain.pages.compare import compare_page
from llmtrain.pricing.job import run_of
from llmtrain.pricing.plans import plan_of
from tests.browser.chromium import measured
from tests.unit.cost.jobs import job_spec, plan_specs

PHONE, DESK = 390, 1280
RENT, USE, LIFE, RATE = 3.99 * 1.08, 0.70, 48, 1.10
HARDWARE = 64 * 32000 * 1.03
HOURS_MONTH = 64 * 730 * 0.97
POWER = 64 * 1.275
FIXED_MONTH = POWER * 1.10 * 184 + HARDWARE * 0.055 / 12 + 0.5 * 180000 / 12 + POWER * 0.30 * 1.25 * 730 * 0.0826
ENERGY_MONTH = POWER * 0.45 * 1.25 * 730 * 0.0826 * 0.97


def months(last: int) -> float:
    """Present value of a dollar a month."""
    return float(sum(RATE ** (-month / 12) for month in range(1, last + 1)))


def fixed(last: int) -> float:
    """Present value of all that does not depend on use, resale taken off."""
    resale = HARDWARE * 10 ** (-0.14 * last / 12) * 0.85 * RATE ** (-last / 12)
    return float(HARDWARE / 0.81 * 1.08 + FIXED_MONTH * months(last) - resale)


def own_until(month: float) -> float:
    return fixed(round(month)) + ENERGY_MONTH * USE * months(round(month))


def rent_until(month: float) -> float:
    return RENT * USE * HOURS_MONTH * months(round(month))


def own_hour(use: float) -> float:
    hours = HOURS_MONTH * months(LIFE)
    return fixed(LIFE) / (hours * use) + ENERGY_MONTH / HOURS_MONTH


def break_even(price: float) -> float:
    return fixed(LIFE) / (HOURS_MONTH * months(LIFE) * (price * 1.08 - ENERGY_MONTH / HOURS_MONTH))


class Screen:
    """One chart on the screen, read by the labels of its axes."""

    def __init__(self, chart: dict[str, Any]) -> None:
        self.chart = chart
        self.x = [(number(text), at) for text, at in chart["x"]]
        self.y = [(number(text), at) for text, at in chart["y"]]

    def read(self, point: tuple[float, float]) -> tuple[float, float]:
        """The numbers that a reader takes from a point."""
        return along(self.x, point[0]), along(self.y, point[1])

    def curve(self, name: str) -> list[tuple[float, float]]:
        return [self.read(point) for point in self.chart["curves"][name]]

    @property
    def height(self) -> float:
        return max(value for value, _ in self.y) - min(value for value, _ in self.y)


def number(label: str) -> float:
    """An axis label as a number: $4M, 50%, 12."""
    value = float(re.sub(r"[^0-9.]", "", label))
    return value * {"%": 0.01, "k": 1e3, "M": 1e6}.get(label[-1], 1.0)


def along(ticks: list[tuple[float, float]], at: float) -> float:
    """Linear between the outermost labels."""
    (first, start), (last, end) = ticks[0], ticks[-1]
    return first + (at - start) / (end - start) * (last - first)


@pytest.fixture(scope="module")
def page() -> str:
    plans = {name: plan_of(name, spec) for name, spec in plan_specs().items()}
    return compare_page(compare(run_of("llama", job_spec(), plans), list(plans.values())))


@pytest.fixture(scope="module")
def phone(page: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return measured(page, PHONE, tmp_path_factory.mktemp("phone"))


def test_cost_by_month_is_the_present_value_of_owning_and_of_renting(phone: dict[str, Any]) -> None:
    screen = Screen(phone["charts"]["months-0"])
    for name, formula in (("own", own_until), ("rent", rent_until)):
        curve = screen.curve(name)
        assert len(curve) == LIFE
        for month, cost in curve:
            assert cost == pytest.approx(formula(month), abs=0.005 * screen.height), (name, month)


def test_the_month_of_break_even_is_marked_where_the_curves_cross(phone: dict[str, Any]) -> None:
    screen = Screen(phone["charts"]["months-0"])
    first = next(month for month in range(1, LIFE + 1) if own_until(month) <= rent_until(month))
    (mark,) = [screen.read(point) for point in screen.chart["marks"]]
    assert mark[0] == pytest.approx(first, abs=0.2)
    assert mark[1] == pytest.approx(own_until(first), abs=0.005 * screen.height)
    assert f"month {first}" in phone["text"]


def test_cost_by_use_is_the_levelised_hour_and_the_break_even_is_marked(phone: dict[str, Any]) -> None:
    screen = Screen(phone["charts"]["use-0"])
    curve = screen.curve("own")
    assert curve[0][0] == pytest.approx(0.15, abs=0.005)
    assert curve[-1][0] == pytest.approx(1.0, abs=0.005)
    for use, cost in curve:
        # The curve is steep at its left end: half a pixel across is allowed beside half a percent of the height.
        slope = abs(own_hour(use + 0.002) - own_hour(use))
        assert cost == pytest.approx(own_hour(use), abs=0.005 * screen.height + slope), use
    assert all(cost == pytest.approx(RENT, abs=0.005 * screen.height) for _, cost in screen.curve("rent"))
    (mark,) = [screen.read(point) for point in screen.chart["marks"]]
    assert mark[0] == pytest.approx(break_even(3.99), abs=0.005)


def test_the_use_needed_by_price_of_rent_is_the_break_even_formula(phone: dict[str, Any]) -> None:
    screen = Screen(phone["charts"]["price-0"])
    curve = screen.curve("own")
    assert len(curve) > 50
    for price, use in curve:
        slope = abs(break_even(price + 0.02) - break_even(price))
        assert use == pytest.approx(break_even(price), abs=0.005 * screen.height + slope), price
    (mark,) = [screen.read(point) for point in screen.chart["marks"]]
    assert mark == pytest.approx((3.99, break_even(3.99)), abs=0.02)


def test_tornado_bars_end_at_the_break_even_of_their_inputs(phone: dict[str, Any]) -> None:
    chart = phone["charts"]["tornado-0"]
    ticks = [(number(text), at) for text, at in chart["x"]]
    index = chart["barLabels"].index("rentAcceleratorHourUsd")
    low, high = (along(ticks, at) for at in chart["bars"][index])
    assert low == pytest.approx(break_even(3.99 * 3.99 / 2.35), abs=0.01)
    assert high == pytest.approx(break_even(3.99 * 1.70 / 2.35), abs=0.01)


def test_the_page_fits_a_phone_and_can_be_read_there(phone: dict[str, Any]) -> None:
    assert phone["scrollWidth"] <= phone["clientWidth"]
    assert all(chart["width"] <= PHONE and chart["fontPixels"] >= 9 for chart in phone["charts"].values())


def test_the_page_loads_nothing(phone: dict[str, Any]) -> None:
    assert phone["loaded"] == 0


def test_the_page_uses_a_desk_too(page: str, tmp_path: Path) -> None:
    desk = measured(page, DESK, tmp_path)
    assert desk["scrollWidth"] <= desk["clientWidth"]
    assert all(chart["width"] > 600 for chart in desk["charts"].values())


def test_every_number_of_the_table_refers_to_a_source(page: str) -> None:
    table = page[page.index("<table>") : page.index("</table>")]
    cells = re.findall(r"<td>(.*?)</td>", table)
    assert all("<sup>" in cell for cell in cells if "<b>" not in cell)
    referred, listed = set(re.findall(r'href="#(s\d+)"', page)), set(re.findall(r'<li id="(s\d+)"', page))
    assert referred == listed
