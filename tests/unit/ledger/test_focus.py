"""FOCUS 1.2: unit price x quantity is the cost on every row, and each column says what the specification wants of it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmtrain.ledger.focus import COLUMNS, Charge, FocusError, charge_of, charges_csv, focus_csv, focus_row
from llmtrain.ledger.lines import Line
from tests.unit.ledger.billed import line, of_pods, rows

NOW = datetime(2026, 11, 29, tzinfo=UTC)
PRICES = ("ListUnitPrice", "ContractedUnitPrice", "PricingCurrencyListUnitPrice", "PricingCurrencyContractedUnitPrice")
COSTS = ("BilledCost", "ListCost", "ContractedCost", "EffectiveCost", "PricingCurrencyEffectiveCost")
MANDATORY = {
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd",
    "BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodEnd",
    "ChargePeriodStart", "ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost", "PricingQuantity",
    "PricingUnit", "ProviderName", "PublisherName", "ServiceCategory", "ServiceName",
}  # fmt: skip
NULL = {"ChargeClass", "AvailabilityZone", "RegionId", "RegionName", "CapacityReservationId", "CapacityReservationStatus",
        "InvoiceId", *(f"CommitmentDiscount{part}" for part in ("Category", "Id", "Name", "Quantity", "Status", "Type", "Unit"))}  # fmt: skip


def row(one: Line, **more: Any) -> dict[str, str]:
    return focus_row(replace(charge_of(one, NOW), **more))


def holds(found: Mapping[str, str]) -> bool:
    """The specification's equation, as a reader with exact decimals and one with doubles find it."""
    with localcontext(prec=60):
        product = Decimal(found["ListUnitPrice"]) * Decimal(found["PricingQuantity"])
        exact = product.quantize(Decimal("0.000001"), ROUND_HALF_EVEN) == Decimal(found["BilledCost"])
    cost, doubles = float(found["BilledCost"]), float(found["ListUnitPrice"]) * float(found["PricingQuantity"])
    return exact and abs(doubles - cost) <= 1e-9 * max(1.0, abs(cost)) and Decimal(found["ListUnitPrice"]) >= 0


def hours(found: Mapping[str, str]) -> int:
    """The quantity in the seconds that were billed."""
    return round(Decimal(found["PricingQuantity"]) * 3600)


PODS = st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**9)), min_size=1, max_size=20)
SAME = st.builds(lambda times, price: [(time, price) for time in times],
                 st.lists(st.integers(0, 10**6), min_size=1, max_size=40), st.integers(0, 10**8))  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(PODS, SAME), st.sampled_from([1, 60, 3600]), st.sampled_from([0, 60, 3600]), st.sampled_from([0, 1, 8])
)
def test_price_times_quantity_is_the_cost_of_whatever_pods(
    pods: list[tuple[int, int]], increment: int, minimum: int, accelerators: int
) -> None:
    one = of_pods(pods, increment, minimum, accelerators)
    (found,) = rows(focus_csv([one], NOW))
    assert holds(found), found
    assert hours(found) == (one.accelerator_seconds or one.billed_seconds)
    assert len(found["PricingQuantity"].partition(".")[2]) >= 12
    assert {found[name] for name in PRICES} == {found["ListUnitPrice"]}
    assert {Decimal(found[name]) * 10**6 for name in COSTS} == {Decimal(one.cost_micro_usd)}


@settings(max_examples=200, deadline=None)
@given(st.integers(-(2**53), 2**53), st.integers(-(2**53), 2**53), st.integers(0, 10_000))
def test_price_times_quantity_is_the_cost_of_whatever_amounts(cost: int, seconds: int, pods: int) -> None:
    found = row(line(cost_micro_usd=cost, billed_seconds=seconds, accelerator_seconds=0, pods=pods))
    assert holds(found), found
    assert found["PricingUnit"] == ("Pod-Hours" if seconds or not cost else "Charges")
    assert not seconds or abs(hours(found)) == abs(seconds)


@pytest.mark.parametrize(
    ("pods", "more", "price", "quantity"),
    [
        ([(1260, 3_990_000)], {}, "3.990000", "0.350000000000"),
        ([(3601, 3_990_000)] * 8, {}, "3.990000", "8.002221553885"),
        ([(5, 3_990_000)], {"minimum": 60}, "3.990000", "0.016666666667"),
        ([(1, 3_990_000)], {"increment": 3600}, "3.990000", "1.000000000000"),
        ([(7200, 28_000_004)], {"accelerators": 8}, "3.5000005", "16.000000000000"),
        ([(3601, 0)], {}, "0.000000", "1.000277777778"),
        ([(0, 3_990_000)], {}, "0.000000", "0.000000000000"),
        ([(3600, 10**13)], {}, "10000000.000000", "1.000000000000"),
        ([(7, 10**13)], {}, "10000000.000000", "0.0019444444444"),
    ],
)
def test_the_price_is_the_plans_own_where_all_pods_had_one(
    pods: list[tuple[int, int]], more: dict[str, int], price: str, quantity: str
) -> None:
    found = row(of_pods(pods, **more))
    assert (found["ListUnitPrice"], found["PricingQuantity"]) == (price, quantity)
    assert holds(found)


def test_every_column_of_the_specification_is_there_in_its_order_and_ours_behind_them() -> None:
    own = [name for name in COLUMNS if name.startswith("x_")]
    focus = [name for name in COLUMNS if name not in own]
    assert [*focus, *own] == list(COLUMNS)
    assert len(focus) == 57
    assert sorted(focus) == focus
    assert set(focus) > MANDATORY
    (found,) = rows(focus_csv([line()], NOW))
    assert {name for name in focus if not found[name]} == NULL


@pytest.mark.parametrize(
    ("tenure", "commitment", "category"),
    [
        ("Rented", "", "Standard"),
        ("Rented", "OnDemand", "Standard"),
        ("Rented", "Spot", "Dynamic"),
        ("Rented", "Reserved", "Committed"),
        ("Spot", "", "Dynamic"),
        ("Reserved", "", "Committed"),
        ("Owned", "", "Other"),
        ("", "", "Other"),
    ],
)
def test_the_pricing_category_says_how_it_is_paid_for(tenure: str, commitment: str, category: str) -> None:
    found = row(line(tenure=tenure, commitment=commitment))
    assert found["PricingCategory"] == category
    assert ("CommitmentDiscountId" in found) == (category == "Committed")


def test_a_reserved_plan_is_a_commitment_that_its_hours_were_drawn_from() -> None:
    found = row(line(plan="h100-year", commitment="Reserved", accelerator="H100-SXM-80GB"))
    parts = {name.removeprefix("CommitmentDiscount"): value for name, value in found.items() if "Commitment" in name}
    assert parts == {
        "Category": "Usage",
        "Id": "llmtrain.dev/computeplans/h100-year/Accelerator-Hours",
        "Name": "h100-year",
        "Quantity": found["PricingQuantity"],
        "Status": "Used",
        "Type": "Reserved",
        "Unit": "Accelerator-Hours",
    }
    assert (found["BilledCost"], found["EffectiveCost"]) == ("1.396500", "1.396500")


def test_a_sku_has_a_meter_and_a_price_id_that_no_price_and_no_month_is_part_of() -> None:
    dear, cheap = row(line(accelerator="H100", commitment="Spot")), row(line(cost_micro_usd=1000, accelerator="H100",
                                                                           commitment="Spot", start="2026-10-01T00:00:00Z"))  # fmt: skip
    assert dear["ListUnitPrice"] != cheap["ListUnitPrice"]
    for name in ("SkuId", "SkuMeter", "SkuPriceId", "SkuPriceDetails"):
        assert dear[name] == cheap[name]
    assert (dear["SkuId"], dear["SkuMeter"], dear["SkuPriceId"]) == (
        "h100",
        "Compute Usage",
        "h100/Rented/Accelerator-Hours",
    )
    assert json.loads(dear["SkuPriceDetails"]) == {"GpuCount": 1, "x_Accelerator": "H100", "x_Commitment": "Spot",
                                                   "x_Tenure": "Rented"}  # fmt: skip
    head = row(line(role="head", accelerator_seconds=0, accelerator="H100"))
    assert head["SkuPriceId"] == "h100/Rented/Pod-Hours"
    assert json.loads(head["SkuPriceDetails"]) == {"x_Tenure": "Rented"}


def test_tags_are_the_jobs_labels_as_they_are_and_ours_have_a_prefix() -> None:
    found = row(line(labels={"cost-centre": "nlp", "example.com/owner": ""}))
    assert json.loads(found["Tags"]) == {
        "cost-centre": "nlp",
        "example.com/owner": "",
        "llmtrain.dev/job": "docs-gpt",
        "llmtrain.dev/role": "worker",
        "llmtrain.dev/stage": "Training",
        "llmtrain.dev/tenure": "Rented",
    }


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, "Training worker pods of docs-gpt on h100 at 3.99 USD per Accelerator-Hour, settled"),
        (
            {"state": "Provisional", "cost_micro_usd": 0},
            "pods of docs-gpt on h100 at 0 USD per Accelerator-Hour, provisional",
        ),
        ({"job": "", "labels": {"team": "nlp"}}, "pods of jobs with team=nlp on h100"),
        ({"job": ""}, "pods of jobs on h100"),
        ({"job": "", "state": "CarriedOver", "plan": ""}, "pods of deleted jobs on unpriced at 3.99 USD"),
    ],
)
def test_the_description_says_what_was_paid_for_at_which_price(more: dict[str, Any], words: str) -> None:
    assert words in row(line(**more))["ChargeDescription"]


def test_what_was_carried_over_is_of_no_resource_and_takes_the_month_that_is_asked_for() -> None:
    found = row(line(job="", uid="", state="CarriedOver", start="", end=""))
    assert not {"ResourceId", "ResourceName", "ResourceType"} & set(found)
    assert (found["BillingPeriodStart"], found["ChargePeriodStart"]) == ("2026-11-01T00:00:00Z",) * 2
    assert found["ChargePeriodEnd"] == "2026-11-29T00:00:00Z"
    assert "carried over, unverified" in found["ChargeDescription"]


def test_a_charge_of_another_period_and_class_says_so() -> None:
    period = {"billing_start": datetime(2026, 12, 1, tzinfo=UTC), "billing_end": datetime(2027, 1, 1, tzinfo=UTC)}
    late = line(cost_micro_usd=-3, billed_seconds=0, accelerator_seconds=0)
    found = row(late, correction=True, invoice="2026-12", **period)
    assert (found["ChargeClass"], found["InvoiceId"]) == ("Correction", "2026-12")
    assert (found["BillingPeriodStart"], found["BillingPeriodEnd"]) == ("2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z")
    assert found["ChargePeriodStart"] == "2026-11-20T10:00:00Z"
    assert (found["PricingUnit"], found["ListUnitPrice"]) == ("Charges", "0.000003")
    assert holds(found)
    assert len({row(late)["x_RowId"], row(late, **period)["x_RowId"], found["x_RowId"]}) == 3


def test_rows_of_one_id_say_which_they_are() -> None:
    charges = [charge_of(line(), NOW)] * 3
    ids = [found["x_RowId"] for found in rows(charges_csv(charges))]
    assert ids == [ids[0], f"{ids[0]}-2", f"{ids[0]}-3"]


def test_a_time_that_is_none_is_refused_with_its_job() -> None:
    with pytest.raises(FocusError, match=r"job team-a/docs-gpt, stage Training: .*yesterday"):
        focus_csv([line(start="yesterday")], NOW)


def test_a_charge_ends_no_sooner_than_it_starts() -> None:
    assert charge_of(line(end="2026-11-01T00:00:00Z"), NOW) == Charge(
        line(end="2026-11-01T00:00:00Z"),
        datetime(2026, 11, 20, 10, tzinfo=UTC),
        datetime(2026, 11, 20, 10, tzinfo=UTC),
        datetime(2026, 11, 1, tzinfo=UTC),
        datetime(2026, 12, 1, tzinfo=UTC),
    )
