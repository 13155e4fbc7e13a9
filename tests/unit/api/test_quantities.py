"""Quantities as Kubernetes writes them, and what is none."""

from decimal import Decimal

import pytest

from llmtrain.api.base import parse_quantity

# Values by the rule of resource.Quantity: a decimal number, then a decimal or a binary suffix, or a decimal exponent.
VALUES = {
    "0": "0", "8": "8", "20k": "20000", "20000": "20000", "0.5": "0.5", ".5": "0.5", "5.": "5", "+1": "1",
    "500m": "0.5", "100u": "0.0001", "250n": "0.00000025", "1e3": "1000", "1E3": "1000", "12e-1": "1.2", "1E": "1e18",
    "1M": "1000000", "2G": "2000000000", "1T": "1e12", "1P": "1e15", "1Ki": "1024", "1.1Gi": "1181116006.4",
    "3Mi": "3145728", "1Ti": "1099511627776", "1Pi": "1125899906842624", "2Ei": "2305843009213693952",
}  # fmt: skip


@pytest.mark.parametrize("text", VALUES)
def test_a_quantity_has_the_value_that_kubernetes_gives_it(text: str) -> None:
    assert parse_quantity(text) == Decimal(VALUES[text])


@pytest.mark.parametrize(
    "text",
    ["", "-1", "k", "1K", "1ki", "1KI", "1g", "1 Gi", " 1", "1\n", "1,5", "1..5", "1.5.2", ".", "1e", "1e+", "1e1.5", "1e3k", "0x10",
     "nan", "inf", "1_000", "\u0661", "1e999", "9" * 33],
)  # fmt: skip
def test_what_is_none_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="is no quantity; it must be"):
        parse_quantity(text)
