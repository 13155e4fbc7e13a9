"""The driver's groups against a Ray of a few lines: who is waited for, who is left out, when a group is asked to end."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from llmtrain_jobs.context import Context
from llmtrain_jobs.entrypoint.main import INDEX_LABEL
from llmtrain_jobs.entrypoint.scratch import Scratch
from llmtrain_jobs.errors import StageError
from llmtrain_jobs.training.control import Control
from llmtrain_jobs.training.groups import Groups
from ray.train import TrainingFailedError

from llmtrain.api.elastic import Sizes
from llmtrain.api.stageconfig import StageConfig
from llmtrain.api.status import Stage
from tests.unit.training.harness import store_in
from tests.unit.training.test_elastic import spec_of
from tests.unit.training.test_telemetry import facts

pytestmark = pytest.mark.slow  # importing Ray Train takes seconds


@dataclass
class Remote:
    """An actor or a task whose answer is there at once."""

    target: Any

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=getattr(self.target, name))

    def options(self, scheduling_strategy: str) -> Any:
        return SimpleNamespace(remote=lambda: self.target(scheduling_strategy))


@dataclass
class FakeRay:
    """Nodes by name, each with its index; `silent` ones are listed and do not answer."""

    nodes_there: dict[str, int]
    silent: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    exceptions: Any = field(default_factory=lambda: SimpleNamespace(RayError=ConnectionError))
    util: Any = field(
        default_factory=lambda: SimpleNamespace(
            scheduling_strategies=SimpleNamespace(NodeAffinitySchedulingStrategy=lambda node, soft: node)
        )
    )

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": 1}, "NodeID": node, "Labels": {INDEX_LABEL: str(index)}}
                for node, index in self.nodes_there.items()]  # fmt: skip

    def remote(self, **_: Any) -> Callable[[Any], Remote]:
        return lambda _: Remote(self.ask)

    def ask(self, node: str) -> str:
        self.asked.append(node)
        return f"{node}#{len(self.asked)}"

    def wait(self, references: list[str], num_returns: int, timeout: float) -> tuple[list[str], list[str]]:
        there = [one for one in references if one.split("#")[0] not in self.silent]
        return there, [one for one in references if one not in there]

    def get(self, answer: Any, timeout: float) -> Any:
        return answer


@dataclass
class World:
    """A driver, its control actor, and what each group does."""

    groups: Groups
    ray: FakeRay
    control: Control
    members: list[list[int]] = field(default_factory=list)
    """Indices of each group that was started."""
    lives: list[Callable[["World"], None]] = field(default_factory=list)

    now: float = 0.0
    wakes: float | None = None
    """When all that are silent answer again."""
    falls: tuple[float, str] | None = None
    """When a node falls silent, and which."""

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.wakes is not None and self.now >= self.wakes:
            self.ray.silent = set()
        if self.falls is not None and self.now >= self.falls[0]:
            self.ray.silent.add(self.falls[1])

    def fit(self) -> None:
        self.lives.pop(0)(self)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Three workers wanted, one is enough; the clock moves with each sleep, half a second."""
    spec = spec_of({"replicas": 3, "minReplicas": 1, "elasticWaitSeconds": 10})
    config = StageConfig(job="j", namespace="n", job_uid="u", stage=Stage.TRAINING, attempt=1, workers=3,
                         head_address="h", spec=spec, wait_for_workers_seconds=30)  # fmt: skip
    context = Context(config, store_in(tmp_path), Scratch(tmp_path), threading.Event())
    ray, control = FakeRay({"a": 0, "b": 1, "c": 2}), Control({})
    groups = Groups(context, ray, Remote(control), "key", Sizes(1, lambda workers: 60 // workers))
    made = World(groups, ray, control)
    clock = SimpleNamespace(monotonic=lambda: made.now, sleep=made.sleep)
    monkeypatch.setattr("llmtrain_jobs.training.groups.time", clock)

    def make(_: Context, __: str, ___: Any, ____: int, members: list[Any]) -> World:
        made.members.append([worker.index for worker in members])
        return made

    monkeypatch.setattr("llmtrain_jobs.training.groups.make_trainer", make)
    return made


def step(world: World, number: int) -> None:
    world.control.join(0, 1)
    world.control.step(facts(number))


def trained(world: World) -> None:
    world.control.finish({})


def lose(node: str, at: int) -> Callable[[World], None]:
    """A group that does some steps and loses a worker without notice, which Ray still lists."""

    def life(world: World) -> None:
        step(world, at)
        world.ray.silent.add(node)
        raise TrainingFailedError

    return life


def test_a_lost_worker_is_waited_for_then_left_out_though_it_is_still_listed(world: World) -> None:
    world.lives = [lose("b", 7), trained]
    world.groups.run()
    assert world.members == [[0, 1, 2], [0, 2]]
    assert world.now >= 10, "a successor had its time"


def test_a_worker_that_did_not_answer_once_is_asked_again(world: World) -> None:
    """The only one that is left: a starved machine is no reason to give the attempt up."""

    def life(world: World) -> None:
        step(world, 7)
        world.ray.nodes_there, world.ray.silent = {"a": 0}, {"a"}
        world.now, world.wakes = 0.0, 1.0
        raise TrainingFailedError

    context = world.groups.context
    patient = context.config.model_copy(update={"wait_for_workers_seconds": 200})
    world.groups.context = replace(context, config=patient)
    world.lives = [life, trained]
    world.groups.run()
    assert world.members == [[0, 1, 2], [0]]


def test_two_workers_that_fall_silent_one_after_the_other_are_both_left_out(world: World) -> None:
    """The second while the first is waited for; each of them would be taken again for the other's sake."""

    def life(world: World) -> None:
        step(world, 7)
        world.ray.silent = {"c"}
        world.now, world.falls = 0.0, (5.0, "b")
        raise TrainingFailedError

    world.lives = [life, trained]
    world.groups.run()
    assert world.members == [[0, 1, 2], [0]]
    assert world.now < 60


def test_a_successor_that_comes_in_time_is_waited_for(world: World) -> None:
    def life(world: World) -> None:
        step(world, 7)
        world.ray.nodes_there = {"a": 0, "c": 2, "d": 1}
        raise TrainingFailedError

    world.lives = [life, trained]
    world.groups.run()
    assert world.members == [[0, 1, 2]] * 2
    assert world.now < 1


def test_who_gave_notice_is_not_waited_for_even_while_it_is_there(world: World) -> None:
    def life(world: World) -> None:
        step(world, 7)
        world.control.leave("c")

    world.lives = [life, trained]
    world.groups.run()
    assert world.members == [[0, 1, 2], [0, 1]]
    assert world.now < 1
    assert world.ray.asked == [], "nobody is doubted"


def test_a_group_that_is_asked_to_grow_is_followed_by_a_larger_one(world: World) -> None:
    world.ray.nodes_there = {"a": 0, "b": 1}

    def life(world: World) -> None:
        step(world, 5)
        world.ray.nodes_there["c"] = 2
        world.groups.restart_seconds = 20.0
        asked = []
        for second in range(0, 200, 5):
            world.groups.look(world.control.state(), 1000.0 + second)
            asked.append(world.control.step(facts(5 + second)))
        # 20 s of three workers are 60 worker-seconds of one
        assert asked.index(True) == 60 // 5
        assert asked[12:] == [True] * len(asked[12:])

    world.lives = [life, trained]
    world.groups.run()
    assert world.members == [[0, 1], [0, 1, 2]]


def test_too_few_for_too_long_is_told_as_such(world: World) -> None:
    world.ray.nodes_there = {}
    with pytest.raises(StageError, match="0 of 1 workers are there after 30 s"):
        world.groups.run()


def test_a_stop_between_two_groups_starts_no_other(world: World) -> None:
    def life(world: World) -> None:
        step(world, 5)
        world.groups.context.stop.set()
        raise TrainingFailedError

    world.lives = [life]
    world.groups.run()
    assert world.members == [[0, 1, 2]]


def test_a_group_that_fails_again_and_again_without_a_new_step_is_given_up(world: World) -> None:
    def life(world: World) -> None:
        raise TrainingFailedError

    world.lives = [life] * 9
    with pytest.raises(TrainingFailedError):
        world.groups.run()
    assert len(world.members) == 1 + world.groups.context.config.spec.retry.limit
