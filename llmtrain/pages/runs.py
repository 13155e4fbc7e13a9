"""Runs beside each other as a page: loss by tokens and by dollars, and the tables."""

from collections.abc import Callable, Sequence

from llmtrain.pages.charts import Axis, Chart, Line, Point, svg
from llmtrain.pages.shell import html_page
from llmtrain.report.drawing import thinned
from llmtrain.runs.comparison import RunsComparison
from llmtrain.runs.facts import Run
from llmtrain.runs.sheets import Sheet, sheets
from llmtrain.text import escaped

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
SETTLED_IN = 0.05
"""Share of the longest curve before which losses fall so fast that they would press all others flat."""


def runs_page(found: RunsComparison) -> str:
    """One HTML file that fetches nothing."""
    title = f"Runs compared: {', '.join(run.name for run in found.runs)}"
    body = [
        f"<h1>{escaped(title)}</h1>",
        *[
            f"<p>Not on this page, {escaped(run.name)}: {escaped(text)}</p>"
            for run in found.runs
            for text in run.missing
        ],
        _figure("tokens", "Loss by tokens", "tokens", "", found.runs, _by_tokens),
        _figure("dollars", "Loss by dollars of the training", "US dollars", "$", found.runs, _by_dollars),
        *[_table(sheet, found.runs) for sheet in sheets(found)],
    ]
    return html_page(title, body, POLICY)


def _by_tokens(run: Run) -> list[Point]:
    return list(run.losses)


def _by_dollars(run: Run) -> list[Point]:
    rate = run.usd_per_token
    return [(tokens * rate, loss) for tokens, loss in run.losses] if rate else []


def _figure(
    name: str, title: str, label: str, prefix: str, runs: Sequence[Run], points: Callable[[Run], list[Point]]
) -> str:
    """Nothing where no run has a curve."""
    curves = [(index, run.name, thinned(points(run))) for index, run in enumerate(runs)]
    drawn = [Line(f"option-{index}", run, curve) for index, run, curve in curves if len(curve) > 1]
    if not drawn:
        return ""
    x = Axis(label, 0.0, max(line.points[-1][0] for line in drawn), prefix)
    chart = Chart(name, title, x, _losses(drawn, x.high), drawn)
    return f"<figure><figcaption>{escaped(title)}</figcaption>{svg(chart)}</figure>"


def _losses(lines: Sequence[Line], end: float) -> Axis:
    """From the lowest to the highest once they have settled in."""
    later = [loss for line in lines for at, loss in line.points if at >= SETTLED_IN * end]
    seen = later or [loss for line in lines for _, loss in line.points]
    room = max(0.05 * (max(seen) - min(seen)), 1e-3 * abs(max(seen)), 1e-6)
    return Axis("nats per token", min(seen) - room, max(seen) + room)


def _table(sheet: Sheet, runs: Sequence[Run]) -> str:
    head = "".join(f"<th>{escaped(name)}</th>" for name in ("", *(run.name for run in runs)))
    rows = "".join(f"<tr>{''.join(f'<td>{escaped(cell)}</td>' for cell in row)}</tr>" for row in sheet.rows)
    note = f"<p><small>{escaped(sheet.note)}</small></p>" if sheet.note else ""
    table = f'<div class="wide"><table><tr>{head}</tr>{rows}</table></div>'
    return f"<h2>{escaped(sheet.title)}</h2>{note}{table}"
