"""Money against closed forms and the reference results of the cost model."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmtrain.cost.money import amount_micro_usd, billed_seconds, format_usd, micro_usd


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


def bill(seconds: int, micro_usd_per_hour: int, increment: int = 1, minimum: int = 0) -> int:
    return amount_micro_usd(billed_seconds(seconds, increment, minimum), micro_usd_per_hour)


pieces = st.lists(st.integers(0, 10**6), min_size=1, max_size=6)


@given(seconds=pieces, per_second=st.integers(0, 10**6))
def test_without_increments_cost_is_linear_and_splitting_changes_nothing(seconds: list[int], per_second: int) -> None:
    """At a price of whole microdollars a second nothing is rounded."""
    assert sum(bill(piece, per_second * 3600) for piece in seconds) == per_second * sum(seconds)


@given(seconds=pieces, hour=st.integers(0, 10**9))
def test_rounding_moves_a_split_bill_by_half_a_microdollar_a_piece(seconds: list[int], hour: int) -> None:
    split = sum(bill(piece, hour) for piece in seconds)
    assert abs(split - bill(sum(seconds), hour)) <= (len(seconds) + 1) / 2


@given(seconds=pieces, increment=st.integers(1, 3600), minimum=st.integers(0, 3600))
def test_a_split_costs_no_less_and_at_most_an_increment_or_minimum_a_piece_more(
    seconds: list[int], increment: int, minimum: int
) -> None:
    split = sum(billed_seconds(piece, increment, minimum) for piece in seconds)
    whole = billed_seconds(sum(seconds), increment, minimum)
    assert whole <= split <= whole + len(seconds) * max(increment, minimum)
