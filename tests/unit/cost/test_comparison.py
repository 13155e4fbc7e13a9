"""Every plan at equal work: closed forms of its columns, and the verdict on pairs."""

from datetime import date
from typing import Any

import pytest

from llmtrain.cost.comparison import Comparison, compare
from llmtrain.pricing.job import run_of
from llmtrain.pricing.plans import plan_of
from llmtrain.pricing.views import comparison_view
from tests.unit.cost.jobs import CPU, OWNED, RENTED, job_spec, plan_specs

TODAY = date(2026, 11, 25)


def compared(**plans: Any) -> Comparison:
    specs = plan_specs(**plans)
    views = {name: plan_of(name, spec) for name, spec in specs.items()}
    return compare(run_of("job", job_spec(), views), list(views.values()))


def by_plan(found: Comparison, name: str) -> Any:
    return next(result for result in found.results if result.plan.name == name)


def test_dollars_per_work_are_price_over_peak_and_mfu() -> None:
    """$ / 1e21 FLOPs = p / (P MFU 3600) x 1e21."""
    found = by_plan(compared(), "h100-rented")
    hours = found.estimate.hours.p50 - 60 / 3600
    mfu = compared().train_flops / (64 * hours * 3600 * 989.4e12)
    assert found.usd_per_1e21_flops == pytest.approx(3.99 / (989.4e12 * mfu * 3600) * 1e21, rel=0.001)
    assert found.usd_per_million_tokens * 2e6 == pytest.approx(found.estimate.usd.p50, rel=0.001)


def test_avoidable_dollars_are_all_of_rent_nothing_of_a_reservation_and_the_power_of_machines_owned() -> None:
    reserved = RENTED | {"rented": RENTED["rented"] | {"commitment": "Reserved"}}
    found = compared(h100_reserved=reserved)
    rented, booked, owned = (by_plan(found, name) for name in ("h100-rented", "h100-reserved", "h100-owned"))
    assert rented.avoidable_usd == rented.estimate.usd
    assert booked.avoidable_usd.p90 == 0
    assert owned.avoidable_usd.p50 == pytest.approx(0.0592 * owned.estimate.accelerator_hours.p50, rel=0.001)


def test_a_plan_without_accelerators_is_left_out_with_its_reason() -> None:
    assert compared(cpu=CPU).skipped == [("cpu", "it has no accelerator, and the training asks for some")]


def test_the_pair_is_the_published_verdict() -> None:
    (pair,) = compared().pairs
    assert pair.verdict.utilization == pytest.approx(0.51, abs=0.005)
    assert pair.cheaper_at_plan_use == "h100-owned"


def test_a_slower_chip_is_worth_less_rent() -> None:
    """An hour of A100 does less: its rent counts by the work that it does in it."""
    found = compared(a100=RENTED | {"accelerator": {"product": "A100-SXM-80GB"}})
    pair = next(pair for pair in found.pairs if pair.rented.name == "a100")
    slow, fast = by_plan(found, "a100"), by_plan(found, "h100-owned")
    ratio = slow.estimate.accelerator_hours.p50 / fast.estimate.accelerator_hours.p50
    assert ratio > 2
    assert pair.rent.accelerator_hour_usd == pytest.approx(3.99 * ratio)


def test_other_work_on_the_machines_counts_for_owning() -> None:
    (alone,) = compared().pairs
    shared = OWNED | {"owned": OWNED["owned"] | {"otherAnnualAcceleratorHours": 400_000}}
    (together,) = compared(h100_owned=shared).pairs
    assert together.known_annual_hours - alone.known_annual_hours == 400_000
    assert (alone.cheaper_for_known_hours, together.cheaper_for_known_hours) == ("h100-rented", "h100-owned")
    assert alone.available_annual_hours == pytest.approx(64 * 8760 * 0.97)
    assert alone.break_even_annual_hours == pytest.approx(0.5078 * 64 * 8760 * 0.97, rel=0.001)


def test_price_paths_move_the_verdict_the_way_the_rent_goes() -> None:
    (pair,) = compared().pairs
    stays, falls, rises = (path.utilization for path in pair.paths)
    assert stays is not None
    assert falls is not None
    assert rises is not None
    assert rises < stays < falls


def test_the_view_carries_what_people_look_for() -> None:
    view = comparison_view(compared())
    plan, pair = view["plans"][0], view["rentOrOwn"][0]
    assert {"hours", "allocatedUsd", "avoidableUsd", "usdPer1e21Flops", "usdPerMillionTokens"} <= set(plan)
    wanted = {"breakEvenUtilization", "breakEvenHours", "breakEvenMonth", "tornado", "pricePaths", "marginalHourUsd"}
    assert wanted | {"otherAnnualAcceleratorHours"} <= set(pair)
