"""Amounts in integer microdollars. Decimal and integers only: a float would round money."""

from decimal import ROUND_HALF_EVEN, Context, Decimal

MICRO = 1_000_000
HOUR = 3600
WIDE = Context(prec=80)
"""Digits enough for any sum of 64-bit amounts."""


def micro_usd(usd: Decimal | str) -> int:
    """Microdollars of an amount in US dollars."""
    return int(WIDE.multiply(Decimal(usd), MICRO).quantize(Decimal(1), ROUND_HALF_EVEN, WIDE))


def format_usd(micro: int) -> str:
    """US dollars with cents; four decimals below ten cents, where cents would hide the bill."""
    usd = WIDE.divide(Decimal(micro), Decimal(MICRO))
    places = Decimal("0.0001") if 0 < micro < MICRO // 10 else Decimal("0.01")
    return str(usd.quantize(places, ROUND_HALF_EVEN, WIDE))


def billed_seconds(seconds: int, increment: int, minimum: int) -> int:
    """Seconds that are billed: rounded up to `increment`, at least `minimum`; nothing for nothing."""
    if seconds <= 0:
        return 0
    step = max(1, increment)
    return max(minimum, -(-seconds // step) * step)


def amount_micro_usd(seconds: int, micro_usd_per_hour: int) -> int:
    """Price of billed seconds, rounded half to even."""
    whole, rest = divmod(seconds * micro_usd_per_hour, HOUR)
    return whole + (2 * rest > HOUR or (2 * rest == HOUR and whole % 2 == 1))
