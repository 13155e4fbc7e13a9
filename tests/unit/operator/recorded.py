"""Runs that were recorded on the one-node cluster (`tests/e2e/record_replays.py`), looked at as the operator looks at a job.

A file has the plans in its first line, then a line a look: the time, and what has changed of job, pods and node since the one before, as
a merge patch (RFC 7386). Stages, pods and high-water marks are maps there, so that a change is small.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from llmtrain_operator.billing import Node
from llmtrain_operator.deadline import take_progress
from llmtrain_operator.forecasts import update_forecast
from llmtrain_operator.nodes import PRESUMED
from llmtrain_operator.observation import Observation
from llmtrain_operator.observe import read_job
from llmtrain_operator.owed import with_cost_now
from llmtrain_operator.ownership import own_pods
from llmtrain_operator.pricing import Plan
from llmtrain_operator.settlement import settle
from llmtrain_operator.turn import Turn

from llmtrain.api.outlook import Quantiles
from llmtrain.api.status import JobStatus, Pace, Stage, StageState

Json = dict[str, Any]
FOLDER = Path(__file__).parent / "recordings"
NODE = "node-1"


def difference(before: Json, after: Json) -> Json:
    """The merge patch that makes one of the other."""
    changed: Json = dict.fromkeys(before.keys() - after.keys())
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            inner = difference(old, value)
            changed |= {key: inner} if inner else {}
        elif value != old or key not in before:
            changed[key] = value
    return changed


def patched(before: Json, patch: Json) -> Json:
    """The body after a merge patch; neither is changed."""
    after = {key: value for key, value in before.items() if key not in patch}
    for key, value in patch.items():
        if isinstance(value, dict):
            old = before.get(key)
            after[key] = patched(old if isinstance(old, dict) else {}, value)
        elif value is not None:
            after[key] = value
    return after


@dataclass(frozen=True)
class Sample:
    """What there was to see of a job at a time, as the API gave it."""

    now: datetime
    job: Json
    pods: list[Json]
    node: Node

    @staticmethod
    def of(now: str, seen: Json) -> "Sample":
        """Maps become the lists that they are in the API."""
        told = seen["job"]["status"]
        ledger = {**told["ledger"], "highWater": list(told["ledger"]["highWater"].values())}
        status = {**told, "stages": list(told["stages"].values()), "ledger": ledger}
        since = datetime.fromisoformat(seen["node"]["since"])
        node = PRESUMED if seen["node"]["ready"] else Node(False, since)
        return Sample(datetime.fromisoformat(now), {**seen["job"], "status": status}, list(seen["pods"].values()), node)


@dataclass(frozen=True)
class Recording:
    """A run from its manifest to its bill."""

    name: str
    plans: dict[str, Plan]
    samples: list[Sample]

    @property
    def usd(self) -> float:
        """The bill."""
        return float(self.samples[-1].job["status"]["ledger"]["totalMicroUsd"]) / 1e6

    @property
    def begin(self) -> datetime:
        """When the job was made."""
        return datetime.fromisoformat(self.samples[0].job["metadata"]["creationTimestamp"])

    @property
    def end(self) -> datetime:
        """When it was over."""
        return datetime.fromisoformat(self.samples[-1].job["status"]["completionTime"])


def recordings() -> Iterator[Recording]:
    """All that there are."""
    return (read(file) for file in sorted(FOLDER.glob("*.jsonl")))


def read(file: Path) -> Recording:
    head, *lines = (json.loads(line) for line in file.read_text().splitlines())
    seen: Json = {}
    samples = []
    for now, patch in lines:
        seen = patched(seen, patch)
        samples.append(Sample.of(now, seen))
    return Recording(head["name"], {name: Plan.read(raw) for name, raw in head["plans"].items()}, samples)


@dataclass(frozen=True)
class Told:
    """What the operator says at a look of the bill at completion, and what it had said when the sample was taken."""

    now: datetime
    usd: Quantiles
    published: Quantiles
    situation: tuple[Any, ...]
    """Differs between two looks where a stop, loss, retry, stage or manifest change lies between them."""


@dataclass
class Listener:
    """What a stage's head told so far is the replay's own, by today's rules, not what was written down when the run was recorded."""

    shares: dict[Stage, str]
    paces: dict[Stage, Pace]

    def hear(self, turn: Turn) -> None:
        """As a look at a running stage does."""
        for stage in turn.status.stages:
            if stage.state is not StageState.RUNNING:
                continue
            stage.share, stage.pace = self.shares.get(stage.name, ""), self.paces.get(stage.name)
            take_progress(turn, stage)
            self.shares[stage.name] = stage.share
            if stage.pace is not None:
                self.paces[stage.name] = stage.pace


def told(run: Recording) -> Iterator[Told]:
    """The forecast at every look of the run, by the operator's own functions, from when there is an estimate on."""
    listener, before = Listener({}, {}), JobStatus()
    for sample in run.samples:
        if sample.now > run.end:
            return
        turn = turn_at(run, sample, before)
        listener.hear(turn)
        update_forecast(turn)
        before = turn.status
        if turn.status.forecast is not None and turn.status.forecast.usd.p50 and turn.status.stages:
            published = Quantiles.model_validate(sample.job["status"]["forecast"].get("usd", {}))
            yield Told(sample.now, turn.status.forecast.usd, published, situation(turn))


def turn_at(run: Recording, sample: Sample, before: JobStatus) -> Turn:
    """A turn of the operator that begins with the bill. `before`: the status after the look before."""
    job = read_job(sample.job)
    assert job.spec is not None, job.invalid
    pods, nodes = own_pods(job, sample.pods), {NODE: sample.node}
    running = next((stage for stage in job.status.stages if stage.state is StageState.RUNNING), None)
    said = running.progress if running else None
    seen = Observation(replace(job, status=before), pods, nodes, run.plans, sample.now, progress=said)
    turn = Turn(seen, job.spec, job.status.duplicate())
    ledger = settle(turn.status.ledger, pods, nodes, sample.now, turn.stage)
    turn.status.ledger = with_cost_now(ledger, before.ledger, pods, nodes, sample.now)
    return turn


def situation(turn: Turn) -> tuple[Any, ...]:
    """Stages and their attempts, workers and their incarnations, who trains together, the manifest."""
    stages = [(one.name, one.state, one.attempt, one.outcome is not None, slots(one.workers), slots(one.evaluators),
               one.progress.group if one.progress else "") for one in turn.status.stages]  # fmt: skip
    return (turn.seen.job.generation, *stages)


def slots(workers: Any) -> tuple[tuple[int, int], ...]:
    return tuple((one.index, one.incarnation) for one in workers)
