"""A price and a quantity whose product is the cost of a line, which is a sum of bills that were rounded one by one.

The ledger keeps what pods cost and the seconds that were billed, not their price. The price with the fewest decimals that
explains the cost within the rounding of its pods is the plan's own, wherever all of them had one price. The quantity is then
cost / price, written with as many decimals as it takes for the product to be the cost again, also in double precision.
"""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from llmtrain.cost.money import HOUR, MICRO, WIDE

LEAST_PLACES = 12
"""Decimals of a quantity, at least."""
PRICE_PLACES = 6
"""Decimals of a price, at least: microdollars."""
MOST_PLACES = 48
CLOSE = Fraction(1, 10**10)
"""US dollars by which price x quantity may miss the cost before it is rounded to microdollars."""
HALF_SECOND = Fraction(499, 1000 * HOUR)


@dataclass(frozen=True)
class Priced:
    """Price in US dollars a unit, never negative, and quantity in units; their product rounds to the cost."""

    unit_price: Decimal
    quantity: Decimal


def priced_hours(cost_micro_usd: int, seconds: int, pods: int) -> Priced | None:
    """A price for an hour, and hours that round to the seconds that were billed.

    None where nothing was billed that the cost could be the price of. A cost against the sign of its seconds, as a
    correction may have, is one of as many hours with its own sign.
    """
    hours = Fraction(abs(seconds), HOUR)
    if not cost_micro_usd:
        return Priced(_decimal(Fraction(0), PRICE_PLACES), _decimal(Fraction(seconds, HOUR), LEAST_PLACES))
    if not seconds:
        return None
    price = _price(Fraction(abs(cost_micro_usd), MICRO), hours, max(1, pods))
    return Priced(price, _quantity(Fraction(cost_micro_usd, MICRO), Fraction(price)))


def priced_charge(cost_micro_usd: int) -> Priced:
    """One charge, or minus one, at the whole cost."""
    one = (cost_micro_usd > 0) - (cost_micro_usd < 0)
    price = _decimal(Fraction(abs(cost_micro_usd), MICRO), PRICE_PLACES)
    return Priced(price, _decimal(Fraction(one), LEAST_PLACES))


def _price(cost: Fraction, hours: Fraction, pods: int) -> Decimal:
    """The shortest that explains the cost within half a microdollar a pod, and its hours within half a second."""
    rounding = Fraction(pods, 2 * MICRO)
    low = max(Fraction(0), (cost - rounding) / hours, cost / (hours + HALF_SECOND))
    high = min((cost + rounding) / hours, cost / (hours - HALF_SECOND))
    mean = cost / hours
    for places in range(MOST_PLACES + 1):
        whole = round(mean * 10**places)
        if low * 10**places < whole < high * 10**places:
            return _decimal(Fraction(whole, 10**places), max(places, PRICE_PLACES))
    raise ArithmeticError(f"no price of {MOST_PLACES} decimals makes {float(hours)} hours cost {float(cost)} USD")


def _quantity(cost: Fraction, price: Fraction) -> Decimal:
    """Cost / price, with the fewest decimals that give the cost again."""
    exact = cost / price
    for places in range(LEAST_PLACES, MOST_PLACES + 1):
        if abs(round(exact * 10**places) * price - cost * 10**places) <= CLOSE * 10**places:
            return _decimal(exact, places)
    raise ArithmeticError(f"no quantity of {MOST_PLACES} decimals costs {float(cost)} USD at {float(price)} USD")


def _decimal(value: Fraction, places: int) -> Decimal:
    """The value with so many decimals, rounded half to even."""
    return Decimal(round(value * 10**places)).scaleb(-places, WIDE)
