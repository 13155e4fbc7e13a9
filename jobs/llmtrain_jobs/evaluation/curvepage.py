"""The way to the scores: each task's score over the checkpoints, and what a point of it cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import escape

from llmtrain.api.stageconfig import StageConfig
from llmtrain.pages.charts import Axis, Chart, Line, Mark, svg
from llmtrain_jobs.evaluation.points import Point
from llmtrain_jobs.evaluation.results import TaskResult

MARGIN = 0.05
NO_BAR = "no chance level"


@dataclass(frozen=True)
class Stop:
    """One point of a curve: tokens, the score, about what the job had cost by then, what the scoring cost."""

    tokens: int
    score: float
    spent_usd: Decimal
    beside_usd: Decimal | None


def curve_section(points: Sequence[Point], own: Mapping[str, TaskResult], config: StageConfig) -> str:
    """HTML; nothing where no checkpoint was scored on the way."""
    if not points:
        return ""
    return "<h2>Over the checkpoints</h2>" + "".join(_task(points, result, config) for result in own.values())


def _task(points: Sequence[Point], result: TaskResult, config: StageConfig) -> str:
    metric = "bits_per_byte" if "bits_per_byte" in result.scores else result.primary
    name = f"{result.name}/{metric}"
    way = [_stop(point, name) for point in points if name in point.scores]
    if not way or metric not in result.scores:
        return ""
    final = Stop(config.spec.training.tokens, result.scores[metric], Decimal(config.spent_usd or 0), None)
    stops = [*[stop for stop in way if stop.tokens < final.tokens], final]
    chance = next((float(point.chance[name]) for point in points if name in point.chance), None)
    higher = result.higher_is_better.get(metric, True)
    return f"<h3>{escape(name)}</h3>{_chart(name, stops)}{_table(stops, chance, higher)}"


def _stop(point: Point, name: str) -> Stop:
    beside = Decimal(point.evaluator_usd or 0) + Decimal(point.endpoint_usd or 0)
    return Stop(point.tokens, float(point.scores[name]), Decimal(point.spent_usd or 0), beside)


def _chart(name: str, stops: Sequence[Stop]) -> str:
    values = [stop.score for stop in stops]
    low, high = min(values), max(values)
    room = (high - low or abs(high) or 1.0) * MARGIN
    line = Line("score", "score", [(float(stop.tokens), stop.score) for stop in stops])
    marks = [Mark((float(stop.tokens), stop.score), f"{stop.score:.4g}") for stop in (stops[0], stops[-1])]
    tokens = Axis("training tokens", 0.0, float(stops[-1].tokens))
    title = f"{name} over training tokens"
    identity = "curve-" + name.replace("/", "-")
    return svg(Chart(identity, title, tokens, Axis(name, low - room, high + room), [line], marks))


def _table(stops: Sequence[Stop], chance: float | None, higher: bool) -> str:
    from llmtrain_jobs.evaluation.page import table

    columns = [
        "tokens",
        "score",
        "job's US dollars, about",
        "evaluator's and judge's US dollars",
        "US dollars per point",
    ]
    before: list[Stop | None] = [None, *stops[:-1]]
    rows = [
        [f"{stop.tokens:,}", f"{stop.score:.4f}", f"{stop.spent_usd:.4f}",
         "" if stop.beside_usd is None else f"{stop.beside_usd:.4f}", per_point(stop, last, chance, higher)]
        for stop, last in zip(stops, before, strict=True)
    ]  # fmt: skip
    note = (
        "<p><small>A point is a hundredth of the score. Its price is what the job cost from one checkpoint to the next by "
        "what the score gained meanwhile; of the first, by what it is above guessing.</small></p>"
    )
    return table(columns, rows) + note


def per_point(stop: Stop, last: Stop | None, chance: float | None, higher: bool) -> str:
    """Dollars for each hundredth that the score gained since the last stop, or since guessing."""
    if last is None and chance is None:
        return NO_BAR
    before, spent = (last.score, last.spent_usd) if last else (chance or 0.0, Decimal(0))
    gained = (stop.score - before) * (1 if higher else -1) * 100
    if gained <= 0:
        return "no gain"
    return f"{(stop.spent_usd - spent) / Decimal(f'{gained:.6f}'):.4f}"
