"""Money against closed forms and the reference results of the cost model."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmtrain.cost.money import amount_micro_usd, billed_seconds, format_usd, micro_usd
from llmtrain.cost.owned import OwnedInputs, owned_cost

BASE = OwnedInputs(
    accelerators=64, server_per_accelerator_usd=32000, network_share=0.19, storage_share=0.05, installation_share=0.03,
    spares_share=0.03, useful_life_months=48, resale_decay_oom_per_year=0.14, resale_haircut=0.85,
    discount_rate_per_year=0.10, colocation_kw_month_usd=184, power_kw_per_accelerator=1.275, reserved_power_margin=1.10,
    load_share=0.75, idle_share=0.30, pue=1.25, kwh_usd=0.0826, maintenance_share_per_year=0.05,
    insurance_share_per_year=0.005, staff_fte=0.5, fte_year_usd=180000, availability=0.97, utilization=0.70,
)  # fmt: skip
LARGE = replace(
    BASE, accelerators=2048, server_per_accelerator_usd=23750, colocation_kw_month_usd=140, pue=1.20, staff_fte=6,
    maintenance_share_per_year=0.03, discount_rate_per_year=0.09, useful_life_months=60,
)  # fmt: skip


def test_owned_base_case_is_the_published_reference() -> None:
    cost = owned_cost(BASE)
    assert cost.capex == pytest.approx(2.81e6, rel=0.003)
    assert cost.fixed_per_available_hour == pytest.approx(2.16, abs=0.005)
    assert cost.marginal_hour == pytest.approx(0.059, abs=0.0005)
    assert cost.levelised_hour == pytest.approx(3.14, abs=0.005)


@pytest.mark.parametrize(("rent", "utilization"), [(2.35, 0.87), (2.99, 0.68), (3.99, 0.51), (6.88, 0.29)])
def test_break_even_utilisation_is_the_published_reference(rent: float, utilization: float) -> None:
    cost = owned_cost(BASE)
    assert cost.fixed_npv / (cost.hours * (rent * 1.08 - cost.marginal_hour)) == pytest.approx(utilization, abs=0.005)


def test_the_large_buyer_is_the_published_reference() -> None:
    assert owned_cost(LARGE).fixed_per_available_hour == pytest.approx(1.35, abs=0.005)


@given(seconds=st.integers(0, 10**7), hour=st.integers(0, 10**9))
def test_amounts_are_the_exact_fraction_rounded_half_to_even(seconds: int, hour: int) -> None:
    assert amount_micro_usd(seconds, hour) == round(Fraction(seconds * hour, 3600))


@given(seconds=st.integers(1, 10**6), increment=st.integers(1, 3600), minimum=st.integers(0, 3600))
def test_billed_seconds_round_up_and_never_fall_short(seconds: int, increment: int, minimum: int) -> None:
    billed = billed_seconds(seconds, increment, minimum)
    assert billed >= max(seconds, minimum)
    assert billed < max(seconds + increment, minimum + 1)


def test_rent_for_zero_seconds_is_zero() -> None:
    assert billed_seconds(0, 60, 600) == 0


@pytest.mark.parametrize(
    ("usd", "micro", "text"), [("3.99", 3990000, "3.99"), ("0.000004", 4, "0.0000"), ("0", 0, "0.00")]
)
def test_dollars_and_microdollars(usd: str, micro: int, text: str) -> None:
    assert micro_usd(usd) == micro
    assert format_usd(micro) == text
