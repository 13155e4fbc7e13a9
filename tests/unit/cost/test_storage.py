"""Storage and egress where a plan prices them: closed forms, and that no total and no other number has them."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from llmtrain.api.job import JobSpec
from llmtrain.cli.compare import rendered
from llmtrain.cli.outputs import PageOutput
from llmtrain.cost.comparison import compare
from llmtrain.cost.estimate import Estimate
from llmtrain.cost.ranges import Range, exactly
from llmtrain.cost.storage import StorageCost, StoragePrices, training_files
from llmtrain.pages.compare import compare_page
from llmtrain.pricing.job import estimate_job, run_of
from llmtrain.pricing.plans import plan_of
from llmtrain.pricing.views import comparison_view, estimate_view
from tests.unit.cost.jobs import RENTED, job, job_spec, plan_specs

STORED: Mapping[str, Any] = RENTED | {"storage": {"gibMonthUsd": "0.02", "egressGibUsd": "0.09"}}
LLAMA = 6_738_415_616
"""Parameters of the test's model."""


def estimated(**training: Any) -> Estimate:
    return estimate_job("job", job_spec(**training), plan_specs(h100_rented=STORED))


def test_a_checkpoint_of_seventy_billion_parameters_is_nearly_a_terabyte() -> None:
    files = training_files(70e9, 0, 2, 1, 0)
    assert files.checkpoint_gib * 2**30 == pytest.approx(0.84e12)
    cost = StorageCost(StoragePrices(0.023, 0.09), files)
    assert cost.usd(exactly(730)).p50 == pytest.approx(782.31 * (0.023 + 0.09), rel=1e-4)
    assert cost.egress_usd == pytest.approx(70.41, abs=0.01)


@pytest.mark.parametrize(
    ("checkpoint", "kept"),
    [({}, 2), ({"keepLast": 5}, 5), ({"keepEvery": 1000}, 2 + 476 / 2), ({"keepLast": 1, "keepEvery": 400_000}, 1.5)],
)
def test_what_is_kept_while_training_runs_follows_from_the_manifest(checkpoint: dict[str, Any], kept: float) -> None:
    """476,837 steps; a vocabulary of 32,000 takes two bytes a token."""
    stage = estimated(checkpoint=checkpoint).stage("Training")
    assert stage is not None
    assert stage.storage is not None
    assert stage.storage_usd is not None
    gib = kept * LLAMA * 12 / 2**30 + 2e12 * 2 / 2**30
    assert stage.storage.files.kept_gib == pytest.approx(gib)
    leaving = LLAMA * 12 / 2**30 * 0.09
    for usd, hours in zip(vars(stage.storage_usd).values(), vars(stage.hours).values(), strict=True):
        assert usd == pytest.approx(gib * 0.02 * hours / 730 + leaving)


def test_a_large_vocabulary_takes_twice_the_bytes() -> None:
    body = job()
    body["curation"]["tokenizer"] = {"train": {"vocabularySize": 70_000}}
    body["model"] = {"preset": "auto", "contextLength": 4096}
    stage = estimate_job("job", JobSpec.model_validate(body), plan_specs(h100_rented=STORED)).stage("Training")
    assert stage is not None
    assert stage.storage is not None
    assert stage.storage.files.tokens_gib == pytest.approx(2e12 * 4 / 2**30)


def test_it_is_told_beside_the_bill_and_in_no_total() -> None:
    with_prices, without = estimated(), estimate_job("job", job_spec(), plan_specs())
    assert (
        with_prices.usd
        == without.usd
        == Range(*(sum(getattr(s.usd, q) for s in without.stages) for q in ("p10", "p50", "p90")))
    )
    view, bare = estimate_view(with_prices), estimate_view(without)
    assert bare["storage"] is None
    assert view["storage"]["usd"]["p10"] < view["storage"]["usd"]["p90"]
    assert view["totals"] == bare["totals"]
    assert any("in no bill" in each["name"] for each in view["assumptions"])
    assert not any("in no bill" in each["name"] for each in bare["assumptions"])


def test_plans_are_compared_by_it_where_they_price_it() -> None:
    views = {name: plan_of(name, spec) for name, spec in plan_specs(stored=STORED).items()}
    found = compare(run_of("job", job_spec(), views), list(views.values()))
    by_plan = {plan["plan"]: plan for plan in comparison_view(found)["plans"]}
    assert by_plan["h100-rented"]["storage"] is None
    assert by_plan["stored"]["storage"]["egressUsd"] == pytest.approx(LLAMA * 12 / 2**30 * 0.09, rel=1e-4)
    assert by_plan["stored"]["allocatedUsd"] == by_plan["h100-rented"]["allocatedUsd"]
    told = {
        name: rendered(each, PageOutput.TABLE)
        for name, each in (
            ("with", found),
            ("without", compare(run_of("job", job_spec(), views), [views["h100-rented"]])),
        )
    }
    assert ("egress" in told["with"], "egress" in told["without"]) == (True, False)
    assert "in no bill" in compare_page(found)
    assert json.dumps(comparison_view(found))
