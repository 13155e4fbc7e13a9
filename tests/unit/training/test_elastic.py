"""How many workers train together, by tables; what a change costs is weighed against what idle workers cost."""

import itertools
import math

import pytest
from llmtrain_jobs.errors import StageError
from llmtrain_jobs.training.elastic import (
    Choice,
    Patience,
    Running,
    Verdict,
    keep_or_grow,
    ranges,
    start_or_wait,
)
from llmtrain_jobs.training.refusals import check_least, checked_layout

from llmtrain.api.elastic import Sizes, busiest_rows, replica_workers
from llmtrain.api.job import JobSpec
from llmtrain.api.training import Training
from tests.unit.operator.scenario import job_spec
from tests.unit.training.test_layout import MODEL

PATIENCE = Patience(for_more=60, for_enough=600)


def sizes(least: int, windows: int = 64, replica: int = 1) -> Sizes:
    """Groups of whole replicas that share so many sequences."""
    return Sizes(least, lambda n: None if n % replica else math.ceil(windows / (n // replica)))


@pytest.mark.parametrize(
    ("least", "windows", "replica", "alive", "expected"),
    [
        (2, 64, 1, 1, 0),
        (2, 64, 1, 2, 2),
        (2, 64, 1, 7, 7),
        (2, 64, 2, 7, 6),
        (4, 64, 4, 7, 4),
        (4, 64, 4, 3, 0),
        # four sequences: three workers are no faster than two, five no faster than four
        (1, 4, 1, 3, 2),
        (1, 4, 1, 5, 4),
    ],
)
def test_a_group_is_the_fastest_of_whole_replicas(
    least: int, windows: int, replica: int, alive: int, expected: int
) -> None:
    assert sizes(least, windows, replica).fitting(alive) == expected


@pytest.mark.parametrize(
    ("alive", "expected", "waited", "choice"),
    [
        (4, 4, 0, Choice(Verdict.START, 4)),
        (3, 4, 0, Choice(Verdict.WAIT)),
        (3, 4, 59, Choice(Verdict.WAIT)),
        (3, 4, 60, Choice(Verdict.START, 3)),
        # whoever gave notice is not expected back
        (3, 3, 0, Choice(Verdict.START, 3)),
        (1, 4, 60, Choice(Verdict.WAIT)),
        (1, 4, 599, Choice(Verdict.WAIT)),
        (1, 4, 600, Choice(Verdict.GIVE_UP)),
        (5, 4, 0, Choice(Verdict.START, 5)),
    ],
)
def test_enough_workers_wait_for_others_only_for_a_while(
    alive: int, expected: int, waited: float, choice: Choice
) -> None:
    assert start_or_wait(sizes(2), alive, expected, waited, PATIENCE) == choice


def test_nobody_waits_for_a_worker_that_makes_no_larger_group() -> None:
    assert start_or_wait(sizes(2, replica=2), 4, 5, 0, PATIENCE) == Choice(Verdict.START, 4)


@pytest.mark.parametrize(
    ("running", "alive", "choice"),
    [
        (Running(3, left=3600, idle=0, cost=30), 3, Choice(Verdict.KEEP, 3)),
        (Running(3, left=3600, idle=0, cost=30), 4, Choice(Verdict.KEEP, 3)),
        # one idle worker has cost what a change costs four: 120 worker-seconds
        (Running(3, left=3600, idle=119, cost=30), 4, Choice(Verdict.KEEP, 3)),
        (Running(3, left=3600, idle=120, cost=30), 4, Choice(Verdict.GROW, 4)),
        # two idle ones sooner
        (Running(2, left=3600, idle=60, cost=30), 4, Choice(Verdict.GROW, 4)),
        # 22 rows instead of 16: 27 % of 100 s are less than 30 s
        (Running(3, left=100, idle=9999, cost=30), 4, Choice(Verdict.KEEP, 3)),
        (Running(3, left=120, idle=9999, cost=30), 4, Choice(Verdict.GROW, 4)),
        (Running(4, left=3600, idle=9999, cost=30), 3, Choice(Verdict.KEEP, 4)),
    ],
)
def test_a_group_grows_once_idle_workers_have_cost_what_the_change_does_and_while_it_pays(
    running: Running, alive: int, choice: Choice
) -> None:
    assert keep_or_grow(sizes(2), running, alive) == choice


def spent(returns_after: float, cost: float, left: float) -> tuple[float, float]:
    """Worker-seconds of one worker of four that comes back: what the rule lets pass idle and spends on the change, and
    what somebody would spend who knows when training ends."""
    idle = 0.0
    while idle < left - returns_after:
        running = Running(3, left - returns_after - idle, idle, cost)
        if keep_or_grow(sizes(2), running, 4).verdict is Verdict.GROW:
            return idle + 4 * cost, min(4 * cost, left - returns_after)
        idle += 1
    return idle, min(4 * cost, left - returns_after)


def test_at_most_twice_is_spent_of_what_one_who_knows_the_end_would_spend() -> None:
    for cost, left in itertools.product((5.0, 30.0, 90.0), (60.0, 200.0, 1000.0, 5000.0)):
        mine, best = spent(10.0, cost, left)
        # A change that does not pay any more leaves a worker idle to the end: at most cost / (1 - 16/22) seconds.
        assert mine <= 2 * best + cost / (1 - 16 / 22)


def test_numbers_in_short() -> None:
    assert ranges([]) == ""
    assert ranges([0, 1, 2, 3, 5]) == "0-3,5"
    assert ranges([2, 4, 6]) == "2,4,6"


def spec_of(workers: dict[str, int], **training: object) -> JobSpec:
    raw = job_spec()
    raw["training"]["cluster"]["workers"] |= workers
    raw["training"] |= training
    return JobSpec.model_validate(raw)


@pytest.mark.parametrize(
    ("accelerators", "parallelism", "expected"),
    [
        (1, {}, 1),
        (8, {}, 1),
        (1, {"tensor": 2}, 2),
        (8, {"tensor": 2}, 1),
        (1, {"context": 4}, 4),
        (8, {"tensor": 8, "pipeline": 4}, 4),
        (4, {"tensor": 2, "pipeline": 3}, 3),
        (1, {"sharding": "Hsdp", "shardSize": 4}, 4),
    ],
)
def test_a_replica_is_counted_in_workers(accelerators: int, parallelism: dict[str, object], expected: int) -> None:
    training: Training = spec_of({"acceleratorsPerWorker": accelerators}, parallelism=parallelism).training
    assert replica_workers(training) == expected


def test_preflight_refuses_a_least_group_that_cannot_train_with_the_numbers() -> None:
    spec = spec_of({"replicas": 4, "minReplicas": 3, "acceleratorsPerWorker": 1}, parallelism={"tensor": 2})
    with pytest.raises(
        StageError, match=r"minReplicas`: 3 x 1 = 3 processes: .*3 processes are no multiple of tensor 2"
    ):
        check_least(spec, MODEL)


def can_train(spec: JobSpec, workers: int) -> bool:
    """By the table of meshes and the model."""
    try:
        checked_layout(spec, MODEL, workers * spec.training.cluster.workers.accelerators_per_worker)
    except StageError:
        return False
    return True


@pytest.mark.parametrize("accelerators", [1, 2, 8])
@pytest.mark.parametrize(
    "parallelism",
    [
        {},
        {"tensor": 2},
        {"tensor": 4},
        {"pipeline": 2},
        {"pipeline": 2, "microBatches": 2},
        {"context": 2},
        {"sharding": "Hsdp", "shardSize": 4},
        {"sharding": "Ddp"},
    ],
)
def test_sizes_are_those_that_training_itself_does_not_refuse(
    accelerators: int, parallelism: dict[str, object]
) -> None:
    """32 sequences, 16 at first; sizes in between that do not divide are left out."""
    ramp = [{"fromTokens": 8192, "globalBatchTokens": 4096}]
    spec = spec_of({"acceleratorsPerWorker": accelerators}, parallelism=parallelism, globalBatchTokens=2048,
                   batchRamp=ramp)  # fmt: skip
    found = [n for n in range(1, 40) if busiest_rows(spec.training, spec.model.context_length, n) is not None]
    assert found == [n for n in range(1, 40) if can_train(spec, n) and n % replica_workers(spec.training) == 0]
    assert found
