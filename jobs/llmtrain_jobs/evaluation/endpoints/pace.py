"""How fast an endpoint is asked: fewer requests at once where it says that it is busy, more again where it keeps up."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


@dataclass(frozen=True)
class Time:
    """Seconds that pass, the time of day, how to wait, and how to learn that somebody asks to stop: `check` raises then."""

    clock: Callable[[], float] = time.monotonic
    wait: Callable[[float], object] = time.sleep
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    check: Callable[[], None] = lambda: None


@dataclass
class Turn:
    """One request that is in flight."""

    epoch: int


class Pace:
    """At most `most` requests in flight. Trouble halves that, once for all that were in flight together; a round of answers adds one.

    Where a server says when it may be asked again, nobody asks before.
    """

    def __init__(self, most: int, timing: Time) -> None:
        """Starts with `most`."""
        self._most, self._time = most, timing
        self._width, self._flying, self._epoch, self._not_before = float(most), 0, 0, timing.clock()
        self._changed = threading.Condition()

    @property
    def width(self) -> int:
        """Requests that may be in flight now."""
        return max(1, int(self._width))

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """Waits for a place, and for the time that the server has named."""
        self._time.check()
        while (pause := self._enter()) > 0:
            self._time.wait(pause)
            self._time.check()
        try:
            yield Turn(self._epoch)
        finally:
            with self._changed:
                self._flying -= 1
                self._changed.notify_all()

    def _enter(self) -> float:
        """Seconds to wait before trying again; 0: a place is taken."""
        with self._changed:
            while self._flying >= self.width:
                self._changed.wait()
            pause = self._not_before - self._time.clock()
            if pause <= 0:
                self._flying += 1
            return max(0.0, pause)

    def went_well(self) -> None:
        """One answer came."""
        with self._changed:
            self._width = min(float(self._most), self._width + 1 / self._width)
            self._changed.notify_all()

    def trouble(self, turn: Turn, seconds: float) -> None:
        """One request was refused or broke off; nobody asks for `seconds`."""
        with self._changed:
            self._not_before = max(self._not_before, self._time.clock() + seconds)
            if turn.epoch == self._epoch:
                self._width, self._epoch = max(1.0, self._width / 2), self._epoch + 1


def seconds_of(retry_after: str, now: datetime) -> float | None:
    """What `Retry-After` asks for, in seconds or as a date (RFC 9110, 10.2.3); None: nothing that can be read."""
    text = retry_after.strip()
    if text.isascii() and text.replace(".", "", 1).isdigit():
        return float(text[:16])
    try:
        named = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (named.replace(tzinfo=named.tzinfo or UTC) - now).total_seconds())
