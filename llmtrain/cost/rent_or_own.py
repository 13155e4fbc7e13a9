"""Rent or own: at which use, after how many hours and in which month owning becomes the cheaper.

Both sides are present values over the same months and the same used hours. Rent is paid for what is used, unless it is a
reservation, which is paid for all hours that the owned machines would be available; its price carries a share for egress,
storage and idle tails. The price may move: rent and resale then fall together, for both
follow the market of the same chip.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from llmtrain.cost.errors import InputError
from llmtrain.cost.owned import OwnedCost, OwnedInputs, available_hours_month, discount, npv_own, owned_cost


@dataclass(frozen=True)
class Rent:
    """US dollars per accelerator-hour, and what comes on top, as a share. `fall`: orders of magnitude a year."""

    accelerator_hour_usd: float
    extra_share: float = 0.08
    fall_oom_per_year: float = 0.0
    reserved: bool = False
    """Paid for all available hours, used or not."""

    def __post_init__(self) -> None:
        if not self.accelerator_hour_usd >= 0:
            raise InputError("rent.acceleratorHourUsd", f"must not be negative, it is {self.accelerator_hour_usd:g}")
        if not self.extra_share >= 0:
            raise InputError("rent.extraShare", f"must not be negative, it is {self.extra_share:g}")

    def hour_usd(self, month: float = 0) -> float:
        """What a used hour costs with what comes on top."""
        fall = 10 ** (-self.fall_oom_per_year * month / 12)
        return float(self.accelerator_hour_usd * (1 + self.extra_share) * fall)


@dataclass(frozen=True)
class Verdict:
    """Of one owned plan against one rent. None: never, or for `utilization` above all there is."""

    cost: OwnedCost
    npv_own_usd: float
    npv_rent_usd: float
    utilization_uncapped: float | None
    hours: float | None
    month: int | None
    utilization_limit: float | None = None
    """Against a reservation: use up to which owning is the cheaper, for power comes with the rent; None: up to any use."""

    def owning_pays_at(self, use: float) -> bool:
        """Whether owning is no dearer at this use of the available hours."""
        needed, limit = self.utilization_uncapped, self.utilization_limit
        return needed is not None and needed <= use and (limit is None or use <= limit)

    @property
    def utilization(self) -> float | None:
        """Share of the available hours from which on owning is the cheaper."""
        uncapped = self.utilization_uncapped
        return uncapped if uncapped is not None and uncapped <= 1 else None


def verdict(owned: OwnedInputs, rent: Rent) -> Verdict:
    """Break-even of owning against renting."""
    cost, life = owned_cost(owned), owned.useful_life_months
    paid = rent_per_hour(owned, rent, life)
    needed, hours, limit = _reserved(cost, paid) if rent.reserved else (*_by_use(cost, paid), None)
    return Verdict(
        cost=cost,
        npv_own_usd=npv_own(owned, life),
        npv_rent_usd=npv_rent(owned, rent, life),
        utilization_uncapped=needed,
        hours=hours,
        month=break_even_month(owned, rent),
        utilization_limit=limit,
    )


def _by_use(cost: OwnedCost, paid: float) -> tuple[float | None, float | None]:
    """Share of the available hours, and hours, from which on owning is the cheaper."""
    saved = paid - cost.marginal_hour
    return (cost.fixed_npv / (cost.hours * saved), cost.fixed_npv / saved) if saved > 0 else (None, None)


def _reserved(cost: OwnedCost, paid: float) -> tuple[float | None, None, float | None]:
    """Rent does not depend on the use: owning pays from none on or never, as long as its power is not more than what is saved."""
    saved = paid * cost.hours - cost.fixed_npv
    if saved < 0:
        return None, None, None
    return 0.0, None, saved / (cost.marginal_hour * cost.hours) if cost.marginal_hour > 0 else None


def npv_rent(owned: OwnedInputs, rent: Rent, months: int) -> float:
    """Present value of renting the hours that the owned machines would have worked; of a reservation, of all that there are."""
    paid = available_hours_month(owned) * (1.0 if rent.reserved else owned.utilization)
    rate = owned.discount_rate_per_year
    return paid * sum(discount(rate, month) * rent.hour_usd(month) for month in range(1, months + 1))


def rent_per_hour(owned: OwnedInputs, rent: Rent, months: int) -> float:
    """Mean price of a used hour over the months, discounted."""
    weights = [discount(owned.discount_rate_per_year, month) for month in range(1, months + 1)]
    paid = sum(weight * rent.hour_usd(month) for month, weight in enumerate(weights, start=1))
    return paid / sum(weights)


def break_even_month(owned: OwnedInputs, rent: Rent) -> int | None:
    """First month within the life at whose end, with resale, owning has cost no more than renting."""
    months = range(1, owned.useful_life_months + 1)
    return next((month for month in months if npv_own(owned, month) <= npv_rent(owned, rent, month)), None)


def cost_by_month(owned: OwnedInputs, rent: Rent) -> Sequence[tuple[int, float, float]]:
    """(month, present value of owning until then with resale, of renting until then)."""
    months = range(1, owned.useful_life_months + 1)
    return [(month, npv_own(owned, month), npv_rent(owned, rent, month)) for month in months]


def levelised_at(cost: OwnedCost, utilization: float) -> float:
    """US dollars per used hour at another use."""
    return cost.fixed_per_available_hour / utilization + cost.marginal_hour


def break_even_rent(cost: OwnedCost, utilization: float, rent: Rent) -> float:
    """List price of rent of this kind at which both are equal."""
    paid_share = utilization if rent.reserved else 1.0
    return levelised_at(cost, utilization) * paid_share / (1 + rent.extra_share)
