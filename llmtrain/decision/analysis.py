"""Which option is the cheapest, from which use on, how certain that is and what it hangs on."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import quantiles

from llmtrain.cost.ranges import Range
from llmtrain.decision.defaults import options_of
from llmtrain.decision.document import DecisionInput, Kind
from llmtrain.decision.options import Costs, Option

PARALLEL = 1e-9
"""Costs whose growth differs by less never cross: what is left is rounding."""


@dataclass(frozen=True)
class BreakEven:
    """Tokens a month, in and out, between which `option` is cheaper than `against`; None: no such end."""

    option: str
    against: str
    from_tokens: float | None
    to_tokens: float | None


@dataclass(frozen=True)
class Bar:
    """Present value at both ends of one number's range."""

    figure: str
    low: float
    high: float
    at_low: float
    at_high: float
    source: str
    date: str

    @property
    def spread(self) -> float:
        """US dollars between both ends."""
        return abs(self.at_high - self.at_low)


@dataclass(frozen=True)
class Result:
    """One option. `usd` are the quantiles over the draws, `cheapest` the share of draws in which nothing is cheaper."""

    option: Option
    costs: Costs
    npv: float
    usd: Range
    cheapest: float
    tornado: Sequence[Bar]


@dataclass(frozen=True)
class Decision:
    """All options for one use."""

    tokens_per_month: float
    months: int
    seed: int
    draws: int
    results: Sequence[Result]
    break_evens: Sequence[BreakEven]

    @property
    def best(self) -> Result:
        """The cheapest with the numbers as they are believed to be."""
        return min(self.results, key=lambda result: result.npv)


def decide(given: DecisionInput) -> Decision:
    """The options of a decision compared; InputError names the field that is wrong."""
    options = options_of(given)
    drawn = draws(options, given.seed, given.draws)
    cheapest = [min(range(len(options)), key=world.__getitem__) for world in zip(*drawn, strict=True)]
    results = [
        Result(
            option=option,
            costs=option.costs(),
            npv=option.costs().npv(),
            usd=_range(values),
            cheapest=cheapest.count(index) / given.draws,
            tornado=tornado(option),
        )
        for index, (option, values) in enumerate(zip(options, drawn, strict=True))
    ]
    tokens = given.use.input_tokens_per_month.value + given.use.output_tokens_per_month.value
    return Decision(tokens, given.use.months, given.seed, given.draws, results, _break_evens(results, tokens))


def draws(options: Sequence[Option], seed: int, count: int) -> list[list[float]]:
    """Present values of every option in the same worlds: a number that two options share moves in both alike."""
    source = random.Random(seed)
    names = sorted({f.name for option in options for f in option.figures.values() if not f.certain})
    worlds = [{name: source.gauss(0, 1) for name in names} for _ in range(count)]
    return [[_npv(option, world) for world in worlds] for option in options]


def _npv(option: Option, world: dict[str, float]) -> float:
    drawn = {name: figure.at(world[name]) for name, figure in option.figures.items() if not figure.certain}
    return option.costs({**option.values, **drawn}).npv()


def _range(values: Sequence[float]) -> Range:
    tenths = quantiles(values, n=10, method="inclusive")
    return Range(tenths[0], tenths[4], tenths[8])


def tornado(option: Option) -> list[Bar]:
    """Each number moved over its range, the others kept; the widest first, those that move nothing left out."""
    uncertain = [figure for figure in option.figures.values() if not figure.certain]
    bars = []
    for figure in uncertain:
        ends = [option.costs({**option.values, figure.name: end}).npv() for end in (figure.low, figure.high)]
        bars.append(Bar(figure.name, figure.low, figure.high, ends[0], ends[1], figure.source, figure.date))
    return sorted((bar for bar in bars if bar.spread > 0), key=lambda bar: -bar.spread)


def _break_evens(results: Sequence[Result], tokens: float) -> list[BreakEven]:
    """Every model of one's own against every API; without an API, everything against the first option."""
    apis = [result for result in results if result.option.kind is Kind.API] or [results[0]]
    return [
        BreakEven(own.option.name, api.option.name, *break_even(own.costs, api.costs, tokens))
        for api in apis
        for own in results
        if own.option.kind is not Kind.API and own is not api
    ]


def break_even(own: Costs, other: Costs, tokens: float) -> tuple[float | None, float | None]:
    """Tokens a month from which on, and up to which, `own` costs less than `other`, in the use's mix.

    Both costs are straight between their bends, so that every crossing is exact.
    """

    def difference(scale: float) -> float:
        return own.npv(scale) - other.npv(scale)

    bends = sorted({0.0, *own.serving.bends(), *other.serving.bends()})
    last = bends[-1]
    ends = [*bends, 2 * last + 1]
    start, end = (0.0 if difference(0.0) < 0 else None), None
    for left, right in pairwise(ends):
        grown = [each.npv(right) - each.npv(left) for each in (own, other)]
        if abs(grown[0] - grown[1]) <= PARALLEL * max(map(abs, grown)):
            continue
        slope = (difference(right) - difference(left)) / (right - left)
        crossing = left - difference(left) / slope
        if crossing <= left or (right != ends[-1] and crossing > right):
            continue
        if slope < 0:
            start = crossing * tokens if start is None else start
        else:
            end = crossing * tokens
    return start, end
