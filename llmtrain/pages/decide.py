"""The decision as a page: the cheapest, the curves, the tornados, and every number with its source and date."""

from collections.abc import Callable, Sequence

from llmtrain.decision.analysis import BreakEven, Decision, Result
from llmtrain.decision.figures import Figure
from llmtrain.decision.options import Costs, Option
from llmtrain.pages.charts import Axis, Chart, Line, Mark, Point, Span, bars_svg, svg
from llmtrain.pages.shell import html_page
from llmtrain.text import escaped

BILLION = 1e9
WIDEST = 10
"""The axis of tokens reaches a break-even of up to so many times the use."""
BARS = 8
STEPS = 80
TITLE = "Build, tune or call"
BASIS = (
    "US dollars, present values at the beginning of use: what is built is paid before and carries its interest, owned "
    "machines are sold at the end. Ranges are p10 to p90 over the same {draws:,} drawn worlds for all (seed {seed})."
)


def decide_page(decision: Decision) -> str:
    """One HTML file."""
    charts = (months_chart(decision), tokens_chart(decision), team_chart(decision))
    body = [
        f"<h1>{TITLE}</h1>",
        _summary(decision),
        _options(decision),
        _break_evens(decision.break_evens),
        *[f"<figure><figcaption>{escaped(chart.title)}</figcaption>{svg(chart)}</figure>" for chart in charts],
        *[_tornado(result, index) for index, result in enumerate(decision.results)],
        "<h2>Sources</h2>",
        *[_figures(result.option) for result in decision.results],
    ]
    return html_page(TITLE, body)


def _summary(decision: Decision) -> str:
    best = decision.best
    return (
        f"<p>{decision.tokens_per_month / BILLION:,.4g} billion tokens a month for {decision.months} months. "
        f"<b>{escaped(best.option.name)}</b> is the cheapest with ${best.npv:,.0f}; so it is in {best.cheapest:.0%} of the "
        f"drawn worlds.</p><p>{escaped(BASIS.format(draws=decision.draws, seed=decision.seed))}</p>"
    )


def _options(decision: Decision) -> str:
    parts = list(dict.fromkeys(name for each in decision.results for name in each.costs.components()))
    head = "".join(f"<th>{escaped(name)}</th>" for name in ("option", "USD", "p10 - p90", "cheapest in", *parts))
    rows = "".join(_option_row(result, parts) for result in decision.results)
    return f'<h2>The options</h2><div class="wide"><table><tr>{head}</tr>{rows}</table></div>'


def _option_row(result: Result, parts: Sequence[str]) -> str:
    components = result.costs.components()
    cells = (
        f"<b>{escaped(result.option.name)}</b><br>{result.option.kind}",
        f"{result.npv:,.0f}",
        f"{result.usd.p10:,.0f} - {result.usd.p90:,.0f}",
        f"{result.cheapest:.0%}",
        *[f"{components[part]:,.0f}" for part in parts],
    )
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _break_evens(found: Sequence[BreakEven]) -> str:
    items = "".join(f"<li>{escaped(break_even_sentence(each))}</li>" for each in found)
    return f'<h2>Break-even</h2><ul class="verdicts">{items}</ul>'


def break_even_sentence(found: BreakEven) -> str:
    """From which use on an option pays."""
    start, end = found.from_tokens, found.to_tokens
    names = f"{found.option} against {found.against}"
    if start is None:
        return f"{names}: never the cheaper."
    since = "at any use" if start == 0 else f"from {start / BILLION:,.4g} billion tokens a month on"
    until = "" if end is None else f", up to {end / BILLION:,.4g} billion"
    return f"{names}: the cheaper {since}{until}."


def _chart(
    name: str, title: str, x: Axis, curves: Sequence[tuple[str, Sequence[Point]]], marks: Sequence[Mark]
) -> Chart:
    top = max(value for _, points in curves for _, value in points)
    lines = [Line(f"option-{index}", label, points) for index, (label, points) in enumerate(curves)]
    return Chart(name, title, x, Axis("US dollars, present value", 0, max(top * 1.05, 1.0), prefix="$"), lines, marks)


def _curves(
    decision: Decision, places: Sequence[float], cost: Callable[[Result, float], float]
) -> list[tuple[str, Sequence[Point]]]:
    return [(result.option.name, [(at, cost(result, at)) for at in places]) for result in decision.results]


def months_chart(decision: Decision) -> Chart:
    """What each option has cost by the end of a month."""
    places = [float(month) for month in range(decision.months + 1)]
    curves = _curves(decision, places, lambda result, at: result.costs.until(round(at)))
    title = "What it has cost by then; before month 0 it is built"
    return _chart("months", title, Axis("months of use", 0, float(decision.months)), curves, ())


def tokens_chart(decision: Decision) -> Chart:
    """What each option costs over all months, by the tokens served a month."""
    now = decision.tokens_per_month
    found = [each.from_tokens for each in decision.break_evens if each.from_tokens]
    high = 2 * max([now, *[tokens for tokens in found if tokens <= WIDEST * now]]) / BILLION
    by_name = {result.option.name: result.costs for result in decision.results}
    bends = [bend * now / BILLION for costs in by_name.values() for bend in costs.serving.bends()]
    steps = [high * step / STEPS for step in range(STEPS + 1)]
    places = sorted({*steps, *[bend for bend in bends if bend < high]})
    curves = _curves(decision, places, lambda result, at: result.costs.npv(at * BILLION / now))
    marks = [
        _mark(by_name[each.against], each.from_tokens, now)
        for each in decision.break_evens
        if each.from_tokens and each.from_tokens / BILLION <= high
    ]
    title = "What it costs over all months, by the tokens served a month"
    return _chart("tokens", title, Axis("billion tokens a month, in and out", 0, high), curves, marks)


def _mark(against: Costs, tokens: float, now: float) -> Mark:
    return Mark((tokens / BILLION, against.npv(tokens / now)), f"{tokens / BILLION:.3g}")


def team_chart(decision: Decision) -> Chart:
    """What each option costs, by the people who build it."""
    largest = max(result.option.values["builders"] for result in decision.results)
    high = max(10.0, 2 * largest)
    places = [high * step / STEPS for step in range(STEPS + 1)]
    curves = _curves(decision, places, lambda result, at: with_builders(result.option, at))
    return _chart("team", "What it costs, by the people who build it", Axis("people", 0, high), curves, ())


def with_builders(option: Option, people: float) -> float:
    """Present value with another number of builders, US dollars."""
    return option.costs({**option.values, "builders": people}).npv()


def _tornado(result: Result, index: int) -> str:
    bars = result.tornado[:BARS]
    if not bars:
        return ""
    spans = [Span(bar.figure, bar.at_low, bar.at_high, f"{bar.source} {bar.date}") for bar in bars]
    ends = [end for bar in bars for end in (bar.at_low, bar.at_high)]
    title = f"{result.option.name}: how far each number moves the cost"
    axis = Axis("US dollars, present value", min(ends) * 0.95, max(max(ends) * 1.05, 1.0), prefix="$")
    drawn = bars_svg(f"tornado-{index}", title, axis, spans, result.npv)
    return f"<figure><figcaption>{escaped(title)}</figcaption>{drawn}</figure>"


def _figures(option: Option) -> str:
    head = "<tr><th>number</th><th>p50</th><th>p10 - p90</th><th>source</th><th>date</th></tr>"
    rows = "".join(_figure_row(figure) for figure in option.figures.values())
    table = f'<div class="wide"><table class="figures">{head}{rows}</table></div>'
    return f"<details><summary>{escaped(option.name)}</summary>{table}</details>"


def _figure_row(figure: Figure) -> str:
    spread = "exact" if figure.certain else f"{figure.low:,.6g} - {figure.high:,.6g}"
    cells = (figure.name, f"{figure.value:,.6g}", spread, figure.source, figure.date or "not said")
    return "<tr>" + "".join(f"<td>{escaped(cell)}</td>" for cell in cells) + "</tr>"
