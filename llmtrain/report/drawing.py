"""Plain SVG: a curve, and bars. Everything is in the page itself; nothing is fetched."""

from collections.abc import Sequence

from llmtrain.text import escaped

WIDTH, HEIGHT = 640, 260
LEFT, BOTTOM, TOP, RIGHT = 52, 28, 12, 12
POINTS = 600
TICKS = 4


def curve(points: Sequence[tuple[float, float]], x_name: str, y_name: str) -> str:
    """A line through (x, y), thinned to what a screen shows; the first and last points are kept."""
    shown = thinned(points)
    xs, ys = [x for x, _ in shown], [y for _, y in shown]
    x_of, y_of = Scale(min(xs), max(xs), LEFT, WIDTH - RIGHT), Scale(min(ys), max(ys), HEIGHT - BOTTOM, TOP)
    path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in shown)
    marks = "".join(_y_tick(value, y_of(value)) for value in ticks(min(ys), max(ys)))
    places = ticks(min(xs), max(xs))
    anchors = ["start", *["middle"] * (len(places) - 2), "end"]
    marks += "".join(_x_tick(value, x_of(value), at) for value, at in zip(places, anchors, strict=False))
    label = f"{y_name} over {x_name}: from {ys[0]:.4g} at {xs[0]:.4g} to {ys[-1]:.4g} at {xs[-1]:.4g}"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escaped(label)}">{marks}'
        f'<polyline class="line" points="{path}"/>'
        f'<text class="axis" x="{WIDTH - RIGHT}" y="{HEIGHT - 2}" text-anchor="end">{escaped(x_name)}</text>'
        "</svg>"
    )


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most `POINTS` of them, evenly spread."""
    if len(points) <= POINTS:
        return list(points)
    step = (len(points) - 1) / (POINTS - 1)
    return [points[round(i * step)] for i in range(POINTS)]


class Scale:
    """A linear map from values to places; a range of nothing maps to its beginning."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        """`low` comes to `start`, `high` to `end`."""
        self._low, self._span, self._start, self._length = low, high - low, start, end - start

    def __call__(self, value: float) -> float:
        """The place of a value."""
        return self._start + (self._length * (value - self._low) / self._span if self._span else 0.0)


def ticks(low: float, high: float) -> list[float]:
    """A few values between, ends included."""
    return [low + (high - low) * i / TICKS for i in range(TICKS + 1)] if high > low else [low]


def _y_tick(value: float, y: float) -> str:
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="axis" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>'
    )


def _x_tick(value: float, x: float, anchor: str) -> str:
    return f'<text class="axis" x="{x:.1f}" y="{HEIGHT - 14}" text-anchor="{anchor}">{short(value)}</text>'


def short(value: float) -> str:
    """1.2M rather than 1200000."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def bars(rows: Sequence[tuple[str, float, str]]) -> str:
    """Labelled bars: (name, size, what is written beside it)."""
    longest = max((size for _, size, _ in rows), default=0) or 1
    lines = (
        f'<div class="bar"><span class="name">{escaped(name)}</span><span class="track">'
        f'<span class="fill" style="width:{100 * size / longest:.2f}%"></span></span>'
        f'<span class="value">{escaped(text)}</span></div>'
        for name, size, text in rows
    )
    return f'<div class="bars">{"".join(lines)}</div>'
