"""Rent or own against the published reference, and what must hold for any inputs."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from llmtrain.cost.errors import InputError
from llmtrain.cost.owned import OwnedInputs, npv_own, owned_cost
from llmtrain.cost.rent_or_own import Rent, break_even_rent, cost_by_month, levelised_at, npv_rent, verdict
from llmtrain.cost.tornado import tornado
from tests.unit.cost.reference import A100, BASE, GUIDE, LARGE

PRICES = ("server_per_accelerator_usd", "colocation_kw_month_usd", "kwh_usd", "fte_year_usd")


def test_the_small_buyer_costs_what_the_reference_says() -> None:
    cost = owned_cost(BASE)
    assert cost.capex == pytest.approx(2.81e6, rel=0.003)
    assert cost.fixed_per_available_hour == pytest.approx(2.16, abs=0.005)
    assert cost.marginal_hour == pytest.approx(0.059, abs=0.0005)
    assert cost.levelised_hour == pytest.approx(3.14, abs=0.005)


def test_the_other_buyers_cost_what_the_reference_says() -> None:
    found = [owned_cost(inputs).fixed_per_available_hour for inputs in (LARGE, A100, GUIDE)]
    assert found == pytest.approx([1.35, 1.34, 0.33], abs=0.005)


@pytest.mark.parametrize(
    ("inputs", "rent", "published"),
    [
        (BASE, 2.35, 0.87), (BASE, 2.99, 0.68), (BASE, 3.99, 0.51), (BASE, 6.88, 0.29),
        (LARGE, 1.70, 0.76), (LARGE, 2.35, 0.54), (LARGE, 3.99, 0.32), (LARGE, 6.88, 0.18),
    ],
)  # fmt: skip
def test_break_even_use_is_the_reference(inputs: OwnedInputs, rent: float, published: float) -> None:
    assert verdict(inputs, Rent(rent)).utilization == pytest.approx(published, abs=0.005)


def test_at_cheap_rent_owning_never_pays_and_says_by_how_much() -> None:
    found = verdict(BASE, Rent(1.70))
    assert found.utilization is None
    assert found.utilization_uncapped == pytest.approx(1.2146, abs=0.0005)
    assert found.month is None


def test_rent_below_the_energy_of_an_owned_hour_has_no_break_even_at_all() -> None:
    found = verdict(BASE, Rent(0.05))
    assert (found.utilization_uncapped, found.hours, found.month) == (None, None, None)


TORNADO = {
    "server_per_accelerator_usd": (0.81, 1.05), "useful_life_months": (0.97, 0.75), "staff_fte": (0.84, 1.00),
    "colocation_kw_month_usd": (0.81, 0.96), "discount_rate_per_year": (0.82, 0.96),
    "maintenance_share_per_year": (0.82, 0.95), "resale_decay_oom_per_year": (0.84, 0.92), "network_share": (0.83, 0.92),
    "availability": (0.92, 0.85), "kwh_usd": (0.86, 0.91), "pue": (0.87, 0.88),
}  # fmt: skip


def test_the_tornado_is_the_reference() -> None:
    bars = {bar.field: bar for bar in tornado(BASE, Rent(2.35))}
    for field, (low, high) in TORNADO.items():
        assert bars[field].at_low == pytest.approx(low, abs=0.00501), field
        assert bars[field].at_high == pytest.approx(high, abs=0.00501), field
    assert set(bars) == {*TORNADO, "rent_accelerator_hour_usd"}


def test_power_matters_least_and_the_price_of_rent_most() -> None:
    order = [bar.field for bar in tornado(BASE, Rent(2.35))]
    assert order[0] == "rent_accelerator_hour_usd"
    assert order[-2:] == ["kwh_usd", "pue"]


owned_inputs = st.builds(
    lambda price, network, life, rate, colocation, staff, kwh, availability, utilization: replace(
        BASE, server_per_accelerator_usd=price, network_share=network, useful_life_months=life,
        discount_rate_per_year=rate, colocation_kw_month_usd=colocation, staff_fte=staff, kwh_usd=kwh,
        availability=availability, utilization=utilization,
    ),
    st.floats(1000, 80_000), st.floats(0, 0.4), st.integers(12, 72), st.floats(0, 0.3), st.floats(0, 400),
    st.floats(0, 5), st.floats(0, 0.5), st.floats(0.5, 1), st.floats(0.05, 1),
)  # fmt: skip


@given(inputs=owned_inputs, low=st.floats(0.2, 20), more=st.floats(0.01, 20))
def test_dearer_rent_lowers_the_break_even(inputs: OwnedInputs, low: float, more: float) -> None:
    before, after = (verdict(inputs, Rent(price)).utilization_uncapped for price in (low, low + more))
    assume(before is not None and after is not None)
    assert before is not None
    assert after is not None
    assert after <= before


@given(inputs=owned_inputs, field=st.sampled_from(PRICES), factor=st.floats(1.01, 3))
def test_every_dearer_price_of_owning_raises_the_break_even(inputs: OwnedInputs, field: str, factor: float) -> None:
    changes: dict[str, Any] = {field: getattr(inputs, field) * factor}
    dearer = replace(inputs, **changes)
    before, after = (verdict(each, Rent(3)).utilization_uncapped for each in (inputs, dearer))
    assert after is None or (before is not None and after >= before * (1 - 1e-12))


@given(inputs=owned_inputs, price=st.floats(0.5, 20))
def test_present_values_are_equal_at_the_break_even_within_a_cent(inputs: OwnedInputs, price: float) -> None:
    found = verdict(inputs, Rent(price))
    assume(found.utilization is not None)
    assert found.utilization is not None
    at = replace(inputs, utilization=found.utilization)
    months = inputs.useful_life_months
    assert npv_own(at, months) == pytest.approx(npv_rent(at, Rent(price), months), abs=0.01)


@given(inputs=owned_inputs, price=st.floats(0.5, 20))
def test_the_month_of_break_even_is_the_first_in_which_owning_is_no_dearer(inputs: OwnedInputs, price: float) -> None:
    rent = Rent(price)
    cheaper = [month for month, own, rented in cost_by_month(inputs, rent) if own <= rented]
    assert verdict(inputs, rent).month == (cheaper[0] if cheaper else None)


@given(inputs=owned_inputs)
def test_at_the_break_even_rent_both_hours_cost_the_same(inputs: OwnedInputs) -> None:
    cost = owned_cost(inputs)
    price = break_even_rent(cost, inputs.utilization, Rent(1))
    found = verdict(inputs, Rent(price)).utilization_uncapped
    assert found == pytest.approx(inputs.utilization)
    assert levelised_at(cost, inputs.utilization) == pytest.approx(cost.levelised_hour)


def test_a_month_has_730_hours_and_a_kilowatt_month_is_not_a_kilowatt_hour() -> None:
    """Doubling what is per month or per year adds exactly that, spread over 730 hours; the 730-fold mix-up shows."""
    colocation = replace(BASE, colocation_kw_month_usd=2 * BASE.colocation_kw_month_usd)
    hourly = (owned_cost(colocation).fixed_npv - owned_cost(BASE).fixed_npv) / owned_cost(BASE).hours
    assert hourly == pytest.approx(1.275 * 1.10 * 184 / (730 * 0.97))
    power = replace(BASE, kwh_usd=2 * BASE.kwh_usd)
    assert owned_cost(power).marginal_hour - owned_cost(BASE).marginal_hour == pytest.approx(
        1.275 * 0.45 * 1.25 * 0.0826
    )


def test_falling_rent_raises_the_break_even_and_rising_rent_lowers_it() -> None:
    found = [verdict(BASE, Rent(2.99, fall_oom_per_year=fall)).utilization_uncapped for fall in (-0.1, 0.0, 0.14)]
    assert found == sorted(found, key=lambda value: value or 0)


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("utilization", 0.0, "spec.owned.utilization"),
        ("utilization", 1.2, "spec.owned.utilization"),
        ("useful_life_months", -48, "spec.owned.usefulLifeMonths"),
        ("useful_life_months", 0, "spec.owned.usefulLifeMonths"),
        ("server_per_accelerator_usd", 0.0, "spec.owned.serverPerAcceleratorUsd"),
        ("availability", 0.0, "spec.owned.availability"),
        ("network_share", 1.0, "spec.owned.networkShare"),
        ("pue", 0.9, "spec.owned.pue"),
        ("kwh_usd", float("nan"), "spec.owned.kwhUsd"),
    ],
)
def test_inputs_that_make_no_sense_are_refused_by_the_name_of_their_field(field: str, value: float, name: str) -> None:
    changes: dict[str, Any] = {field: value}
    with pytest.raises(InputError) as caught:
        replace(BASE, **changes)
    assert caught.value.field == name
    assert name in str(caught.value)


@pytest.mark.parametrize("use", [0.05, 0.5, 0.7, 1.0])
@pytest.mark.parametrize(("price", "cheaper"), [(2.60, "own"), (1.70, "rent")])
def test_a_reservation_is_paid_for_all_hours_used_or_not(use: float, price: float, cheaper: str) -> None:
    """NPV of rent = 1.08 p K; of owning = F + v K u, of which F is $2.16 an available hour."""
    inputs = replace(BASE, utilization=use)
    found, cost = verdict(inputs, Rent(price, reserved=True)), owned_cost(inputs)
    assert found.npv_rent_usd == pytest.approx(1.08 * price * cost.hours)
    assert found.npv_own_usd == pytest.approx(cost.fixed_npv + cost.marginal_hour * cost.hours * use)
    assert found.owning_pays_at(use) == (found.npv_own_usd <= found.npv_rent_usd) == (cheaper == "own")
    assert found.utilization == (0.0 if cheaper == "own" else None)
    assert found.hours is None


def test_rent_on_demand_of_the_same_price_is_cheaper_at_half_use() -> None:
    half = replace(BASE, utilization=0.5)
    on_demand, reserved = verdict(half, Rent(2.60)), verdict(half, Rent(2.60, reserved=True))
    assert on_demand.npv_rent_usd == pytest.approx(reserved.npv_rent_usd / 2)
    assert (on_demand.owning_pays_at(0.5), reserved.owning_pays_at(0.5)) == (False, True)


@given(inputs=owned_inputs, price=st.floats(0.05, 20), reserved=st.booleans(), use=st.floats(0.01, 1))
def test_owning_pays_where_its_present_value_is_no_higher(
    inputs: OwnedInputs, price: float, reserved: bool, use: float
) -> None:
    rent, at = Rent(price, reserved=reserved), replace(inputs, utilization=use)
    own, rented = npv_own(at, at.useful_life_months), npv_rent(at, rent, at.useful_life_months)
    assume(abs(own - rented) > 1)
    assert verdict(inputs, rent).owning_pays_at(use) == (own < rented)


@given(inputs=owned_inputs, reserved=st.booleans())
def test_the_list_price_at_which_both_are_equal_is_that_of_its_kind_of_rent(
    inputs: OwnedInputs, reserved: bool
) -> None:
    price = break_even_rent(owned_cost(inputs), inputs.utilization, Rent(1, reserved=reserved))
    found = verdict(inputs, Rent(price, reserved=reserved))
    assert found.npv_own_usd == pytest.approx(found.npv_rent_usd, rel=1e-9)


def test_power_alone_may_make_a_busy_owner_dearer_than_a_reservation() -> None:
    hot = replace(BASE, kwh_usd=0.5)
    cost = owned_cost(hot)
    rent = Rent((cost.fixed_per_available_hour + 0.6 * cost.marginal_hour) / 1.08, reserved=True)
    found = verdict(hot, rent)
    assert found.utilization_limit == pytest.approx(0.6)
    assert [found.owning_pays_at(use) for use in (0.0, 0.59, 0.61, 1.0)] == [True, True, False, False]
