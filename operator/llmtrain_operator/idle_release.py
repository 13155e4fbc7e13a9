"""When placed pods that can do nothing, because others found no place, are asked for again after they were given back.

A pod without a node costs nothing and may wait. Of a cluster with some pods placed, these are paid for: they are given
back after the start deadline D, which is no failure, and asked for again after a pause. Let h be the seconds that they
were held, but D + GIVING_BACK_SECONDS at least. The pause after the n-th try in a row is 2^n h as far as that is below
3.2 hours, h at least; up to a quarter is added by lot, so that jobs that were given back together do not come back together.

What follows, where every try is held for D + GIVING_BACK_SECONDS at the most (the property test shows it):
- From the end of the first try on, at every moment, pods were held idle for at most half of the time. For a D of up to
  an hour and a half that holds from the end of the first pause on even if the first try counts, and the share falls
  from a third after the first pause towards h / (h + 3.2 hours).
- Within T seconds at most `most_tries(D, T)` tries begin, so idle pods cost at most
  most_tries(D, T) x (D + GIVING_BACK_SECONDS) / 3600 x what the placed pods cost an hour.
"""

import zlib
from datetime import timedelta

GIVEN_BACK = "GivenBack"
"""Reason of the wait between two tries."""
LONGEST_PAUSE = timedelta(hours=4)
SPREAD = 0.25
"""Largest part of a pause that is added by lot."""
GIVING_BACK_SECONDS = 240
"""From the start deadline to the end of the last pod: the next look, the head's grace, its workers' end."""


def pause(held: timedelta, deadline: timedelta, tries: int, lot: float) -> timedelta:
    """How long nothing is asked for after the `tries`-th try in a row, 1 or more, whose placed pods were idle for `held`.

    `lot`: 0 to 1, the same for the same try whenever it is asked for.
    """
    base = max(held, deadline + timedelta(seconds=GIVING_BACK_SECONDS))
    factor: int = 2 ** min(tries, 20)
    doubled = min(base * factor, LONGEST_PAUSE / (1 + SPREAD))
    return max(base, doubled) * (1 + SPREAD * lot)


def lot_of(uid: str, stage: str, attempt: int, tries: int) -> float:
    """The lot of one try of one job, 0 to 1: spread evenly over jobs, the same for whoever asks."""
    return zlib.crc32(f"{uid}/{stage}/{attempt}/{tries}".encode()) / 2**32


def most_tries(deadline: timedelta, within: timedelta) -> int:
    """Tries that can begin within a time: each held as short, and followed by a pause as short, as can be."""
    tries, begin = 1, timedelta(0)
    while (begin := begin + deadline + pause(deadline, deadline, tries, 0.0)) < within:
        tries += 1
    return tries
