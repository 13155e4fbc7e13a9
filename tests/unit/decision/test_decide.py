"""Build, tune or call: the guide's arithmetic, break-even, quantiles, curves, and what is refused."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from statistics import quantiles
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from llmtrain.cli.decide import read_decision
from llmtrain.cli.main import app
from llmtrain.cost.owned import discounted_months
from llmtrain.cost.ranges import Z90
from llmtrain.cost.tables import rows
from llmtrain.decision.analysis import Decision, Result, break_even, decide, draws
from llmtrain.decision.figures import BOUNDS, Figure
from llmtrain.decision.options import interest
from llmtrain.decision.view import decision_view
from llmtrain.pages.decide import decide_page
from tests.unit.decision import oracle
from tests.unit.decision.oracle import DECISION, MONTHS, NAMES, cost

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "decide" / "decision.yaml"
RUNNER = CliRunner()
TOKENS: float = oracle.IN + oracle.OUT
CURVES: dict[str, Callable[[str, float], float]] = {
    "months": lambda name, at: cost(name, round(at)),
    "tokens": lambda name, at: cost(name, scale=at * 1e9 / TOKENS),
    "team": lambda name, at: cost(name, builders=at),
}


def decided(document: dict[str, Any]) -> Decision:
    return decide(read_decision(yaml.safe_dump(document)))


@pytest.fixture(scope="module")
def decision() -> Decision:
    return decided(DECISION)


def by_name(decision: Decision) -> dict[str, Result]:
    return {result.option.name: result for result in decision.results}


def of_guide(kind: str, **figures: Any) -> dict[str, Any]:
    """A run as the guide counts it: hours times price, nothing on top."""
    own = {"name": "own", "kind": kind, "parameters": 7e9, "tokens": 2e12, "accelerator": "A100-SXM-80GB"}
    free = {"rentExtraShare": 0, "developmentMultiplier": 1, "rentHourUsd": 1.5}
    return {
        "use": {"inputTokensPerMonth": 1e9, "outputTokensPerMonth": 1e9, "months": 12},
        "options": [own | {"figures": free | figures}, {"name": "called", "kind": "Api", "model": "gpt-5-mini"}],
        "draws": 100,
    }


@pytest.mark.parametrize(
    ("hours", "price", "usd"),
    [(180_000, 1, 180_000), (180_000, 2, 360_000), (1_700_000, 1, 1_700_000), (1_700_000, 2, 3_400_000)],
)
def test_the_final_run_of_7b_and_70b_costs_what_the_guide_says(hours: int, price: int, usd: float) -> None:
    run = decided(of_guide("PretrainRented", acceleratorHours=hours, rentHourUsd=price)).results[0]
    assert run.costs.final_run_usd == pytest.approx(usd, rel=0.01)


def test_a_cluster_of_a_thousand_gpus_at_ten_thousand_dollars_costs_ten_million() -> None:
    bare = dict.fromkeys(("networkShare", "storageShare", "installationShare", "sparesShare"), 0)
    found = decided(of_guide("PretrainOwned", accelerators=1000, serverPerAcceleratorUsd=10_000, **bare))
    assert decision_view(found)["options"][0]["capexUsd"] == pytest.approx(10e6, rel=0.01)


def test_a_thousand_megawatt_hours_for_100b_cost_a_hundred_thousand_dollars() -> None:
    # 100B at the guide's hours a parameter: 2.5 million A100-hours of 0.4 kW.
    power = {"powerKwPerAccelerator": 0.4, "loadShare": 1, "pue": 1, "kwhUsd": 0.10, "acceleratorHours": 2_500_000}
    view = decision_view(decided(of_guide("PretrainOwned", accelerators=1000, **power)))["options"][0]
    assert view["trainingKwh"] == pytest.approx(1e6, rel=0.01)
    assert view["trainingEnergyUsd"] == pytest.approx(100_000, rel=0.01)


def test_a_team_of_five_costs_a_million_a_year() -> None:
    document = of_guide("PretrainRented", acceleratorHours=1, builders=5, personYearUsd=200_000)
    assert decision_view(decided(document))["options"][0]["teamUsdPerYear"] == pytest.approx(1e6, rel=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_costs_are_those_that_are_written_out_by_hand(decision: Decision, name: str) -> None:
    result = by_name(decision)[name]
    assert result.npv == pytest.approx(cost(name), rel=1e-9)
    assert sum(result.costs.components().values()) == pytest.approx(result.npv, rel=1e-12)
    for month in (0, 1, 13, MONTHS):
        assert result.costs.until(month) == pytest.approx(cost(name, month), rel=1e-9)
    for scale in (0.0, 0.1, 1.0, 30.0):
        assert result.costs.npv(scale) == pytest.approx(cost(name, scale=scale), rel=1e-9)


def test_at_break_even_both_cost_the_same_to_the_cent(decision: Decision) -> None:
    found = {(each.option, each.against): each for each in decision.break_evens}
    assert set(found) == {(name, "called") for name in NAMES if name != "called"}
    for (own, other), each in found.items():
        assert each.from_tokens is not None
        scale = each.from_tokens / TOKENS
        by = by_name(decision)
        assert abs(by[own].costs.npv(scale) - by[other].costs.npv(scale)) < 0.01
        assert cost(own, scale=scale * 1.01) < cost(other, scale=scale * 1.01)
        assert cost(own, scale=scale * 0.99) > cost(other, scale=scale * 0.99)


def test_break_even_tells_where_an_option_stops_paying_and_where_it_never_does(decision: Decision) -> None:
    by = by_name(decision)
    own, called = by["tuned"].costs, by["called"].costs
    # Against an API it pays from some use on, so the API pays up to that use; nothing pays against itself.
    start, _ = break_even(own, called, TOKENS)
    since, until = break_even(called, own, TOKENS)
    assert since == 0.0
    assert until == pytest.approx(start)
    assert break_even(own, own, TOKENS) == (None, None)
    # Served by the same rented machines both grow alike: the dearer to build never pays, and no rounding says otherwise.
    assert break_even(by["rented"].costs, own, TOKENS) == (None, None)
    assert break_even(own, by["rented"].costs, TOKENS) == (0.0, None)


def test_the_same_seed_gives_the_same_quantiles_and_another_seed_others(decision: Decision) -> None:
    again, other = decided(DECISION), decided(DECISION | {"seed": 8})
    assert [each.usd for each in again.results] == [each.usd for each in decision.results]
    assert [each.usd for each in other.results] != [each.usd for each in decision.results]
    assert all(each.usd.p10 <= each.usd.p50 <= each.usd.p90 for each in decision.results)
    assert sum(each.cheapest for each in decision.results) == pytest.approx(1)


def test_the_quantiles_are_those_of_the_only_number_that_is_uncertain(decision: Decision) -> None:
    # An API's cost is linear in the answers' tokens, whose p10 and p90 are half and twice their median.
    result = by_name(decision)["called"]
    ends = [cost("called") + months_of_answers * oracle.OUT * 2.0 / 1e6 for months_of_answers in
            (-0.5 * oracle.months(MONTHS), 0.0, oracle.months(MONTHS))]  # fmt: skip
    (drawn,) = draws([result.option], seed=1, count=4000)
    tenths = quantiles(drawn, n=10)
    assert (tenths[0], tenths[4], tenths[8]) == pytest.approx(ends, rel=0.01)
    assert {bar.figure for bar in result.tornado} == {"outputTokensPerMonth"}
    assert [result.tornado[0].at_low, result.tornado[0].at_high] == pytest.approx([ends[0], ends[2]], rel=1e-9)


def test_tornado_bars_are_the_costs_at_both_ends_the_widest_first(decision: Decision) -> None:
    result = by_name(decision)["rented"]
    assert [bar.spread for bar in result.tornado] == sorted((bar.spread for bar in result.tornado), reverse=True)
    (bar,) = [bar for bar in result.tornado if bar.figure == "rentHourUsd"]
    hours = 2 * oracle.HOURS_A * oracle.before(12) + oracle.SERVED * oracle.months(MONTHS)
    assert bar.at_high - bar.at_low == pytest.approx(hours, rel=1e-9)


@pytest.mark.parametrize("rate", [0.0, 5e-324, 1e-17, 1e-9])
def test_without_a_rate_a_dollar_is_a_dollar(rate: float) -> None:
    assert interest(rate, 12) == pytest.approx(1, abs=1e-6)
    assert discounted_months(rate, 12) == pytest.approx(12, abs=1e-6)


@pytest.mark.parametrize(
    ("deviations", "value"), [(-Z90, 2.0), (0.0, 4.0), (Z90, 16.0), (-2 * Z90, 1.0), (9.0, 1e9 ** (9 / Z90) * 4)]
)
def test_a_drawn_number_passes_its_quantiles(deviations: float, value: float) -> None:
    figure = Figure("x", 4.0, 2.0, 16.0 if deviations < 9 else 4e9, "number", "", "")
    assert figure.at(deviations) == pytest.approx(value)


def test_a_drawn_share_stays_a_share_and_a_drawn_amount_above_zero() -> None:
    assert Figure("x", 0.7, 0.2, 0.9, "share", "", "").at(20) == 1.0
    assert Figure("x", 5.0, 0.0, 9.0, "usd", "", "").at(-20) == 0.0


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        ({"use": None}, "use", "valid dictionary"),
        ({"use": ...}, "use", "must be set"),
        ({"use": {"inputTokensPerMonth": -1, "outputTokensPerMonth": 1, "months": 12}}, "use.inputTokensPerMonth", "greater than or equal to 0"),
        ({"use": {"inputTokensPerMonth": 0, "outputTokensPerMonth": 0, "months": 12}}, "use", "must be above 0"),
        ({"use": {"inputTokensPerMonth": 1, "outputTokensPerMonth": 1, "months": 0}}, "use.months", "greater than or equal to 1"),
        ({"use": {"inputTokensPerMonth": "1e400", "outputTokensPerMonth": 1, "months": 1}}, "use.inputTokensPerMonth", "valid number"),
        ({"use": {"inputTokensPerMonth": True, "outputTokensPerMonth": 1, "months": 1}}, "use.inputTokensPerMonth", "valid number"),
        ({"use": {"inputTokensPerMonth": 1, "outputTokensPerMonth": 1, "months": True}}, "use.months", "valid integer"),
        ({"options": []}, "options", "at least 2"),
        ({"draws": 10**9}, "draws", "less than or equal to"),
        ({"figures": {"discountRatePerYear": 2}}, "figures.discountRatePerYear", "from 0 to 1"),
        ({"figures": {"wages": 2}}, "figures.wages", "allowed are"),
        ({"figures": {"personYearUsd": {"value": 5, "low": 6}}}, "figures.personYearUsd", "low <= value <= high"),
        ({"colour": "red"}, "colour", "no field"),
    ],
)  # fmt: skip
def test_a_wrong_decision_is_refused_with_the_field_and_what_is_allowed(
    change: dict[str, Any], field: str, said: str
) -> None:
    document = {name: value for name, value in (DECISION | change).items() if value is not ...}
    refused(document, field, said)


@pytest.mark.parametrize(
    ("index", "change", "field", "said"),
    [
        (3, {"model": "gpt-99"}, "options[3].model", "allowed is one of"),
        (3, {"model": ""}, "options[3].model", "inputUsdPerMillionTokens"),
        (3, {"name": "rented"}, "options[3].name", "unique"),
        (0, {"parameters": None}, "options[0].parameters", "must be set"),
        (0, {"tokens": -1}, "options[0].tokens", "greater than or equal to"),
        (0, {"kind": "Steal"}, "options[0].kind", "'PretrainRented'"),
        (0, {"accelerator": "H900"}, "options[0].accelerator", "unknown accelerator"),
        (0, {"accelerator": "A100-SXM-80GB", "figures": {}}, "options[0].figures.rentHourUsd", "must be set"),
        (0, {"figures": {"exampleUsd": 1}}, "options[0].figures.exampleUsd", "allowed are"),
        (1, {"figures": {"loadShare": 0.1}}, "options[1].figures.loadShare", "at least `idleShare`"),
        (1, {"figures": {"networkShare": 0.99}}, "options[1].figures.networkShare", "from 0 to 0.95"),
    ],
)
def test_a_wrong_option_is_refused_with_the_field_and_what_is_allowed(
    index: int, change: dict[str, Any], field: str, said: str
) -> None:
    document = copy.deepcopy(DECISION)
    document["options"][index] |= change
    refused(document, field, said)


def refused(document: dict[str, Any], field: str, said: str) -> None:
    result = RUNNER.invoke(app, ["decide", "-f", "-"], input=yaml.safe_dump(document))
    assert result.exit_code == 64, result.output
    assert f"`{field}`: " in result.stderr
    assert said in result.stderr


def test_an_api_that_is_not_in_the_table_may_bring_its_prices() -> None:
    document = copy.deepcopy(DECISION)
    document["options"][3] |= {
        "model": "ours",
        "figures": {"inputUsdPerMillionTokens": 1, "outputUsdPerMillionTokens": 2},
    }
    assert by_name(decided(document))["called"].option.values["outputUsdPerMillionTokens"] == 2


def test_every_number_has_a_source_a_date_and_a_range_that_its_unit_allows() -> None:
    for result in decided(yaml.safe_load(EXAMPLE.read_text()) | {"draws": 100}).results:
        for figure in result.option.figures.values():
            assert figure.source, figure
            assert figure.date or figure.source == "the decision's file", figure
            least, most = BOUNDS[figure.unit]
            assert least <= figure.low <= figure.value <= figure.high <= most, figure
    for row in rows("api_prices"):
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", row["date"])
        assert row["source"]


def test_every_number_can_be_set_in_the_file() -> None:
    document = yaml.safe_load(EXAMPLE.read_text()) | {"draws": 100}
    first = decided(document)
    for option, result in zip(document["options"], first.results, strict=True):
        numbers = {n: f for n, f in result.option.figures.items() if not n.endswith("TokensPerMonth")}
        option["figures"] = {n: {"value": f.value, "source": "ours", "date": "2026-11"} for n, f in numbers.items()}
    document["figures"] = {}
    second = decided(document)
    assert [each.npv for each in second.results] == pytest.approx([each.npv for each in first.results])
    assert all(
        figure.source == "ours"
        for each in second.results
        for name, figure in each.option.figures.items()
        if not name.endswith("TokensPerMonth")
    )


def test_the_command_prints_a_table_json_and_a_page_that_loads_nothing() -> None:
    outputs = {
        kind: RUNNER.invoke(app, ["decide", "-f", str(EXAMPLE), "-o", kind]) for kind in ("table", "json", "html")
    }
    assert all(result.exit_code == 0 for result in outputs.values())
    assert "call-an-api" in outputs["table"].stdout
    view = json.loads(outputs["json"].stdout)
    assert view["cheapest"] == min(view["options"], key=lambda each: each["npvUsd"])["name"]
    page = outputs["html"].stdout
    assert "<script" not in page
    assert not re.search(r'(src|href)="', page)


def test_the_curves_are_drawn_where_their_values_lie(decision: Decision) -> None:
    """The page's drawing read back by its own axis labels; tests/browser reads the same off a real screen."""
    page = decide_page(decision)
    for chart, expected in CURVES.items():
        drawing = re.search(rf'<svg class="chart" id="{chart}".*?</svg>', page, re.DOTALL)
        assert drawing is not None
        across, up = (ticks(drawing[0], axis) for axis in ("x", "y"))
        for index, name in enumerate(NAMES):
            line = re.search(rf'data-name="option-{index}" points="([^"]*)"', drawing[0])
            assert line is not None
            points = [tuple(map(float, pair.split(","))) for pair in line[1].split()]
            assert len(points) > 20
            for x, y in points:
                at, usd = along(across, x), along(up, y)
                assert usd == pytest.approx(expected(name, at), abs=0.003 * max(value for value, _ in up)), (
                    chart,
                    name,
                )


def ticks(drawing: str, axis: str) -> list[tuple[float, float]]:
    """(number, coordinate) of an axis' labels."""
    place = "x" if axis == "x" else "y"
    found = re.findall(rf'<text class="tick {axis}" [^>]*?\b{place}="([\d.]+)"[^>]*>([^<]+)<', drawing)
    return [(number(label), float(at)) for at, label in found]


def number(label: str) -> float:
    return float(re.sub(r"[^0-9.]", "", label)) * {"k": 1e3, "M": 1e6}.get(label[-1], 1.0)


def along(labels: list[tuple[float, float]], at: float) -> float:
    (first, start), (last, end) = labels[0], labels[-1]
    return first + (at - start) / (end - start) * (last - first)
