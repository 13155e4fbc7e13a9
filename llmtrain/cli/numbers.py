"""Numbers and their ranges in the cells of tables."""

from llmtrain.cost.ranges import Range


def spread(value: Range) -> str:
    """Three numbers in one cell."""
    return " / ".join(number(each) for each in (value.p10, value.p50, value.p90))


def number(value: float) -> str:
    """Three significant digits, thousands apart."""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
