"""The estimate of whole jobs: closed forms, published runs, and what moves which number."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmtrain.cost.assumptions import START_HOURS
from llmtrain.cost.errors import InputError
from llmtrain.cost.estimate import Estimate
from llmtrain.cost.mfu import Situation, calendar_mfu
from llmtrain.cost.plans import Plan, Pods, bill_usd
from llmtrain.cost.ranges import Range
from llmtrain.cost.work import Measured
from llmtrain.pricing.job import Known, estimate_job
from llmtrain.pricing.plans import plan_of
from llmtrain.pricing.views import estimate_view
from tests.unit.cost.jobs import CPU, OWNED, RENTED, job_spec, plan_specs

TODAY = date(2026, 11, 25)


def estimated(known: Known | None = None, plans: Any = None, **training: Any) -> Estimate:
    return estimate_job("job", job_spec(**training), plans or plan_specs(), TODAY, known or Known())


def test_training_hours_are_flops_over_peak_and_calendar_mfu() -> None:
    """F D / (G P MFU 3600), by hand for Llama-2-7B: 6 x 6.607e9 + 6 L d s FLOPs a token."""
    found = estimated()
    matrices = 32 * (4 * 4096**2 + 3 * 4096 * 11008) + 32000 * 4096
    flops = (6 * matrices + 6 * 32 * 4096 * 4096) * 2e12
    mfu = calendar_mfu(Situation(True, matrices, 4096, 64))
    training = found.stage("Training")
    assert training is not None
    assert training.hours.p50 == pytest.approx(flops / (64 * 989.4e12 * mfu.p50 * 3600) + START_HOURS.p50, rel=1e-3)
    assert training.accelerator_hours.p50 == pytest.approx(64 * training.hours.p50)


@pytest.mark.parametrize(("recompute", "longer"), [("None", 1.0), ("Alternate", 7 / 6), ("Full", 4 / 3)])
def test_recomputation_lengthens_the_training_by_its_forward_passes(recompute: str, longer: float) -> None:
    kept, found = estimated().stage("Training"), estimated(compute={"recompute": recompute}).stage("Training")
    assert kept is not None
    assert found is not None
    start = START_HOURS.p50
    assert found.hours.p50 - start == pytest.approx(longer * (kept.hours.p50 - start))


def test_llama_2_70b_on_a100_is_estimated_around_the_published_hours() -> None:
    a100 = RENTED | {"accelerator": {"product": "A100-SXM-80GB"}}
    workers = {"replicas": 256, "acceleratorsPerWorker": 8}
    spec = job_spec(cluster={"planRef": {"name": "a100"}, "workers": workers}, globalBatchTokens=2**22)
    spec = spec.model_copy(update={"model": spec.model.model_validate({"preset": "llama2-70b", "contextLength": 4096})})
    hours = estimate_job("llama", spec, plan_specs(a100=a100), TODAY).stage("Training")
    assert hours is not None
    assert hours.accelerator_hours.p10 < 1_720_320 < hours.accelerator_hours.p90


def test_dollars_are_the_pods_hours_at_the_plans_price() -> None:
    training = estimated().stage("Training")
    assert training is not None
    assert training.usd.p50 == pytest.approx(training.accelerator_hours.p50 * 3.99, rel=1e-4)


def test_kilowatt_hours_of_an_h100_hour_are_those_of_a_measured_facility() -> None:
    """Granite 3.0: 0.91 kWh per H100-hour, both sizes."""
    training = estimated().stage("Training")
    assert training is not None
    assert training.kwh.p50 / training.accelerator_hours.p50 == pytest.approx(0.91, rel=0.01)


def test_totals_add_the_stages() -> None:
    found = estimated()
    for quantile in ("p10", "p50", "p90"):
        assert getattr(found.usd, quantile) == pytest.approx(sum(getattr(s.usd, quantile) for s in found.stages))
    assert [stage.name for stage in found.stages] == ["Preflight", "Curation", "Training", "Evaluation"]


def test_the_json_has_its_stable_names() -> None:
    view = estimate_view(estimated())
    for stage in view["stages"]:
        assert all(set(stage[name]) == {"p10", "p50", "p90"} for name in ("hours", "usd", "kwh"))
        assert stage["usd"]["p10"] <= stage["usd"]["p50"] <= stage["usd"]["p90"]
    assert {"hours", "usd", "kwh"} <= set(view["totals"])
    assert view["schema"] == "llmtrain.dev/estimate/v1"


def test_every_assumption_has_a_source() -> None:
    assert all(assumption.source for assumption in estimated().assumptions)


def test_a_measured_speed_replaces_the_prior_and_narrows_the_range() -> None:
    measured = estimated(Known(measured=Measured(0.45, "calibration of 2026-11-25"))).stage("Training")
    prior = estimated().stage("Training")
    assert measured is not None
    assert prior is not None
    assert measured.hours.p90 / measured.hours.p10 < 1.2 < prior.hours.p90 / prior.hours.p10
    assert any("calibration of 2026-11-25" in a.source for a in estimated(Known(measured=Measured(0.45, "calibration of 2026-11-25"))).assumptions)  # fmt: skip


def test_preemptions_take_time() -> None:
    spot = RENTED | {"rented": RENTED["rented"] | {"commitment": "Spot", "preemptionsPerAcceleratorHour": "0.001"}}
    calm, interrupted = estimated(), estimated(plans=plan_specs(h100_rented=spot))
    assert interrupted.stages[2].hours.p50 > calm.stages[2].hours.p50 * 1.01


def test_full_precision_halves_the_peak() -> None:
    half, full = estimated().stages[2], estimated(precision="Fp32").stages[2]
    assert full.hours.p50 - START_HOURS.p50 == pytest.approx(2 * (half.hours.p50 - START_HOURS.p50))


def test_the_size_of_the_sources_replaces_its_assumption() -> None:
    """16 cores at 0.6 MB a second."""
    curation = estimated(Known(input_bytes=1e12)).stages[1]
    assert curation.hours.p50 == pytest.approx(1e12 / (16 * 0.6e6) / 3600 + START_HOURS.p50)


def test_a_model_that_does_not_fit_is_warned_of() -> None:
    """16 bytes for each of 6.74e9 parameters on one accelerator of 80 GB, where every one keeps a copy."""
    copied = estimated(parallelism={"sharding": "Ddp"})
    assert any("training needs" in warning and "100.4 GiB" in warning for warning in copied.warnings)
    assert not any("training needs" in warning for warning in estimated().warnings)


@pytest.mark.parametrize(
    ("parallelism", "spread_over"),
    [
        ({}, 64),
        ({"sharding": "Ddp"}, 1),
        ({"sharding": "Ddp", "tensor": 8, "pipeline": 2}, 16),
        ({"sharding": "Hsdp", "shardSize": 8}, 8),
        ({"tensor": 8}, 64),
    ],
)
def test_states_are_spread_as_the_manifest_says(parallelism: dict[str, Any], spread_over: int) -> None:
    facts = estimated(parallelism=parallelism).model
    assert facts.state_gib == pytest.approx(16 * 6_738_415_616 / spread_over / 2**30)


def test_recomputation_and_smaller_micro_batches_need_less_memory() -> None:
    plain, one, again = (estimated(compute=compute).model.activation_gib for compute in ({}, {"microBatchSequences": 1}, {"recompute": "Full"}))  # fmt: skip
    assert one == pytest.approx(plain / 2)
    assert again == pytest.approx(plain * 2 / 34)


def test_accelerators_that_divide_sequences_hold_a_part_of_each() -> None:
    whole, parts = (estimated(parallelism={"context": n}, compute={"microBatchSequences": 2}).model for n in (1, 8))
    assert parts.activation_gib == pytest.approx(whole.activation_gib / 8)
    assert parts.state_gib == whole.state_gib


def test_old_prices_are_warned_of() -> None:
    assert any("h100-rented is 269 days old, more than 90" in warning for warning in estimated().warnings)
    assert not any("days old" in w for w in estimate_job("job", job_spec(), plan_specs(), date(2026, 3, 2)).warnings)


@settings(max_examples=30)
@given(tokens=st.integers(10**9, 10**13), factor=st.integers(2, 9))
def test_more_tokens_never_cost_less(tokens: int, factor: int) -> None:
    few, many = estimated(tokens=tokens), estimated(tokens=tokens * factor)
    assert many.usd.p50 > few.usd.p50
    assert many.stages[2].hours.p50 - START_HOURS.p50 == pytest.approx(
        factor * (few.stages[2].hours.p50 - START_HOURS.p50)
    )


@given(hours=st.floats(0, 1000), minimum=st.integers(0, 3600), increment=st.integers(1, 3600))
def test_the_bill_of_an_estimate_follows_increments_and_minimums(hours: float, minimum: int, increment: int) -> None:
    plan = Plan("p", "Rented", Decimal("3.6"), increment_seconds=increment, minimum_seconds=minimum)
    bill = bill_usd(plan, [Pods(3, Decimal(1), Decimal(1), 1)], hours)
    seconds = round(hours * 3600)
    assert bill >= 3 * seconds * 0.001 - 1e-6
    assert bill <= 3 * max(minimum, seconds + increment) * 0.001 + 1e-6


@pytest.mark.parametrize(
    ("plan", "field"),
    [
        (
            {"tenure": "Rented", "accelerator": {"product": "H100-SXM-80GB"}, "rented": {}},
            "spec.rented.acceleratorHourUsd",
        ),
        ({"tenure": "Rented", "rented": {"cpuHourUsd": "1"}}, "spec.rented.memoryGibHourUsd"),
        ({"tenure": "Rented"}, "spec.rented"),
        (RENTED | {"accelerator": {"product": "H1000"}}, "spec.accelerator.product"),
        (RENTED | {"accelerator": {"product": "Mine", "peakTflops": "0"}}, "spec.accelerator.peakTflops"),
        (OWNED | {"owned": OWNED["owned"] | {"utilization": "0"}}, "spec.owned.utilization"),
        (OWNED | {"owned": OWNED["owned"] | {"serverPerAcceleratorUsd": "0"}}, "spec.owned.serverPerAcceleratorUsd"),
    ],
)
def test_a_plan_that_cannot_be_priced_is_refused_by_the_name_of_the_field(plan: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as caught:
        plan_of("plan", plan_specs(plan=plan)["plan"])
    assert caught.value.field == field


def test_an_unknown_chip_names_the_nearest_ones() -> None:
    with pytest.raises(InputError, match="did you mean H100-SXM-80GB"):
        plan_of("plan", plan_specs(plan=RENTED | {"accelerator": {"product": "H100-SXM"}})["plan"])


def test_a_chip_of_ones_own_needs_its_peak_only() -> None:
    own = RENTED | {"accelerator": {"product": "Mine", "peakTflops": "500", "memoryGib": "64"}}
    chip = plan_of("plan", plan_specs(plan=own)["plan"]).chip
    assert chip is not None
    assert chip.peak_flops == 5e14
    assert chip.memory_gb == pytest.approx(68.7, rel=0.001)


def test_a_product_label_of_nodes_is_a_name_too() -> None:
    labelled = RENTED | {"accelerator": {"product": "NVIDIA-H100-80GB-HBM3"}}
    chip = plan_of("plan", plan_specs(plan=labelled)["plan"]).chip
    assert chip is not None
    assert chip.name == "H100-SXM-80GB"


def test_a_missing_plan_is_named_with_the_field_and_what_there_is() -> None:
    with pytest.raises(InputError, match=r"spec.training.cluster.planRef.name.*`h100-rented` does not exist.*cpu"):
        estimate_job("job", job_spec(), {"cpu": plan_specs()["cpu"]}, TODAY)


def test_a_price_of_zero_is_a_price_that_was_stated() -> None:
    free = RENTED | {"rented": {"acceleratorHourUsd": "0"}}
    assert estimated(plans=plan_specs(h100_rented=free)).stages[2].usd == Range(0, 0, 0)


def test_training_on_cpus_needs_no_chip() -> None:
    cluster = {"planRef": {"name": "cpu"}, "workers": {"replicas": 2, "cpu": "4", "memory": "8Gi"}}
    training = estimated(cluster=cluster, tokens=10**6, globalBatchTokens=8192).stages[2]
    assert training.accelerators == 0
    assert training.usd.p50 > 0


def test_accelerators_from_a_plan_of_cpus_are_refused() -> None:
    with pytest.raises(InputError, match=r"spec.accelerator.*`h100-rented` has none"):
        estimated(plans=plan_specs(h100_rented=CPU))


def test_a_tokenizer_from_a_file_has_the_presets_published_vocabulary() -> None:
    """Llama 3 8B as published; with a trained tokenizer of 32,000 entries it is smaller."""
    spec = job_spec()
    curation = spec.curation.model_copy(
        update={"tokenizer": spec.curation.tokenizer.model_copy(update={"file": "t.json"})}
    )
    model = spec.model.model_validate({"preset": "llama3-8b", "contextLength": 4096})
    spec = spec.model_copy(update={"curation": curation, "model": model})
    assert estimate_job("job", spec, plan_specs(), TODAY).model.parameters == 8_030_261_248


def test_evaluators_are_paid_for_as_long_as_training_lasts_by_their_own_plan() -> None:
    spec = job_spec()
    size = {"replicas": 3, "cpu": "8", "memory": "32Gi"}
    during = {"everyTokens": 10**9, "planRef": {"name": "cpu"}, "evaluators": size}
    raw = spec.to_dict()
    raw["evaluation"]["duringTraining"] = during
    without, found = (estimate_job("job", s, plan_specs(), TODAY) for s in (spec, type(spec).model_validate(raw)))
    before, after = without.stage("Training"), found.stage("Training")
    assert before is not None
    assert after is not None
    hourly = 3 * (8 * 0.03 + 32 * 0.004)
    assert after.usd.p50 - before.usd.p50 == pytest.approx(hourly * before.hours.p50, rel=1e-6)
    assert (after.hours, after.accelerator_hours) == (before.hours, before.accelerator_hours)
    assert found.usd.p50 - without.usd.p50 == pytest.approx(after.usd.p50 - before.usd.p50, rel=1e-6)


@pytest.mark.parametrize(
    ("plan", "accelerators", "told"),
    [("h100-rented", 0, True), ("h100-owned", 0, True), ("h100-rented", 1, False), ("cpu", 0, False)],
)
def test_a_stage_that_its_plan_has_no_price_for_is_told(plan: str, accelerators: int, told: bool) -> None:
    workers = {"replicas": 2, "acceleratorsPerWorker": accelerators, "cpu": "4", "memory": "8Gi"}
    found = estimated(cluster={"planRef": {"name": plan}, "workers": workers})
    unpriced = f"Training asks for no accelerators, and plan {plan} prices them alone: it is billed 0.00 USD"
    assert (unpriced in found.warnings) == told
    stage = found.stage("Training")
    assert stage is not None
    assert (stage.usd.p90 == 0) == told
