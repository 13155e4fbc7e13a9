"""Runs beside each other, at equal tokens and at equal dollars.

Dollars are those of the training: its bill, waste included, spread over the tokens that it has seen. Curation is left out there,
for a run that found its data made has paid nothing for it.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmtrain.cost.errors import InputError
from llmtrain.report.facts import Facts
from llmtrain.runs.facts import Curve, Run, run_of
from llmtrain.runs.manifests import Difference, differences

FEWEST, MOST = 2, 8
"""Runs that one page tells apart."""
MARKS = (0.25, 0.5, 0.75, 1.0)
"""Of what the run that got least far has got to."""
SMOOTHED = 0.02
"""A loss is the mean over so large a share of the tokens before: one step's batch is luck."""


@dataclass(frozen=True)
class Equal:
    """Losses in nats per token at the same number of tokens or dollars, in the order of the runs; None where a run has none there."""

    at: float
    losses: tuple[float | None, ...]


@dataclass(frozen=True)
class RunsComparison:
    """Everything that is shown."""

    runs: tuple[Run, ...]
    equal_tokens: tuple[Equal, ...]
    equal_dollars: tuple[Equal, ...]
    manifest: tuple[Difference, ...]


def compare_runs(facts: Sequence[Facts]) -> RunsComparison:
    """Of two to eight runs. InputError where they are fewer or more, or one is there twice."""
    check_names([f"{one.namespace}/{one.name}" for one in facts])
    runs = tuple(run_of(one) for one in facts)
    return RunsComparison(
        runs=runs,
        equal_tokens=_equal(runs, lambda run: run.tokens or None, lambda run, at: loss_at(run.losses, at)),
        equal_dollars=_equal(runs, _usd, loss_for),
        manifest=tuple(differences([run.spec for run in runs])),
    )


def check_names(names: Sequence[str]) -> None:
    """InputError where so many runs, or these, cannot be compared."""
    if not FEWEST <= len(names) <= MOST:
        raise InputError("RUNS", f"must be {FEWEST} to {MOST} runs, there are {len(names)}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError("RUNS", f"`{twice[0]}` is named twice")


def _usd(run: Run) -> float | None:
    return run.training_usd if run.usd_per_token else None


def _equal(
    runs: Sequence[Run], reach: Callable[[Run], float | None], loss: Callable[[Run, float], float | None]
) -> tuple[Equal, ...]:
    """At shares of what all runs have reached that have reached anything; none where fewer than two have."""
    known = [far for run in runs if (far := reach(run))]
    if len(known) < FEWEST:
        return ()
    return tuple(Equal(share * min(known), tuple(loss(run, share * min(known)) for run in runs)) for share in MARKS)


def loss_for(run: Run, usd: float) -> float | None:
    """Loss once the training had cost so much."""
    return loss_at(run.losses, usd / run.usd_per_token) if run.usd_per_token else None


def loss_at(curve: Curve, tokens: float) -> float | None:
    """Mean over the last tokens before that; between two points far apart on the line between them. None outside the curve."""
    if not curve or not _within(curve, tokens):
        return None
    seen = [loss for at, loss in curve if (1 - SMOOTHED) * tokens < at <= tokens * (1 + 1e-9)]
    return sum(seen) / len(seen) if seen else _between(curve, tokens)


def _within(curve: Curve, tokens: float) -> bool:
    return curve[0][0] <= tokens * (1 + 1e-9) and tokens <= curve[-1][0] * (1 + 1e-9)


def _between(curve: Curve, tokens: float) -> float:
    after = bisect_left([at for at, _ in curve], tokens)
    (low, first), (high, second) = curve[after - 1], curve[after]
    return first + (second - first) * (tokens - low) / (high - low)
