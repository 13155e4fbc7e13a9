"""The comparison as a page: verdicts, all plans, the curves, the tornado, and where each number comes from."""

from collections.abc import Mapping

from llmtrain.cost.comparison import Comparison, Pair, PlanResult
from llmtrain.cost.owned import OwnedInputs, camel, owned_cost
from llmtrain.cost.ranges import Range
from llmtrain.cost.rent_or_own import Rent, cost_by_month, levelised_at
from llmtrain.pages.charts import Axis, Chart, Line, Mark, Span, bars_svg, svg
from llmtrain.pages.shell import html_page
from llmtrain.pages.sources import Sources
from llmtrain.scaling.outcome import Outcome, Split
from llmtrain.text import escaped

LOWEST_USE = 0.15
HIGHEST_USE = 1.25
PRICE_POINTS = 120


def compare_page(
    comparison: Comparison, outcome: Outcome | None = None, same_money: Mapping[str, Split] | None = None
) -> str:
    """One HTML file; with `outcome` the expected loss, with `same_money` the best that the job's dollars buy by plan."""
    sources, title = Sources(), f"Rent or own: {comparison.job}"
    body = [
        f"<h1>{escaped(title)}</h1>",
        _summary(comparison),
        _plans(comparison, sources),
        _losses(outcome, same_money or {}),
        *[_pair(pair, index, sources) for index, pair in enumerate(comparison.pairs)],
        _skipped(comparison),
        sources.section(),
    ]
    return html_page(title, body)


def _summary(comparison: Comparison) -> str:
    work = f"{comparison.tokens:,.0f} tokens, {comparison.train_flops:.3g} FLOPs of training. Ranges are p10 to p90."
    if not comparison.pairs:
        return f"<p>{work} There is no pair of an owned and a rented plan to weigh.</p>"
    items = "".join(f"<li>{_sentence(pair)}</li>" for pair in comparison.pairs)
    return f'<p>{work}</p><ul class="verdicts">{items}</ul>'


def _sentence(pair: Pair) -> str:
    needed = pair.verdict.utilization_uncapped
    names = f"<b>{escaped(pair.owned.name)}</b> against <b>{escaped(pair.rented.name)}</b>"
    if pair.rent.reserved:
        return f"{names}: {_reserved(pair)}"
    if needed is None:
        return f"{names}: owning never pays; an owned hour's power alone costs more than rent."
    if needed > 1:
        return f"{names}: owning never pays; it would take {needed:.0%} of the hours there are."
    stated, known = escaped(pair.cheaper_at_plan_use), escaped(pair.cheaper_for_known_hours)
    return (
        f"{names}: owning pays from a use of <b>{needed:.0%}</b> of the available hours on. "
        f"At the use that the plan states {stated} is the cheaper; for this job and other known work alone, {known}."
    )


def _reserved(pair: Pair) -> str:
    paid = "a reservation is paid for all hours, used or not, and owning"
    limit = pair.verdict.utilization_limit
    if pair.verdict.utilization_uncapped is None:
        return f"{paid} never pays."
    if limit is None or limit >= 1:
        return f"{paid} is the cheaper at any use."
    return f"{paid} is the cheaper up to a use of <b>{limit:.0%}</b>; its power costs more from there on."


def _plans(comparison: Comparison, sources: Sources) -> str:
    columns: tuple[str, ...] = (
        "plan",
        "USD / accelerator-hour",
        "hours",
        "allocated USD",
        "avoidable USD",
        "USD / 1e21 FLOPs",
        "USD / M tokens",
    )
    stored = any(result.estimate.storage_usd for result in comparison.results)
    columns += ("storage and egress USD, in no bill",) if stored else ()
    head = "".join(f"<th>{escaped(column)}</th>" for column in columns)
    rows = "".join(_plan_row(result, sources, stored) for result in comparison.results)
    return f'<h2>The same training on every plan</h2><div class="wide"><table><tr>{head}</tr>{rows}</table></div>'


def _losses(outcome: Outcome | None, same_money: Mapping[str, Split]) -> str:
    if outcome is None:
        return ""
    named = [("this training", outcome.planned), ("best split of the same compute", outcome.best)]
    named += [(f"this training's money on {plan}, best split", split) for plan, split in same_money.items()]
    columns = ("", "parameters", "tokens", "tokens per parameter", "nats per token", "bits per byte")
    head = "".join(f"<th>{column}</th>" for column in columns)
    rows = "".join(_loss_row(name, split) for name, split in named)
    warnings = "".join(f"<p>{escaped(warning)}.</p>" for warning in outcome.warnings)
    items = "".join(
        f"<li>{escaped(a.name)}: {escaped(a.value)} ({escaped(a.source)})</li>" for a in outcome.assumptions
    )
    table = f'<div class="wide"><table><tr>{head}</tr>{rows}</table></div>'
    return f"<h2>What loss the money buys</h2>{table}{warnings}<ul>{items}</ul>"


def _loss_row(name: str, split: Split) -> str:
    sizes = f"<td>{split.parameters:.3g}</td><td>{split.tokens:.3g}</td><td>{split.tokens_per_parameter:.3g}</td>"
    return (
        f"<tr><td>{escaped(name)}</td>{sizes}<td>{_range(split.loss)}</td><td>{_range(split.bits_per_byte)}</td></tr>"
    )


def _plan_row(result: PlanResult, sources: Sources, stored: bool) -> str:
    plan = result.plan
    price = sources.price(plan)
    speed = sources.speed(plan)
    cells = (
        f"<b>{escaped(plan.name)}</b><br>{escaped(f'{plan.tenure} {plan.commitment}'.strip())}",
        f"{plan.accelerator_hour_usd:.4f}{price}<br><small>one more: {plan.marginal_hour_usd:.4f}</small>",
        _range(result.estimate.hours) + speed,
        _range(result.estimate.usd) + price + speed,
        _range(result.avoidable_usd) + price,
        f"{result.usd_per_1e21_flops:,.2f}{price}{speed}",
        f"{result.usd_per_million_tokens:.4g}{price}{speed}",
        *([_range(kept) if (kept := result.estimate.storage_usd) else "-"] if stored else []),
    )
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _range(value: Range) -> str:
    return f"{_short(value.p50)}<br><small>{_short(value.p10)} - {_short(value.p90)}</small>"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _pair(pair: Pair, index: int, sources: Sources) -> str:
    inputs = pair.owned.owned
    if inputs is None:
        raise TypeError(f"{pair.owned.name} is not owned")
    charts = [months_chart(inputs, pair, index), use_chart(inputs, pair, index)]
    charts += [] if pair.rent.reserved else [price_chart(inputs, pair, index)]
    figures = "".join(
        f"<figure><figcaption>{escaped(chart.title)}</figcaption>{svg(chart)}</figure>" for chart in charts
    )
    notes = sources.price(pair.owned) + sources.price(pair.rented) + sources.model()
    return (
        f"<section><h2>{escaped(pair.owned.name)} or {escaped(pair.rented.name)}{notes}</h2>"
        f"{_facts(pair)}{figures}{_tornado(pair, index)}{_tornado_sources(pair)}{_paths(pair)}</section>"
    )


def _facts(pair: Pair) -> str:
    found = pair.verdict
    month = "not within its life" if found.month is None else f"month {found.month}"
    needed = pair.break_even_annual_hours
    facts = (
        ("capital", f"${found.cost.capex:,.0f}"),
        ("owned hour at the plan's use", f"${found.cost.levelised_hour:.3f}"),
        ("one more owned hour", f"${found.cost.marginal_hour:.3f}"),
        ("rent for the same work", f"${pair.rent.hour_usd():.3f} with {pair.rent.extra_share:.0%} on top"),
        ("rent at which both are equal", f"${pair.break_even_rent_usd:.2f}"),
        ("owning pays from", month),
        ("accelerator-hours a year: needed", "never" if needed is None else f"{needed:,.0f}"),
        ("known (this job and other work)", f"{pair.known_annual_hours:,.0f}"),
        ("available", f"{pair.available_annual_hours:,.0f}"),
    )
    return "<dl>" + "".join(f"<dt>{escaped(name)}</dt><dd>{escaped(value)}</dd>" for name, value in facts) + "</dl>"


def months_chart(inputs: OwnedInputs, pair: Pair, index: int) -> Chart:
    """Present value of owning, resale taken off, and of renting, by month."""
    months = cost_by_month(inputs, pair.rent)
    own = [(float(month), cost) for month, cost, _ in months]
    rent = [(float(month), cost) for month, _, cost in months]
    top = max(cost for _, cost in (*own, *rent))
    at = pair.verdict.month
    marks = [] if at is None else [Mark((at, own[at - 1][1]), f"month {at}")]
    use = f"{inputs.utilization:.0%}"
    return Chart(
        name=f"months-{index}",
        title=f"What it has cost by then, at a use of {use} of the available hours",
        x=Axis("months", 0, float(inputs.useful_life_months)),
        y=Axis("US dollars, present value", 0, top * 1.05, prefix="$"),
        lines=[Line("own", "own, resale taken off", own), Line("rent", "rent", rent)],
        marks=marks,
    )


def use_chart(inputs: OwnedInputs, pair: Pair, index: int) -> Chart:
    """Dollars per used hour, by use."""
    cost = owned_cost(inputs)
    uses = [LOWEST_USE + step * (1 - LOWEST_USE) / 100 for step in range(101)]
    own = [(use, levelised_at(cost, use)) for use in uses]
    rent = [(use, pair.rent.hour_usd() / (use if pair.rent.reserved else 1)) for use in uses]
    needed = pair.verdict.utilization
    marks = [] if needed is None or needed < LOWEST_USE else [Mark((needed, rent[0][1]), f"{needed:.1%}")]
    return Chart(
        name=f"use-{index}",
        title="What a used accelerator-hour costs, by the share of available hours that are used",
        x=Axis("use of the available hours", 0, 1, percent=True),
        y=Axis("US dollars per used hour", 0, max(own[0][1], rent[0][1]) * 1.05, prefix="$"),
        lines=[Line("own", "own", own), Line("rent", "rent", rent if pair.rent.reserved else [rent[0], rent[-1]])],
        marks=marks,
    )


def price_chart(inputs: OwnedInputs, pair: Pair, index: int) -> Chart:
    """Use from which owning pays, by the price of rent."""
    now = pair.rent.accelerator_hour_usd
    high = max(2 * now, 2 * pair.break_even_rent_usd)
    prices = [high * step / PRICE_POINTS for step in range(1, PRICE_POINTS + 1)]
    needed = [(price, verdict_use(inputs, pair.rent, price)) for price in prices]
    curve = [(price, use) for price, use in needed if use is not None]
    here = pair.verdict.utilization_uncapped
    marks = [] if here is None else [Mark((now, here), f"now ${now:.2f}: {here:.0%}")]
    return Chart(
        name=f"price-{index}",
        title="Use from which owning is the cheaper, by the price of rent: above the curve own, below it rent",
        x=Axis("rent, US dollars per accelerator-hour", 0, high, prefix="$"),
        y=Axis("use of the available hours", 0, HIGHEST_USE, percent=True),
        lines=[Line("own", "owning and renting cost the same", curve)],
        marks=marks,
    )


def verdict_use(inputs: OwnedInputs, rent: Rent, price: float) -> float | None:
    """Break-even use at another price; the shape of `verdict` without its month, which would be slow here."""
    cost = owned_cost(inputs)
    saved = price * (1 + rent.extra_share) - cost.marginal_hour
    return cost.fixed_npv / (cost.hours * saved) if saved > 0 else None


def _tornado(pair: Pair, index: int) -> str:
    if not pair.tornado:
        return ""
    spans = [Span(camel(bar.field), bar.at_low, bar.at_high, bar.source) for bar in pair.tornado]
    ends = [end for span in spans for end in (span.low, span.high) if end is not None]
    title = "How far the break-even use moves with each input"
    axis = Axis("break-even use", min(ends, default=0) * 0.95, max(ends, default=1) * 1.05, percent=True)
    drawn = bars_svg(f"tornado-{index}", title, axis, spans, pair.verdict.utilization_uncapped)
    return f"<figure><figcaption>{title}</figcaption>{drawn}</figure>"


def _tornado_sources(pair: Pair) -> str:
    if not pair.tornado:
        return ""
    rows = "".join(
        f"<tr><td>{escaped(camel(bar.field))}</td><td>{_short(bar.low)} - {_short(bar.high)}</td>"
        f"<td>{_use(bar.at_low)} - {_use(bar.at_high)}</td><td>{escaped(bar.source)}</td></tr>"
        for bar in pair.tornado
    )
    head = "<tr><th>input</th><th>from - to</th><th>break-even use</th><th>source of the range</th></tr>"
    return f'<details><summary>Ranges and their sources</summary><div class="wide"><table>{head}{rows}</table></div></details>'


def _paths(pair: Pair) -> str:
    rows = "".join(
        f"<tr><td>rent {escaped(path.name)}</td><td>{_use(path.utilization)}</td><td>{path.month or 'not within its life'}</td></tr>"
        for path in pair.paths
    )
    head = "<tr><th>if</th><th>break-even use</th><th>break-even month</th></tr>"
    return f'<div class="wide"><table>{head}{rows}</table></div>'


def _use(value: float | None) -> str:
    return "never" if value is None else f"{value:.0%}"


def _skipped(comparison: Comparison) -> str:
    return "".join(f"<p>{escaped(plan)} is left out: {escaped(reason)}.</p>" for plan, reason in comparison.skipped)
