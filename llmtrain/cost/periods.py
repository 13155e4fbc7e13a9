"""Calendar months of a bill, in UTC: each gets what had accrued at its end less what had at its beginning.

What had accrued at a boundary is the bill by the plan's rule as if the pod had ended there, or where it ended if that was
before. So the months of a pod add up to its bill, and what a plan's minimum or increment adds lies in the month of the
end that it rounds up from.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from llmtrain.cost.money import amount_micro_usd, billed_seconds

CLOSED_AFTER = timedelta(days=7)
"""A month is left open for so long after its end, and for as long as a pod that ran in it is not settled."""
MONTH = re.compile(r"(19[7-9]|20[0-9]|21[0-9])[0-9]-(0[1-9]|1[0-2])")
"""Of the years 1970 to 2199, in which all bills are."""


@dataclass(frozen=True)
class Tariff:
    """How a pod's time is billed: microdollars an hour, seconds of the plan's increment and minimum, accelerators held."""

    micro_usd_per_hour: int
    increment_seconds: int = 1
    minimum_seconds: int = 0
    accelerators: int = 0


@dataclass(frozen=True)
class Share:
    """What a month has of a pod: seconds there, seconds billed, accelerator-seconds, microdollars."""

    month: str
    pod_seconds: int
    billed_seconds: int
    accelerator_seconds: int
    cost_micro_usd: int


def month_of(time: datetime) -> str:
    """The calendar month of a time, as `2026-11`."""
    return f"{time.astimezone(UTC):%Y-%m}"


@lru_cache(maxsize=512)
def month_bounds(month: str) -> tuple[datetime, datetime]:
    """Its first instant, and that of the next. ValueError for what is no month."""
    if not MONTH.fullmatch(month):
        raise ValueError(f"`{month}` is no calendar month; allowed are `1970-01` to `2199-12`, such as `2026-11`")
    begin = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    return begin, (begin + timedelta(days=32)).replace(day=1)


def shares(start: datetime, seconds: int, tariff: Tariff) -> list[Share]:
    """A bill of so many whole seconds from `start`, by month; one share, of nothing, where there are none.

    They add up to the bill of the whole. A month that the pod was there in is in the list, though nothing accrued in it.
    """
    found: list[Share] = []
    before = _accrued(start, start, tariff)
    for end in _ends(start, start + timedelta(seconds=max(0, seconds))):
        now = _accrued(start, end, tariff)
        # An end on the boundary itself lies in the month that it closes.
        month = month_of(max(start, end - timedelta(seconds=1)))
        found.append(Share(month, *(after - earlier for after, earlier in zip(now, before, strict=True))))
        before = now
    return found


def _ends(start: datetime, end: datetime) -> Iterator[datetime]:
    """Boundaries between the two, and the end."""
    boundary = month_bounds(month_of(start))[1]
    while boundary < end:
        yield boundary
        boundary = month_bounds(month_of(boundary))[1]
    yield end


def _accrued(start: datetime, end: datetime, tariff: Tariff) -> tuple[int, int, int, int]:
    """Seconds there, billed seconds, accelerator-seconds, microdollars at a boundary."""
    seconds = int((end - start).total_seconds())
    billed = billed_seconds(seconds, tariff.increment_seconds, tariff.minimum_seconds)
    return seconds, billed, billed * tariff.accelerators, amount_micro_usd(billed, tariff.micro_usd_per_hour)
