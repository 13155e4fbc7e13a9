"""Amounts in integer microdollars. Decimal and integers only: a float would round money."""

from decimal import ROUND_HALF_EVEN, Decimal

MICRO = 1_000_000
HOUR = 3600


def micro_usd(usd: Decimal | str) -> int:
    """Microdollars of an amount in US dollars."""
    return int((Decimal(usd) * MICRO).quantize(Decimal(1), ROUND_HALF_EVEN))


def format_usd(micro: int) -> str:
    """US dollars with cents; four decimals below ten cents, where cents would hide the bill."""
    usd = Decimal(micro) / MICRO
    places = Decimal("0.0001") if 0 < micro < MICRO // 10 else Decimal("0.01")
    return str(usd.quantize(places, ROUND_HALF_EVEN))


def billed_seconds(seconds: int, increment: int, minimum: int) -> int:
    """Seconds that are billed: rounded up to `increment`, at least `minimum`; nothing for nothing."""
    if seconds <= 0:
        return 0
    return max(minimum, -(-seconds // increment) * increment)


def amount_micro_usd(seconds: int, micro_usd_per_hour: int) -> int:
    """Price of billed seconds, rounded half to even."""
    return int((Decimal(seconds * micro_usd_per_hour) / HOUR).quantize(Decimal(1), ROUND_HALF_EVEN))
