"""How lines were rented, by the plans that are there."""

from typing import Any

from llmtrain.ledger.skus import Sku, skus_of, unknown_plans, with_skus
from tests.unit.ledger.billed import line


def plan(name: str, **spec: Any) -> dict[str, Any]:
    return {"kind": "ComputePlan", "metadata": {"name": name}, "spec": spec}


def rented(name: str, **more: str) -> dict[str, Any]:
    return plan(name, tenure="Rented", accelerator={"product": "H100-SXM-80GB"},
                rented={"acceleratorHourUsd": "2.35"} | more)  # fmt: skip


CPU = plan("cpu", tenure="Rented", rented={"cpuHourUsd": "0.04", "memoryGibHourUsd": "0.01"})
OWNED = plan("own", tenure="Owned", accelerator={"product": "H100-SXM-80GB"},
             owned={"accelerators": 8, "serverPerAcceleratorUsd": "30000", "powerKwPerAccelerator": "1.2"})  # fmt: skip


def test_plans_say_how_they_are_rented_and_what_they_are() -> None:
    found, flaws = skus_of([rented("a"), rented("b", commitment="Reserved"), CPU, OWNED, {"kind": "LLMTrainingJob"}])
    assert flaws == []
    assert found == {
        "a": Sku("OnDemand", "H100-SXM-80GB"),
        "b": Sku("Reserved", "H100-SXM-80GB"),
        "cpu": Sku("OnDemand", ""),
        "own": Sku("", "H100-SXM-80GB"),
    }


def test_a_plan_that_cannot_be_read_is_told_by_name_and_left_out() -> None:
    found, (flaw,) = skus_of([rented("a", commitment="Borrowed"), rented("b")])
    assert set(found) == {"b"}
    assert flaw.startswith("ComputePlan a: `rented.commitment`: ")


def test_what_the_ledger_says_itself_stands() -> None:
    skus = {"h100": Sku("Spot", "H100")}
    lines = [line(), line(commitment="Reserved"), line(tenure="Owned"), line(plan="gone")]
    found = with_skus(lines, skus)
    assert [(one.commitment, one.accelerator) for one in found] == [
        ("Spot", "H100"),
        ("Reserved", "H100"),
        ("", "H100"),
        ("", ""),
    ]
    assert unknown_plans(found) == ["gone"]
