"""Prices are the operator's record: fixed before a pod is made, whatever its annotations or its plan become."""

import json
from typing import Any

import pytest
from llmtrain_operator import roleprices
from llmtrain_operator.priceannotation import annotated_power, annotated_price
from llmtrain_operator.pricing import Plan, Price, pod_price
from llmtrain_operator.recent import PLANS

from llmtrain.api.cluster import PodResources
from llmtrain.api.status import LedgerEntry
from tests.unit.operator.scenario import GPU_PLAN, Scenario, recorded_micro_usd
from tests.unit.operator.test_life_cycle import in_training, training

PRICE = "llmtrain.dev/price"
GOOD = {"plan": "gpu", "planResourceVersion": "4", "tenure": "Rented", "microUsdPerHour": 3_990_000,
        "incrementSeconds": 1, "minimumSeconds": 60}  # fmt: skip
EDITS: dict[str, Any] = {
    "nearly free": GOOD | {"microUsdPerHour": 1},
    "negative": GOOD | {"microUsdPerHour": -3_990_000},
    "dear": GOOD | {"microUsdPerHour": 10**9},
    "no number": GOOD | {"microUsdPerHour": "x"},
    "another plan": GOOD | {"plan": "cpu"},
    "long increments": GOOD | {"incrementSeconds": 86400},
    "deep": "[" * 100_000,
    "empty": "",
}


def plan_of(spec: dict[str, Any]) -> Plan:
    return Plan.read({"metadata": {"name": "gpu", "resourceVersion": "1"}, "spec": spec})


def annotate(run: Scenario, text: str | None) -> None:
    for name in run.pods:
        notes = run.cluster.pod(name)["metadata"]["annotations"]
        if text is None:
            del notes[PRICE]
        else:
            notes[PRICE] = text


async def to_the_end(run: Scenario) -> list[LedgerEntry]:
    """Two minutes of training more, then its end."""
    for _ in range(4):
        run.memory.woken = True
        run.cluster.tick(30)
        await run.turn()
    run.end_head()
    await run.drain()
    return [entry for entry in run.status.ledger.entries if entry.stage == "Training"]


def events(run: Scenario, reason: str) -> list[str]:
    return [event["message"] for event in run.cluster.of("api/v1/events") if event["reason"] == reason]


@pytest.mark.parametrize("edit", [*EDITS, "gone"])
async def test_an_edited_annotation_changes_no_bill_and_is_told_once_a_pod(edit: str) -> None:
    run, plain = await in_training(), await in_training()
    value = EDITS.get(edit)
    annotate(run, value if value is None or isinstance(value, str) else json.dumps(value))
    assert await to_the_end(run) == await to_the_end(plain)
    told = events(run, "PriceAnnotationIgnored")
    assert sorted(text.split(":")[0] for text in told) == [f"pod gpt-trn-1-{part}" for part in ("head", "w0-1", "w1-1")]
    assert all(len(text) < 600 and text.isprintable() for text in told)
    assert events(plain, "PriceAnnotationIgnored") == []


async def test_an_annotation_that_was_edited_before_anybody_looked_changes_no_bill() -> None:
    run, plain = Scenario(), Scenario()
    for each in (run, plain):
        await each.run_stage()
        await each.run_stage()
        await each.until_pods()
    annotate(run, json.dumps(EDITS["nearly free"]))
    bills = []
    for each in (run, plain):
        for name in each.pods:
            each.cluster.run_pod(name)
        await each.turn()
        bills.append(await to_the_end(each))
    assert bills[0] == bills[1]


async def test_a_price_stands_in_the_status_before_its_pod_is_asked_for() -> None:
    run, asked = Scenario(), list[str]()
    run.cluster.objects[(PLANS, "", "gpu")]["spec"] = GPU_PLAN | {"accelerator": {"product": "H100-SXM-80GB"}}

    def compare(resource: str, body: dict[str, Any]) -> None:
        if resource == "api/v1/pods":
            labels, wanted = body["metadata"]["labels"], json.loads(body["metadata"]["annotations"][PRICE])
            stage = next(one for one in run.status.stages if one.name == labels["llmtrain.dev/stage"])
            fixed = next(one for one in stage.prices if one.role == labels["llmtrain.dev/role"])
            assert (fixed.micro_usd_per_hour, fixed.plan) == (wanted["microUsdPerHour"], wanted["plan"])
            asked.append(body["metadata"]["name"])

    run.cluster.refuse = compare
    await run.run_stage()
    await run.run_stage()
    await run.until_pods()
    assert asked == run.cluster.pods_created != []
    head, worker = training(run).prices
    assert (head.role, head.micro_usd_per_hour, head.accelerators, head.load_watts) == ("head", 0, 0, 0)
    assert (worker.micro_usd_per_hour, worker.minimum_seconds, worker.accelerators) == (3_990_000, 60, 1)
    assert worker.load_watts > worker.idle_watts > 0


async def test_a_successor_costs_what_its_attempt_began_with_and_the_next_attempt_what_the_plan_says_then() -> None:
    run = await in_training(retry={"limit": 5})
    plan = run.cluster.objects[(PLANS, "", "gpu")]
    plan["spec"]["rented"] = plan["spec"]["rented"] | {"acceleratorHourUsd": "39.90"}
    plan["metadata"]["resourceVersion"] = "999999"
    run.cluster.tick(60)
    run.cluster.end_pod("gpt-trn-1-w0-1", 137, reason="Error")
    await run.turn(3)
    run.cluster.run_pod("gpt-trn-1-w0-2")
    await run.turn()
    assert {mark.micro_usd_per_hour for mark in run.status.ledger.high_water if mark.role == "worker"} == {3_990_000}
    assert (
        json.loads(run.cluster.pod("gpt-trn-1-w0-2")["metadata"]["annotations"][PRICE])["microUsdPerHour"] == 3_990_000
    )
    run.job["spec"]["suspend"] = True
    await run.drain()
    assert training(run).prices == [], "nothing is under way that could cost anything"
    run.job["spec"]["suspend"] = False
    await run.until_pods()
    assert {one.micro_usd_per_hour for one in training(run).prices if one.role == "worker"} == {39_900_000}


def as_an_earlier_operator_left_it(run: Scenario) -> None:
    for stage in run.job["status"]["stages"]:
        stage.pop("prices", None)
    run.memory = type(run.memory)()


async def test_an_attempt_of_an_earlier_operator_is_billed_by_its_annotations_within_bounds() -> None:
    run, plain = await in_training(), await in_training()
    as_an_earlier_operator_left_it(run)
    assert await to_the_end(run) == await to_the_end(plain)
    assert sum(entry.cost_micro_usd for entry in run.status.ledger.entries) == recorded_micro_usd(run.cluster)


async def test_such_a_pod_without_a_readable_price_is_free_and_told_of() -> None:
    run = Scenario()
    await run.run_stage()
    await run.run_stage()
    await run.until_pods()
    as_an_earlier_operator_left_it(run)
    run.job["status"]["ledger"].pop("highWater", None)
    annotate(run, json.dumps(EDITS["negative"]))
    for name in run.pods:
        run.cluster.run_pod(name)
    await run.turn()
    assert sum(entry.cost_micro_usd for entry in await to_the_end(run)) == 0
    assert len(events(run, "PriceAnnotationIgnored")) == 3


EXTRA = {
    "RDMA and EFA": {"rdma/hca": "1", "vpc.amazonaws.com/efa": "4"},
    "memory of GPUs": {"nvidia.com/gpumem": "20k"},
    "nonsense": {"example.com/thing": "-x"},
}


@pytest.mark.parametrize("more", EXTRA)
async def test_other_extended_resources_change_no_figure(more: str) -> None:
    run, plain = await in_training(), await in_training()
    for name in run.pods:
        run.cluster.pod(name)["spec"]["containers"][0]["resources"]["requests"] |= EXTRA[more]
    run.cluster.tick(60)
    plain.cluster.tick(60)
    await run.turn()
    assert run.status.accelerators == 2
    assert await to_the_end(run) == await to_the_end(plain)


@pytest.mark.parametrize("text", [json.dumps(value) if isinstance(value, dict) else value for value in EDITS.values()])
def test_a_price_annotation_is_read_within_bounds(text: str) -> None:
    found = annotated_price({"metadata": {"annotations": {PRICE: text}}})
    assert found is None or 0 <= found.microUsdPerHour <= 10**11
    power = annotated_power({"metadata": {"annotations": {"llmtrain.dev/power": text}}})
    assert (power.load, power.idle) == (0, 0)


def test_what_a_pod_costs_on_a_plan_is_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    plan, size, asked = plan_of(GPU_PLAN), PodResources(cpu="2", memory="4Gi"), list[str]()

    def counted(plan: Plan, cpu: str, memory: str, accelerators: int) -> Price:
        asked.append(cpu)
        return pod_price(plan, cpu, memory, accelerators)

    monkeypatch.setattr(roleprices, "pod_price", counted)
    first, second = (roleprices.role_price("worker", plan, size, 8) for _ in range(2))
    second.micro_usd_per_hour = 1
    assert first == roleprices.role_price("worker", plan, size, 8) != second
    assert roleprices.role_price("worker", plan, size, 4) != first
    assert asked == ["2", "2"]
    other = plan_of(GPU_PLAN | {"rented": {"acceleratorHourUsd": "1"}})
    assert roleprices.role_price("worker", other, size, 8).micro_usd_per_hour == 8_000_000


def test_sizes_that_are_known_of_a_plan_are_bounded() -> None:
    plan = plan_of(GPU_PLAN)
    for cores in range(1, 600):
        roleprices.role_price("worker", plan, PodResources(cpu=str(cores), memory="4Gi"), 0)
    assert len(plan.known_prices) <= roleprices.KNOWN_SIZES
