"""Every plan at equal work: closed forms of its columns, and the verdict on pairs."""

from datetime import date
from typing import Any

import pytest

from llmtrain.cost.comparison import Comparison, compare
from llmtrain.pages.compare import compare_page
from llmtrain.pricing.job import run_of
from llmtrain.pricing.measured import with_speed
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


def rented(commitment: str, hour: str, **more: Any) -> dict[str, Any]:
    return RENTED | {"rented": {"commitment": commitment, "acceleratorHourUsd": hour, **more}}


def pair_of(found: Comparison, own: str, rent: str) -> Any:
    return next(pair for pair in found.pairs if (pair.owned.name, pair.rented.name) == (own, rent))


@pytest.mark.parametrize("use", ["0.50", "0.70"])
def test_the_same_price_on_demand_and_reserved_are_two_verdicts(use: str) -> None:
    owned = OWNED | {"owned": OWNED["owned"] | {"utilization": use}}
    found = compared(h100_owned=owned, demand=rented("OnDemand", "2.60"), booked=rented("Reserved", "2.60"))
    assert pair_of(found, "h100-owned", "demand").cheaper_at_plan_use == "demand"
    assert pair_of(found, "h100-owned", "booked").cheaper_at_plan_use == "h100-owned"
    assert pair_of(found, "h100-owned", "booked").cheaper_for_known_hours == "h100-owned"


def test_spot_carries_the_work_that_it_does_again() -> None:
    """Of the same chip more hours are rented than an owner needs, so its price counts that much more."""
    found = compared(calm=rented("Spot", "2.00"), wild=rented("Spot", "2.00", preemptionsPerAcceleratorHour="0.005"))
    calm, wild = (pair_of(found, "h100-owned", name) for name in ("calm", "wild"))
    more = by_plan(found, "wild").estimate.accelerator_hours.p50 / by_plan(found, "calm").estimate.accelerator_hours.p50
    assert more > 1.05
    assert calm.rent.accelerator_hour_usd == pytest.approx(2.00)
    assert wild.rent.accelerator_hour_usd == pytest.approx(2.00 * more)
    assert wild.verdict.utilization_uncapped < calm.verdict.utilization_uncapped


@pytest.mark.parametrize("commitment", ["OnDemand", "Reserved", "Spot"])
def test_owning_never_pays_against_machines_that_are_free(commitment: str) -> None:
    """Granted hours have a price as well, 0: the pair had been left out without a word."""
    found = compared(granted=rented(commitment, "0"))
    pair = pair_of(found, "h100-owned", "granted")
    assert (pair.cheaper_at_plan_use, pair.cheaper_for_known_hours) == ("granted", "granted")
    assert (pair.verdict.npv_rent_usd, pair.verdict.utilization_uncapped, pair.verdict.month) == (0, None, None)
    assert pair_of(found, "h100-owned", "h100-rented").rent.accelerator_hour_usd == pytest.approx(3.99)
    assert "granted" in compare_page(found)


def test_a_plan_that_cannot_be_priced_and_one_named_twice_leave_the_others_alone() -> None:
    hopeless = rented("Spot", "2.00", preemptionsPerAcceleratorHour="1000")
    views = {name: plan_of(name, spec) for name, spec in plan_specs(hopeless=hopeless, cpu=CPU).items()}
    found = compare(run_of("job", job_spec(), views), [*views.values(), views["h100-rented"]])
    assert [result.plan.name for result in found.results] == ["h100-rented", "h100-owned"]
    assert [name for name, _ in found.skipped] == ["cpu", "hopeless"]
    assert "get nothing done" in found.skipped[1][1]


ON_CPUS: dict[str, Any] = {
    "cluster": {"planRef": {"name": "cpu"}, "head": {"cpu": "1", "memory": "1Gi"},
                "workers": {"replicas": 4, "cpu": "16", "memory": "64Gi"}},
    "tokens": 1_000_000_000,
}  # fmt: skip


def cpus_compared(**plans: Any) -> Comparison:
    views = {name: plan_of(name, spec) for name, spec in plan_specs(**plans).items()}
    return compare(run_of("job", job_spec(**ON_CPUS), views), list(views.values()))


def test_training_on_cpus_is_compared_by_cores_and_their_price_alone() -> None:
    mixed = RENTED | {"rented": {"acceleratorHourUsd": "3.99", "cpuHourUsd": "0.06", "memoryGibHourUsd": "0.008"}}
    found = cpus_compared(dear=CPU | {"rented": {"cpuHourUsd": "0.06", "memoryGibHourUsd": "0.008"}}, mixed=mixed)
    assert [name for name, _ in found.skipped] == ["h100-rented", "h100-owned"]
    assert {reason for _, reason in found.skipped} == {"it prices accelerators, and the training asks for none"}
    cheap, dear, both = (by_plan(found, name) for name in ("cpu", "dear", "mixed"))
    assert cheap.estimate.hours == dear.estimate.hours == both.estimate.hours, "the same cores are as fast anywhere"
    hourly = 65 * 0.03 + 257 * 0.004
    assert cheap.estimate.usd.p50 == pytest.approx(hourly * cheap.estimate.hours.p50, rel=0.001)
    assert dear.estimate.usd.p50 == both.estimate.usd.p50 == pytest.approx(2 * cheap.estimate.usd.p50, rel=0.001)
    assert found.pairs == []


@pytest.mark.parametrize("plan", ["h100-rented", "h100-owned"])
def test_training_told_to_use_cpus_is_as_slow_as_cores_and_pays_for_what_it_holds(plan: str) -> None:
    """As the demo's: its pods hold accelerators and compute without them."""
    views = {name: plan_of(name, spec) for name, spec in plan_specs().items()}
    workers = {"replicas": 4, "acceleratorsPerWorker": 1, "cpu": "16", "memory": "64Gi"}
    held = job_spec(**ON_CPUS | {"cluster": {"planRef": {"name": plan}, "workers": workers}, "device": "Cpu"})
    found = compare(run_of("job", held, views), [views[plan]]).results[0]
    slow = by_plan(cpus_compared(), "cpu")
    assert found.estimate.hours.p50 == pytest.approx(slow.estimate.hours.p50, rel=1e-6)
    assert found.estimate.usd.p50 == pytest.approx(
        4 * float(views[plan].accelerator_hour_usd) * slow.estimate.hours.p50, rel=0.001
    )


def test_a_speed_measured_on_cpus_holds_on_every_plan_of_cpus() -> None:
    views = {name: plan_of(name, spec) for name, spec in plan_specs(other=CPU).items()}
    run = with_speed(run_of("job", job_spec(**ON_CPUS), views), 1000.0)
    found = compare(run, [views["cpu"], views["other"]])
    hours = [result.estimate.hours.p50 for result in found.results]
    assert hours[0] == hours[1]
    assert 1e9 / 1000 / 3600 < hours[0] < 1.5 * 1e9 / 1000 / 3600
