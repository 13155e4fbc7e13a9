"""The tables of a comparison of runs, the same on a terminal and on a page: one column a run."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from llmtrain.cost.money import MICRO, format_usd
from llmtrain.ledger.goodput import WASTE
from llmtrain.runs.comparison import Equal, RunsComparison
from llmtrain.runs.facts import Run

NOTHING = "-"
Row = tuple[str, ...]


@dataclass(frozen=True)
class Sheet:
    """`rows` begin with what they are of; then comes a cell for each run."""

    title: str
    rows: tuple[Row, ...]
    note: str = ""


def sheets(found: RunsComparison) -> list[Sheet]:
    """Those that have anything to show."""
    runs = found.runs
    made = [
        Sheet("Data mixture", _data(runs), "Share of the training's tokens, and the tokens that curation kept."),
        Sheet("Architecture", _model(runs)),
        Sheet("Loss at equal tokens", _equal(found.equal_tokens, _tokens), LOSS_NOTE),
        Sheet("Loss at equal dollars", _equal(found.equal_dollars, _dollars), DOLLAR_NOTE),
        Sheet("Scores", _scores(runs)),
        Sheet("Bill", _bill(runs)),
        Sheet("Waste", _waste(runs), "Of pods whose bill is closed: what was not work."),
        Sheet(
            "Differences of the manifests",
            tuple((one.path, *(v or NOTHING for v in one.values)) for one in found.manifest),
        ),
    ]
    return [sheet for sheet in made if sheet.rows]


LOSS_NOTE = "Nats per token, mean over the last fiftieth of the tokens before."
DOLLAR_NOTE = f"{LOSS_NOTE} Dollars: the training's bill with its waste, spread over its tokens; curation is left out."


def _data(runs: Sequence[Run]) -> tuple[Row, ...]:
    names = _names([source.name for source in run.sources] for run in runs)
    return tuple((name, *(_source(run, name) for run in runs)) for name in names)


def _source(run: Run, name: str) -> str:
    source = next((one for one in run.sources if one.name == name), None)
    if source is None:
        return NOTHING
    share = "?" if source.share is None else f"{source.share:.1%}"
    return share if source.kept is None else f"{share}, {source.kept:,} tokens kept"


def _model(runs: Sequence[Run]) -> tuple[Row, ...]:
    names = _names(run.model for run in runs)
    return tuple((name, *(_count(run.model.get(name)) for run in runs)) for name in names)


def _count(value: int | str | None) -> str:
    if value is None:
        return NOTHING
    return f"{value:,}" if isinstance(value, int) else value


def _equal(marks: Sequence[Equal], named: Callable[[float], str]) -> tuple[Row, ...]:
    return tuple((named(one.at), *(NOTHING if loss is None else f"{loss:.4f}" for loss in one.losses)) for one in marks)


def _tokens(at: float) -> str:
    return f"{at:,.0f} tokens"


def _dollars(at: float) -> str:
    return f"${format_usd(round(at * MICRO))}"


def _scores(runs: Sequence[Run]) -> tuple[Row, ...]:
    names = sorted({name for run in runs for name in run.scores})
    return tuple((name, *(run.scores.get(name, NOTHING) for run in runs)) for name in names)


def _bill(runs: Sequence[Run]) -> tuple[Row, ...]:
    stages = _names(run.by_stage for run in runs)
    rows: list[Row] = [
        ("state", *(run.state for run in runs)),
        ("cost", *(_usd(run.cost) for run in runs)),
        ("cost now", *(_usd(run.cost_now) for run in runs)),
        *[(f"of it {name}", *(_usd(run.by_stage.get(name, 0)) for run in runs)) for name in stages],
        ("pod-hours", *(f"{run.pod_seconds / 3600:.3f}" for run in runs)),
        ("accelerator-hours", *(f"{run.accelerator_seconds / 3600:.3f}" for run in runs)),
        ("tokens trained on", *(f"{run.tokens:,.0f}" if run.tokens else NOTHING for run in runs)),
        ("training USD per million tokens", *(_per_million(run) for run in runs)),
    ]
    return tuple(rows)


def _usd(micro: int) -> str:
    return f"${format_usd(micro)}"


def _per_million(run: Run) -> str:
    return NOTHING if run.usd_per_token is None else f"${run.usd_per_token * 1e6:.4g}"


def _waste(runs: Sequence[Run]) -> tuple[Row, ...]:
    if not any(run.settled for run in runs):
        return ()
    kinds = [kind for kind in WASTE if any(run.waste[kind] for run in runs)]
    shares = (f"{run.wasted / run.settled:.1%}" if run.settled else NOTHING for run in runs)
    return (
        ("all of it", *(_usd(run.wasted) for run in runs)),
        ("share of the bill", *shares),
        *((kind, *(_usd(run.waste[kind]) for run in runs)) for kind in kinds),
    )


def _names(groups: Iterable[Iterable[str]]) -> list[str]:
    """In the order in which they are first met."""
    return list(dict.fromkeys(name for group in groups for name in group))
