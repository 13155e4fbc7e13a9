"""Price lists of the SkyPilot catalog's shape become plans per hour of one accelerator."""

from decimal import Decimal

import pytest

from llmtrain.api.plan import Commitment, PlanSpec
from llmtrain.cost.errors import InputError
from llmtrain.pricing.catalog import Wanted, import_catalog
from llmtrain.pricing.plans import plan_of

HEADER = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Price,Region,GpuInfo,SpotPrice\n"
CATALOG = (
    HEADER
    + "p5.48xlarge,H100,8.0,192.0,2048.0,55.04,us-east-1,{},22.02\n"
    + "p5.4xlarge,H100,1.0,16.0,256.0,7.50,us-east-1,{},\n"
    + "p5.48xlarge,H100,8.0,192.0,2048.0,60.00,eu-west-1,{},\n"
    + "m7i.large,,,2.0,8.0,0.1008,us-east-1,,0.04\n"
    + "x1,Nothing9000,4,8,8,1.0,us-east-1,{},\n"
)
WANTED = Wanted("aws", "2026-11-25")


def imported(wanted: Wanted = WANTED, text: str = CATALOG) -> dict[str, PlanSpec]:
    return dict(import_catalog(text, wanted).plans)


def test_the_cheapest_instance_of_a_region_gives_the_price_of_one_accelerator() -> None:
    plans = imported()
    assert plan_of("x", plans["aws-h100-us-east-1"]).accelerator_hour_usd == Decimal("6.88")
    assert plan_of("x", plans["aws-h100-eu-west-1"]).accelerator_hour_usd == Decimal("7.5")
    accelerator = plans["aws-h100-us-east-1"].accelerator
    assert accelerator is not None
    assert (accelerator.product, accelerator.per_node) == ("H100-SXM-80GB", 8)


def test_cores_and_memory_of_an_instance_add_up_to_its_price() -> None:
    plan = plan_of("cpu", imported()["aws-cpu-us-east-1"])
    assert float(2 * plan.cpu_hour_usd + 8 * plan.memory_gib_hour_usd) == pytest.approx(0.1008, abs=1e-5)
    assert float(plan.cpu_hour_usd / plan.memory_gib_hour_usd) == pytest.approx(0.031611 / 0.004237, rel=1e-3)


def test_slower_forms_of_a_chip_are_told_apart() -> None:
    """An H100 on PCIe has three quarters of the arithmetic: at the same price it is the dearer one."""
    rows = (
        HEADER
        + "a,H100,1,16,188,2.00,CA,\"{'Gpus': [{'Name': 'H100 PCIe', 'Count': 1}]}\",\n"
        + "b,H100,1,16,188,2.50,CA,\"{'Gpus': [{'Name': 'H100 SXM', 'Count': 1}]}\",\n"
    )
    plans = imported(text=rows)
    products = {name: spec.accelerator.product for name, spec in plans.items() if spec.accelerator}
    assert products == {"aws-h100-pcie-80gb-ca": "H100-PCIe-80GB", "aws-h100-ca": "H100-SXM-80GB"}


def test_columns_may_come_in_any_order_and_with_others_between() -> None:
    rows = (
        "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Region,SpotPrice,Price,AvailabilityZone,GpuInfo\n"
        "1x,A100-80GB,1.0,8.0,117.0,JP,1.39,1.49,AP-JP-1,\"{'Gpus': [{'Name': 'A100 PCIe'}]}\"\n"
    )
    assert plan_of("x", imported(text=rows)["aws-a100-pcie-80gb-jp"]).accelerator_hour_usd == Decimal("1.49")


def test_spot_takes_the_spot_price_and_leaves_out_rows_without_one() -> None:
    plans = imported(Wanted("aws", "2026-11-25", commitment=Commitment.SPOT))
    assert set(plans) == {"aws-h100-us-east-1-spot", "aws-cpu-us-east-1-spot"}
    assert plan_of("x", plans["aws-h100-us-east-1-spot"]).accelerator_hour_usd == Decimal("2.7525")


def test_filters_keep_what_is_wanted() -> None:
    assert set(imported(Wanted("aws", "2026-11-25", ["H100"], ["eu-west-1"]))) == {"aws-h100-eu-west-1"}


def test_accelerators_that_the_table_does_not_know_are_counted() -> None:
    assert import_catalog(CATALOG, WANTED).unknown == {"Nothing9000": 1}


def test_every_plan_keeps_source_and_date() -> None:
    for spec in imported().values():
        assert spec.rented is not None
        assert spec.rented.source is not None
        assert spec.rented.source.date == "2026-11-25"
        assert "SkyPilot catalog, aws" in spec.rented.source.name


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("InstanceType,Price\nx,1\n", r"\(first line\).*AcceleratorName"),
        (HEADER + "p5,H100,8,192,2048,many,us-east-1,{},\n", "line 2, Price"),
        (HEADER + "p5,H100,8,192,2048,-3,us-east-1,{},\n", "line 2, Price"),
        (HEADER + "p5,H100,8,x,2048,3,us-east-1,{},\n", "line 2, vCPUs"),
        (HEADER + "p5,H100,0,0,2048,3,us-east-1,{},\n", "p5, vCPUs"),
    ],
)
def test_a_bad_list_is_refused_by_line_and_column(text: str, field: str) -> None:
    with pytest.raises(InputError, match=field):
        imported(text=text)
