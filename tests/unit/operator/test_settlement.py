"""The ledger against random lives of pods: exact, the same whatever the operator misses, and never falling."""

import json
import random
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmtrain_operator import wastesplit
from llmtrain_operator.billing import Node
from llmtrain_operator.client import ApiError
from llmtrain_operator.counted import counted, key_of
from llmtrain_operator.provisional import certain_seconds
from llmtrain_operator.settlement import settle

from llmtrain.api.status import Amounts, Counted, Ledger, Phases, Progress, Split, Stage, StageStatus
from llmtrain.cost.money import amount_micro_usd, billed_seconds
from llmtrain.ledger.goodput import WASTE, waste
from tests.unit.operator.lifetimes import KINDS, Life, at, billed_by_the_rule, life, micro_usd_by_the_rule, taken_in
from tests.unit.operator.lifetimes import stamp as clock
from tests.unit.operator.scenario import Scenario

END = 4000
STAGE = StageStatus(name=Stage.TRAINING, attempt=1, phases=Phases(working=300, redone=20, checkpointing=7))


def lives(seed: int, count: int = 12) -> list[Life]:
    rng = random.Random(seed)
    return [life(rng, number, rng.choice(KINDS)) for number in range(count)]


def lone_worker() -> Life:
    """A pod with nothing but the stage in it, that runs for more than ten minutes."""
    born = (life(random.Random(seed), 0, "succeeded", "alone", 0) for seed in range(40))
    return next(one for one in born if one.views[3][0] - one.views[2][0] > 600)


def look(ledger: Ledger, born: list[Life], released: set[str], second: int, order: random.Random) -> Ledger:
    """One turn of an operator that starts from the stored ledger: settle, write, release what is settled."""
    stored = Ledger.model_validate(json.loads(json.dumps(ledger.to_dict())))
    pods = [taken_in(pod) for one in born if one.uid not in released and (pod := one.seen_at(second))]
    order.shuffle(pods)
    nodes = {f"node-{one.uid[4:]}": Node(node[0], at(node[1])) for one in born if (node := one.node_at(second))}
    after = settle(stored, pods, nodes, at(second), STAGE)
    assert settle(after, pods, nodes, at(second), STAGE) == after, "a repeated event changes nothing"
    released |= set(after.settled)
    return after


def run(born: list[Life], seconds: list[int], seed: int = 0) -> tuple[Ledger, list[int]]:
    ledger, released, order, totals = Ledger(), set[str](), random.Random(seed), []
    for second in [*sorted(seconds), END, END + 1]:
        ledger = look(ledger, born, released, second, order)
        totals.append(ledger.total_micro_usd)
    return ledger, totals


def entries(ledger: Ledger) -> list[dict[str, Any]]:
    return sorted((entry.to_dict() for entry in ledger.entries), key=lambda e: (e["stage"], e["role"], e["plan"]))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), looks=st.lists(st.integers(0, END - 1), max_size=40))
def test_the_ledger_is_the_rule_whenever_the_operator_looked(seed: int, looks: list[int]) -> None:
    born = lives(seed)
    ledger, _ = run(born, looks, seed)
    assert ledger.total_micro_usd == sum(micro_usd_by_the_rule(one.last) for one in born)
    assert sum(entry.pods for entry in ledger.entries) == len(born)
    assert (ledger.settled, ledger.high_water) == ([], [])
    assert entries(ledger) == entries(run(born, [], 1)[0]), "restarts and missed events change nothing"


@pytest.mark.parametrize("kind", KINDS)
def test_the_ledger_is_the_rule_of_the_last_version_though_the_operator_looks_at_each(kind: str) -> None:
    for seed in range(20):
        born = [life(random.Random(seed), 0, kind)]
        ledger, _ = run(born, [second for second, _ in born[0].views])
        assert ledger.total_micro_usd == micro_usd_by_the_rule(born[0].last)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), looks=st.lists(st.integers(0, END - 1), min_size=5, max_size=60))
def test_a_provisional_bill_never_falls_and_never_exceeds_the_final_one(seed: int, looks: list[int]) -> None:
    born = lives(seed)
    ledger, totals = run(born, looks, seed)
    assert totals == sorted(totals)
    assert totals[-1] == ledger.total_micro_usd == sum(entry.cost_micro_usd for entry in ledger.entries)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), looks=st.lists(st.integers(0, END - 1), min_size=5, max_size=60))
def test_waste_that_is_told_of_a_pod_alive_is_part_of_its_final_bill(seed: int, looks: list[int]) -> None:
    rng = random.Random(seed)
    # Of a pod whose node has a wrong clock no part is certain.
    for one in [life(rng, number, rng.choice(KINDS), off=rng.choice((0, 4, -4))) for number in range(4)]:
        final = run([one], [])[0].entries[0]
        ledger, released = Ledger(), set[str]()
        for second in sorted(looks):
            ledger = look(ledger, [one], released, second, random.Random(0))
            seen = one.seen_at(second)
            for told in counted(ledger, [taken_in(seen)] if seen else [], STAGE):
                parts = told.waste.to_dict().items()
                assert all(value <= getattr(final.cost_split, kind) for kind, value in parts if kind != "working")
                assert told.energy_joules <= final.energy_joules


def test_the_provisional_bill_follows_a_running_pod_at_a_minutes_distance() -> None:
    one = lone_worker()
    started = one.views[2][0]
    ledger = look(Ledger(), [one], set(), started + 500, random.Random(0))
    mark = ledger.high_water[0]
    assert mark.alive_seconds - 60 == mark.pod_seconds > 400


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_split_adds_up_to_the_billed_seconds_of_every_pod(seed: int) -> None:
    for one in lives(seed):
        ledger, _ = run([one], [])
        entry = ledger.entries[0]
        parts = entry.split.to_dict()
        assert min(parts.values()) >= 0
        assert sum(parts.values()) == entry.billed_seconds == billed_by_the_rule(one.last)
        assert parts["minimum"] == entry.billed_seconds - entry.pod_seconds
        assert sum(entry.cost_split.to_dict().values()) == entry.cost_micro_usd


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), looks=st.lists(st.integers(0, END - 1), max_size=20))
def test_waste_by_node_and_by_cause_is_the_waste_of_the_bill(seed: int, looks: list[int]) -> None:
    ledger, released, rng = Ledger(), set[str](), random.Random(seed)
    for second in [*sorted(looks), END]:
        ledger = look(ledger, lives(seed), released, second, rng)
        whole = sum(waste(e.split) for e in ledger.entries), sum(waste(e.cost_split) for e in ledger.entries)
        for rows in (ledger.waste_by_node, ledger.waste_by_cause):
            assert (sum(row.billed_seconds for row in rows), sum(row.cost_micro_usd for row in rows)) == whole
    assert whole[0] > 0


def one_worker(seconds: int) -> dict[str, Any]:
    """Runs from its placement on, for so long; its plan bills a minute at least."""
    frozen = {"plan": "a", "planResourceVersion": "1", "tenure": "Rented", "microUsdPerHour": 3_600_000,
              "incrementSeconds": 1, "minimumSeconds": 60}  # fmt: skip
    labels = {"llmtrain.dev/stage": "Training", "llmtrain.dev/attempt": "1", "llmtrain.dev/role": "worker"}
    ended = {"exitCode": 0, "startedAt": clock(0), "finishedAt": clock(seconds)}
    return {
        "metadata": {"name": "w", "uid": "w", "finalizers": ["llmtrain.dev/settle"], "labels": labels,
                     "annotations": {"llmtrain.dev/price": json.dumps(frozen)}},
        "spec": {"nodeName": "n", "containers": [{"name": "stage"}]},
        "status": {"phase": "Succeeded", "startTime": clock(0),
                   "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": clock(0)}],
                   "containerStatuses": [{"name": "stage", "state": {"terminated": ended}}]},
    }  # fmt: skip


def test_what_a_plan_bills_beyond_a_short_pods_end_is_its_minimum() -> None:
    stage = StageStatus(name=Stage.TRAINING, attempt=1, phases=Phases(working=20, head_end=clock(20)))
    entry = settle(Ledger(), [taken_in(one_worker(22))], {}, at(500), stage).entries[0]
    assert entry.split == Split(working=20, stopping=2, minimum=38)
    assert entry.cost_split == Split(working=20_000_000 // 1000, stopping=2_000_000 // 1000, minimum=38_000_000 // 1000)


def test_the_minimum_of_a_pod_that_vanished_is_told_apart_too() -> None:
    body = one_worker(22)
    body["status"] |= {"phase": "Running", "containerStatuses": [
        {"name": "stage", "ready": True, "state": {"running": {"startedAt": clock(0)}}}]}  # fmt: skip
    seen = settle(Ledger(), [taken_in(body)], {}, at(22), STAGE)
    entry = settle(seen, [], {}, at(500), STAGE).entries[0]
    assert entry.split == Split(starting=22, minimum=38)
    assert sum(entry.cost_split.to_dict().values()) == entry.cost_micro_usd == 60_000


def as_before(ledger: Ledger) -> Ledger:
    """As an operator left it that knew no `minimum`, and told it as `stopping`."""
    body = json.loads(json.dumps(ledger.to_dict()))
    splits = [entry[name] for entry in body["entries"] for name in ("split", "costSplit")]
    for split in [*splits, *(told["waste"] for told in body["counted"])]:
        split["stopping"] = split.get("stopping", 0) + split.pop("minimum", 0)
    del body["wasteByNode"], body["wasteByCause"]
    return Ledger.model_validate(body)


def told_of(ledger: Ledger) -> dict[str, int]:
    return {kind: sum(getattr(one.waste, kind) for one in ledger.counted) for kind in WASTE}


def test_counters_of_an_older_operator_neither_fall_nor_tell_the_minimum_twice() -> None:
    stage = StageStatus(name=Stage.TRAINING, attempt=1, phases=Phases(working=20, head_end=clock(20)))
    first = settle(Ledger(), [taken_in(one_worker(22))], {}, at(500), stage)
    first.counted = counted(first, [], stage)
    stored = as_before(first)
    assert stored.entries[0].split == Split(working=20, stopping=40)
    # What it has booked keeps its kinds; the next pod's minimum is told as such, once.
    second = one_worker(22)
    second["metadata"] |= {"uid": "w2"}
    after = settle(stored, [taken_in(second)], {}, at(600), stage)
    after.counted = counted(after, [], stage)
    assert after.entries[0].split == Split(working=40, stopping=42, minimum=38)
    assert told_of(after) == dict.fromkeys(WASTE, 0) | {"stopping": 42_000, "minimum": 38_000}
    # It had told of one pod more than it had booked when it ended: that pod's minimum is told already.
    ahead = stored.model_copy(update={"entries": []})
    again = settle(ahead, [taken_in(second)], {}, at(600), stage)
    again.counted = counted(again, [], stage)
    assert told_of(again) == told_of(stored)


def told_by_key(told: list[Counted]) -> dict[Any, int]:
    return {key_of(one): waste(one.waste) for one in told}


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), looks=st.lists(st.integers(0, END - 1), min_size=5, max_size=60))
def test_no_kind_of_told_waste_falls_and_nothing_is_told_as_two_kinds(seed: int, looks: list[int]) -> None:
    """Clocks are off, and somebody takes finalizers off, so that what was told of a pod is not what it is billed for."""
    born, rng = lives(seed), random.Random(seed)
    ledger, released, last, highest = Ledger(), set[str](), dict.fromkeys(WASTE, 0), dict[Any, int]()
    for number, second in enumerate([*sorted(looks), END]):
        born = [one for one in born if number % 3 or rng.random() > 0.1]
        ledger = look(ledger, born, released, second, rng)
        pods = [taken_in(pod) for one in born if (pod := one.seen_at(second))]
        for key, true in told_by_key(counted(ledger.model_copy(update={"counted": []}), pods, STAGE)).items():
            highest[key] = max(highest.get(key, 0), true)
        ledger.counted = counted(ledger, pods, STAGE)
        assert all(told_of(ledger)[kind] >= last[kind] for kind in WASTE)
        last = told_of(ledger)
        assert told_by_key(ledger.counted) == highest


def test_the_split_says_where_the_time_of_a_worker_went() -> None:
    """Scheduled 0, taken 2, started 30, cluster whole 40, head over 400, told to end 402, ended 405."""
    from tests.unit.operator.lifetimes import stamp

    frozen = {"plan": "a", "planResourceVersion": "1", "tenure": "Rented", "microUsdPerHour": 3600,
              "incrementSeconds": 60, "minimumSeconds": 0}  # fmt: skip
    ended = {"exitCode": 0, "startedAt": stamp(30), "finishedAt": stamp(405)}
    pod = {
        "metadata": {
            "name": "w",
            "uid": "w",
            "finalizers": ["llmtrain.dev/settle"],
            "labels": {"llmtrain.dev/stage": "Training", "llmtrain.dev/attempt": "1", "llmtrain.dev/role": "worker"},
            "annotations": {"llmtrain.dev/price": json.dumps(frozen)},
            "deletionTimestamp": stamp(402),
            "deletionGracePeriodSeconds": 0,
        },
        "spec": {"nodeName": "n", "containers": [{"name": "stage"}]},
        "status": {
            "phase": "Failed",
            "startTime": stamp(2),
            "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp(0)}],
            "containerStatuses": [{"name": "stage", "state": {"terminated": ended}}],
        },
    }
    phases = Phases(working=300, redone=20, checkpointing=7, complete_time=stamp(40), head_end=stamp(400))
    stage = StageStatus(name=Stage.TRAINING, attempt=1, phases=phases)
    entry = settle(Ledger(), [taken_in(pod)], {}, at(500), stage).entries[0]
    assert entry.split.to_dict() == {
        "waiting": 2 + 10,
        "pulling": 28,
        "starting": 400 - 40 - 327,
        "working": 300,
        "redone": 20,
        "checkpointing": 7,
        "stopping": 5,
        "minimum": 15,
    }
    assert entry.billed_seconds == 420


def test_a_pod_whose_finalizer_was_stripped_is_billed_up_to_when_it_was_last_seen_alive() -> None:
    one = lone_worker()
    scheduled, seen = one.views[1][0], one.views[2][0] + 500
    ledger = look(Ledger(), [one], set(), seen, random.Random(0))
    after = settle(ledger, [], {}, at(seen + 1000))
    assert after.entries[0].pod_seconds == seen - scheduled
    assert after.high_water == []


async def young(run: Scenario) -> str:
    """Name of a head that has run for two seconds, so that no status has its mark."""
    await run.until_pods()
    run.cluster.run_pod(run.pods[0])
    await run.turn(2)
    run.cluster.tick(2)
    await run.turn()
    assert run.status.ledger.high_water == []
    return run.pods[0]


async def test_a_pod_that_vanishes_in_its_first_seconds_is_billed_and_told() -> None:
    run = Scenario()
    del run.cluster.objects[("api/v1/pods", "team-a", await young(run))]
    await run.turn()
    assert [(entry.pods, entry.pod_seconds) for entry in run.status.ledger.entries] == [(1, 2)]
    assert "PodVanished" in {event["reason"] for event in run.cluster.of("api/v1/events")}
    await run.turn(3)
    assert sum(entry.pods for entry in run.status.ledger.entries) == 1


async def test_no_mark_outlives_a_turn_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it wrote is not known: a bill that is booked must not be booked again from a mark of before."""
    run = Scenario()
    await young(run)
    assert run.memory.pods.marks

    async def fail(*_: object) -> None:
        raise ApiError(500, "InternalError", "away")

    monkeypatch.setattr(run.cluster, "find", fail)
    with pytest.raises(ApiError):
        await run.turn()
    assert not run.memory.pods.marks


@pytest.mark.parametrize("field", ["pod_seconds", "billed_seconds", "accelerator_seconds", "cost_micro_usd"])
def test_no_amount_of_any_label_set_ever_falls(field: str) -> None:
    for seed in range(20):
        born, last = lives(seed), dict[tuple[str, str, str], int]()
        ledger, released, order = Ledger(), set[str](), random.Random(seed)
        for second in range(0, END, 97):
            ledger = look(ledger, born, released, second, order)
            now = dict[tuple[str, str, str], int]()
            items: list[Amounts] = [*ledger.entries, *ledger.high_water]
            for item in items:
                key = (item.stage.value, item.role, item.plan)
                now[key] = now.get(key, 0) + getattr(item, field)
            assert all(now.get(key, 0) >= value for key, value in last.items())
            last = now


@given(
    seconds=st.integers(1, 10**6),
    cut=st.floats(0, 1),
    hour=st.integers(0, 10**8),
    increment=st.integers(1, 3600),
    minimum=st.integers(0, 3600),
)
def test_two_pods_cost_no_less_than_one_and_at_most_an_increment_or_minimum_more(
    seconds: int, cut: float, hour: int, increment: int, minimum: int
) -> None:
    first = int(seconds * cut)
    pieces = [piece for piece in (first, seconds - first) if piece]
    whole = amount_micro_usd(billed_seconds(seconds, increment, minimum), hour)
    parts = sum(amount_micro_usd(billed_seconds(piece, increment, minimum), hour) for piece in pieces)
    rounding = len(pieces)
    assert parts >= whole - rounding
    assert parts - whole <= len(pieces) * max(increment, minimum) * hour / 3600 + rounding


@given(pieces=st.lists(st.integers(0, 10**5), min_size=1, max_size=8), hour=st.integers(0, 10**6))
def test_without_increments_and_minimums_cost_is_linear_in_pod_seconds(pieces: list[int], hour: int) -> None:
    price = hour * 3600
    parts = sum(amount_micro_usd(billed_seconds(piece, 1, 0), price) for piece in pieces)
    assert parts == amount_micro_usd(billed_seconds(sum(pieces), 1, 0), price) == sum(pieces) * hour


async def test_the_time_in_which_a_stopped_head_saves_is_told_as_stopping_though_its_pod_no_longer_says_when_it_was_told() -> (
    None
):
    run = Scenario()
    await run.until_pods()
    run.cluster.run_pod("gpt-pre-1-head")
    await run.turn(2)
    run.cluster.tick(30)
    run.job["spec"]["suspend"] = True
    await run.turn()
    run.cluster.tick(20)
    run.cluster.end_pod("gpt-pre-1-head", 75)
    await run.drain()
    assert run.status.ledger.entries[0].pod_seconds == 50
    assert run.status.ledger.entries[0].split.stopping == 20


async def test_the_time_of_a_lost_attempt_is_what_its_head_last_told_and_does_not_pass_to_the_next() -> None:
    run = Scenario()
    await run.run_stage()
    await run.run_stage()
    await run.turn(3)
    for name in run.pods:
        run.cluster.run_pod(name)
    await run.turn()
    run.cluster.tick(400)
    run.memory.progress = Progress(done=10, total=100, working_seconds=300, checkpoint_seconds=5)
    run.memory.progress_of = run.cluster.pod("gpt-trn-1-head")["metadata"]["uid"]
    await run.turn()
    run.cluster.end_pod("gpt-trn-1-head", 137, reason="Error")
    await run.drain()
    entries = [entry for entry in run.status.ledger.entries if entry.stage is Stage.TRAINING]
    assert sum(entry.split.working for entry in entries) == 3 * 300
    assert sum(entry.split.checkpointing for entry in entries) == 3 * 5
    await run.turn(4)
    assert run.status.stages[2].attempt == 2
    assert run.status.stages[2].phases == Phases()


@pytest.mark.parametrize(("ready", "since", "seconds"), [(True, 0, 940), (True, 500, 340), (False, 500, 340)])
def test_a_container_that_is_not_ready_stops_no_mark_while_the_node_answers(
    ready: bool, since: int, seconds: int
) -> None:
    """A tenant's log shipper that is never ready must not hide what a pod costs by now; a node that fell silent may."""
    unready = {"type": "Ready", "status": "False", "lastTransitionTime": clock(400)}
    placed = {"type": "PodScheduled", "status": "True", "lastTransitionTime": clock(0)}
    run = {"running": {"startedAt": clock(10)}}
    told = [{"name": "a-shipper", "ready": False, "state": run}, {"name": "stage", "ready": True, "state": run}]
    status = {"phase": "Running", "conditions": [placed, unready], "containerStatuses": told}
    body = {"metadata": {}, "spec": {"nodeName": "n"}, "status": status}
    assert certain_seconds(body, at(0), at(1000), {"n": Node(ready, at(since))}) == seconds
    assert certain_seconds(body, at(0), at(1000), {}) == 340, "nobody has looked at the node"


@pytest.mark.parametrize("vanishes", [False, True])
def test_a_pod_that_runs_over_the_end_of_a_month_is_billed_in_both(vanishes: bool) -> None:
    """The parts are the whole, in every amount; what it waited comes first, and it is counted where it ended."""
    one = lone_worker()
    boundary = int(one.views[2][0]) + 300
    shift = timedelta(seconds=boundary) - (datetime(2026, 4, 1, tzinfo=UTC) - at(0))
    whole, parts = Ledger(), Ledger()
    for moved in (timedelta(0), shift):
        ledger = Ledger()
        for second in (boundary - 200, boundary + 200, *(() if vanishes else (END,))):
            pod = shifted(one.seen_at(second), -moved)
            nodes = {f"node-{one.uid[4:]}": Node(True, at(0) - moved)}
            ledger = settle(ledger, [taken_in(pod)] if pod else [], nodes, at(second) - moved, STAGE)
        ledger = settle(ledger, [], {}, at(END + 1) - moved, STAGE)
        whole, parts = (ledger, parts) if not moved else (whole, ledger)
    months = [entry.month for entry in parts.entries]
    assert months == ["2026-03", "2026-04"]
    assert len(whole.entries) == 1
    for name in ("pods", "pod_seconds", "billed_seconds", "accelerator_seconds", "cost_micro_usd", "energy_joules"):
        assert sum(getattr(entry, name) for entry in parts.entries) == getattr(whole.entries[0], name), name
    for entry in parts.entries:
        assert sum(wastesplit.seconds_of(entry.split).values()) == entry.billed_seconds
        assert sum(wastesplit.seconds_of(entry.cost_split).values()) == entry.cost_micro_usd
    assert [entry.pods for entry in parts.entries] == [0, 1]


def shifted(pod: dict[str, Any] | None, by: timedelta) -> dict[str, Any] | None:
    """The same life at another time."""
    text = json.dumps(pod)
    times = set(re.findall(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", text))
    moved = {time: f"{datetime.fromisoformat(time) + by:%Y-%m-%dT%H:%M:%SZ}" for time in times}
    found: dict[str, Any] | None = json.loads(
        re.sub(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", lambda m: moved[m[0]], text)
    )
    return found
