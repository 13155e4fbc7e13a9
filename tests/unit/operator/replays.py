"""Runs out of a generator that knows nothing of the forecast: what their heads tell look by look, and what they cost in the end.

A run has a curation, a training and an evaluation. Their speeds are drawn around estimates that are as good as they say; curation's
steps do not cost what is assumed of them, training's speed wanders, stands still for saves, loses nodes with the work since the
last checkpoint, and may go on with half of its workers for a while; evaluation's tasks differ.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from llmtrain.api.status import Progress, Stage
from tests.unit.operator.fake_cluster import START

LOOKS = 250
SPREADS = {Stage.CURATION: 0.70, Stage.TRAINING: 0.29, Stage.EVALUATION: 0.60}
"""Of the estimates, standard deviations of the logarithm."""
STEADY = 0.92
STEPS = (0.79, 0.01, 0.05, 0.06, 0.09)
"""What the steps of a curation are assumed to cost, shares of the whole."""
TOKENS = 10**12


@dataclass
class Look:
    """What there is to see at a time: hours since the begin, dollars so far, what the running stage tells and since when it is placed."""

    hours: float
    usd: float
    stage: Stage
    told: Progress
    placed: datetime
    held_seconds: int
    usd_per_hour: float
    disturbed: bool = False
    """A loss, a stage or another number of workers lies between the last look and this one."""

    @property
    def now(self) -> datetime:
        return START + timedelta(hours=self.hours)


@dataclass
class Clock:
    """Time and money of a run so far. A stage is looked at every so many hours."""

    random: Random
    every: float
    hours: float = 0.0
    usd: float = 0.0
    looks: list[Look] = field(default_factory=list)
    disturbed: bool = False

    def spend(self, hours: float, rate: float) -> None:
        self.hours, self.usd = self.hours + hours, self.usd + hours * rate

    def look(self, stage: Stage, told: Progress, placed: float, held: float, rate: float) -> None:
        at = START + timedelta(hours=placed)
        self.looks.append(Look(self.hours, self.usd, stage, told, at, int(held * 3600), rate, self.disturbed))
        self.disturbed = False


@dataclass(frozen=True)
class Replay:
    """`medians`: the estimates of the stages' hours, their p50; `rates`: dollars an hour."""

    medians: dict[Stage, float]
    rates: dict[Stage, float]
    looks: list[Look]
    usd: float

    @property
    def hours(self) -> float:
        return self.looks[-1].hours


def replays(count: int) -> Iterator[Replay]:
    """Always the same."""
    return (replay(Random(f"replay {number}")) for number in range(count))


def replay(random: Random) -> Replay:
    rate = 10 ** random.uniform(1, 3)
    rates = {Stage.CURATION: 0.1 * rate, Stage.TRAINING: rate, Stage.EVALUATION: 0.3 * rate}
    training = 10 ** random.uniform(0.7, 2.3)
    true = {
        Stage.CURATION: training * random.uniform(0.1, 0.5),
        Stage.TRAINING: training,
        Stage.EVALUATION: training * random.uniform(0.02, 0.15),
    }
    clock = Clock(random, sum(true.values()) / LOOKS)
    for stage, run in ((Stage.CURATION, curation), (Stage.TRAINING, train), (Stage.EVALUATION, evaluation)):
        clock.disturbed = True
        run(clock, true[stage], rates[stage])
    medians = {stage: hours / math.exp(random.gauss(0, SPREADS[stage])) for stage, hours in true.items()}
    return Replay(medians, rates, clock.looks, clock.usd)


def start(clock: Clock, rate: float) -> float:
    """A cluster starts; when it was placed, in hours."""
    placed = clock.hours
    clock.spend(clock.random.uniform(0.01, 0.05), rate)
    return placed


def curation(clock: Clock, hours: float, rate: float) -> None:
    """Steps of so many parts each, that cost otherwise than is assumed."""
    random, placed, parts = clock.random, start(clock, rate), clock.random.randint(20, 200)
    costs = [share * math.exp(random.gauss(0, 0.30)) for share in STEPS]
    worked = 0.0
    for number, cost in enumerate(costs):
        length, spent = hours * cost / sum(costs), 0.0
        while spent < length:
            part = min(clock.every, length - spent)
            clock.spend(part, rate)
            spent, worked = spent + part, worked + part
            done = int(parts * spent / length)
            share = (sum(STEPS[:number]) + STEPS[number] * done / parts) / sum(STEPS)
            told = Progress(
                done=done, total=parts, unit="parts", share=f"{share:.6f}", working_seconds=int(worked * 3600)
            )
            clock.look(Stage.CURATION, told, placed, 0.0, rate)


@dataclass
class Steps:
    """A training's state; speed in shares of all its tokens an hour."""

    speed: float
    done: float = 0.0
    furthest: float = 0.0
    saved: float = 0.0
    working: float = 0.0
    redone: float = 0.0
    drift: float = 0.0


def train(clock: Clock, hours: float, rate: float) -> None:
    """`hours` would be its calendar at the usual share of steady speed."""
    random, placed, held = clock.random, start(clock, rate), 0.0
    steps, moving = Steps(1 / hours / STEADY), random.uniform(0.86, 0.99)
    losses, away = 0.0 if random.random() < 0.3 else random.uniform(0.2, 2.0) / hours, absence(random, hours)
    smaller = False
    while steps.done < 1:
        part = clock.every
        if random.random() < losses * part:
            held += clock.hours - placed
            clock.disturbed = True
            steps.done, steps.working, steps.redone = steps.saved, 0.0, 0.0
            placed = start(clock, rate)
        now_smaller = away[0] <= clock.hours < away[1]
        clock.disturbed, smaller = clock.disturbed or now_smaller != smaller, now_smaller
        _step(random, steps, part, moving, 0.5 if smaller else 1.0)
        price = rate * (0.5 if smaller else 1.0)
        clock.spend(part, price)
        clock.look(Stage.TRAINING, _told(random, steps, "0-3" if smaller else "0-7"), placed, held, price)


def absence(random: Random, hours: float) -> tuple[float, float]:
    """When half of the workers are away: never, of most runs."""
    begin = random.uniform(0, 1.5 * hours) if random.random() < 0.15 else math.inf
    return begin, begin + random.uniform(0.05, 0.3) * hours


def _step(random: Random, steps: Steps, part: float, moving: float, size: float) -> None:
    """Steps for so long, saves within it left out. A checkpoint is complete about once in ten looks."""
    steps.drift = 0.9 * steps.drift + random.gauss(0, 0.012)
    moved = part * moving
    gained = moved * steps.speed * size * math.exp(steps.drift)
    again = min(gained, max(0.0, steps.furthest - steps.done))
    steps.redone += moved * again / gained
    steps.working += moved * (1 - again / gained)
    steps.done += gained
    steps.furthest = max(steps.furthest, steps.done)
    if random.random() < 0.1:
        steps.saved = steps.done


def _told(random: Random, steps: Steps, group: str) -> Progress:
    """The speed that is told is that of one step: now and then one takes three times as long."""
    last = steps.speed * TOKENS / 3600 * math.exp(random.gauss(0, 0.05)) / (3 if random.random() < 0.02 else 1)
    return Progress(
        done=int(min(1, steps.done) * TOKENS), total=TOKENS, unit="tokens", tokens_per_second=f"{last:.0f}", group=group,
        working_seconds=int(steps.working * 3600), redone_seconds=int(steps.redone * 3600),
    )  # fmt: skip


def evaluation(clock: Clock, hours: float, rate: float) -> None:
    """Tasks, one after the other."""
    random, placed = clock.random, start(clock, rate)
    costs = [math.exp(random.gauss(0, 0.5)) for _ in range(random.randint(4, 16))]
    for number, cost in enumerate(costs):
        length, spent = hours * cost / sum(costs), 0.0
        while spent < length:
            part = min(clock.every, length - spent)
            clock.spend(part, rate)
            spent += part
            clock.look(Stage.EVALUATION, Progress(done=number, total=len(costs), unit="tasks"), placed, 0.0, rate)
