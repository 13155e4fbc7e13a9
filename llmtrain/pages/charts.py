"""Line charts and tornado bars as SVG text, drawn for a phone's width and sharp on any."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from llmtrain.text import escaped

WIDTH, HEIGHT = 480, 320
LEFT, RIGHT, TOP, BOTTOM = 72, 14, 16, 52
TICKS = 5

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """One curve; `name` is its class in the page and its word in the legend."""

    name: str
    label: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Mark:
    """A point that the reader came for."""

    at: Point
    label: str


@dataclass(frozen=True)
class Axis:
    """What is along one side; `percent` labels shares, `prefix` goes before numbers."""

    label: str
    low: float
    high: float
    prefix: str = ""
    percent: bool = False

    def ticks(self) -> list[float]:
        """Round numbers within the range."""
        step = _round_step((self.high - self.low) / TICKS)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [index * step for index in range(first, last + 1)]

    def text(self, value: float) -> str:
        """A tick's label, short enough for the margin."""
        if self.percent:
            return f"{value * 100:.0f}%"
        size, unit = next(((s, u) for s, u in ((1e6, "M"), (1e3, "k")) if self.high >= s), (1.0, ""))
        return f"{self.prefix}{value / size:g}{unit}" if value else "0"


@dataclass(frozen=True)
class Chart:
    """Curves over one plane, marks on top."""

    name: str
    title: str
    x: Axis
    y: Axis
    lines: Sequence[Line]
    marks: Sequence[Mark] = field(default_factory=tuple)


def _round_step(rough: float) -> float:
    power = 10 ** math.floor(math.log10(rough))
    return float(next(step for step in (1, 2, 5, 10) if step * power >= rough * 0.999) * power)


def svg(chart: Chart) -> str:
    """The chart as one SVG element."""
    parts = [
        _grid(chart),
        *[_curve(chart, line) for line in chart.lines],
        *[_mark(chart, mark) for mark in chart.marks],
    ]
    head = f'<svg class="chart" id="{chart.name}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escaped(chart.title)}">'
    return head + "".join(parts) + "</svg>" + _legend(chart)


def place(chart: Chart, point: Point) -> Point:
    """Where a point of the plane lies in the drawing; outside the axes it is moved to their edge."""
    across = (_clamped(point[0], chart.x) - chart.x.low) / (chart.x.high - chart.x.low)
    up = (_clamped(point[1], chart.y) - chart.y.low) / (chart.y.high - chart.y.low)
    return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)


def _clamped(value: float, axis: Axis) -> float:
    return min(max(value, axis.low), axis.high)


def _grid(chart: Chart) -> str:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    for value in chart.x.ticks():
        x = place(chart, (value, chart.y.low))[0]
        parts.append(f'<line class="grid" x1="{x:.2f}" x2="{x:.2f}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(f'<text class="tick x" x="{x:.2f}" y="{bottom + 20}">{escaped(chart.x.text(value))}</text>')
    for value in chart.y.ticks():
        y = place(chart, (chart.x.low, value))[1]
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.2f}" y2="{y:.2f}"/>')
        parts.append(f'<text class="tick y" x="{LEFT - 8}" y="{y:.2f}">{escaped(chart.y.text(value))}</text>')
    middle = (LEFT + right) / 2
    parts.append(f'<text class="axis" x="{middle}" y="{HEIGHT - 8}">{escaped(chart.x.label)}</text>')
    parts.append(
        f'<text class="axis" transform="translate(14 {(TOP + bottom) / 2}) rotate(-90)">{escaped(chart.y.label)}</text>'
    )
    return "".join(parts)


def _curve(chart: Chart, line: Line) -> str:
    inside = [point for point in line.points if chart.y.low <= point[1] <= chart.y.high]
    points = " ".join(f"{x:.3f},{y:.3f}" for x, y in (place(chart, point) for point in inside))
    return f'<polyline class="curve {line.name}" data-name="{line.name}" points="{points}"/>'


def _mark(chart: Chart, mark: Mark) -> str:
    x, y = place(chart, mark.at)
    bottom = HEIGHT - BOTTOM
    left_half = x < (LEFT + WIDTH) / 2
    anchor, shift = ("start", 9) if left_half else ("end", -9)
    label = f'<text class="mark" text-anchor="{anchor}" x="{x + shift:.2f}" y="{max(y - 9, TOP + 12):.2f}">{escaped(mark.label)}</text>'
    drop = f'<line class="mark" x1="{x:.3f}" x2="{x:.3f}" y1="{y:.3f}" y2="{bottom}"/>'
    return f'{drop}<circle class="mark" cx="{x:.3f}" cy="{y:.3f}" r="5"/>{label}'


def _legend(chart: Chart) -> str:
    items = [f'<span class="{line.name}">{escaped(line.label)}</span>' for line in chart.lines]
    return f'<p class="legend">{" ".join(items)}</p>'


@dataclass(frozen=True)
class Span:
    """One tornado bar; None: beyond the axis."""

    label: str
    low: float | None
    high: float | None
    note: str


ROW, BAR = 30, 14


def bars_svg(name: str, title: str, axis: Axis, spans: Sequence[Span], middle: float | None) -> str:
    """Horizontal bars around the value that all of them start from."""
    height = TOP + ROW * len(spans) + BOTTOM
    rows = [_bar(axis, span, TOP + index * ROW) for index, span in enumerate(spans)]
    ticks = [
        f'<text class="tick x" x="{_across(axis, value):.2f}" y="{height - BOTTOM + 20}">{escaped(axis.text(value))}</text>'
        for value in axis.ticks()
    ]
    at = "" if middle is None else _upright(axis, middle, height)
    head = (
        f'<svg class="chart bars" id="{name}" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escaped(title)}">'
    )
    label = f'<text class="axis" x="{(LABELS + WIDTH) / 2}" y="{height - 8}">{escaped(axis.label)}</text>'
    return head + at + "".join(rows + ticks) + label + "</svg>"


LABELS = 190


def _across(axis: Axis, value: float) -> float:
    share = (_clamped(value, axis) - axis.low) / (axis.high - axis.low)
    return LABELS + share * (WIDTH - LABELS - RIGHT)


def _upright(axis: Axis, value: float, height: int) -> str:
    x = _across(axis, value)
    return f'<line class="mark" x1="{x:.2f}" x2="{x:.2f}" y1="{TOP - 6}" y2="{height - BOTTOM}"/>'


def _bar(axis: Axis, span: Span, top: int) -> str:
    ends = sorted(_across(axis, axis.high if end is None else end) for end in (span.low, span.high))
    text = f'<text class="bar" x="{LABELS - 8}" y="{top + BAR}">{escaped(span.label)}</text>'
    box = f'<rect class="bar" x="{ends[0]:.2f}" y="{top + 3}" width="{ends[1] - ends[0]:.2f}" height="{BAR}"><title>{escaped(span.note)}</title></rect>'
    return text + box
