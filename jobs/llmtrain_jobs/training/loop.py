"""The loop itself. It knows torch and numbers; Ray, Kubernetes and storage are passed in."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from llmtrain.api.training import Reaction
from llmtrain_jobs.entrypoint.notice import Notice
from llmtrain_jobs.training.checkpoints import Checkpoint, Checkpoints
from llmtrain_jobs.training.engine import DataEngine, Engine, micro_batches_of
from llmtrain_jobs.training.gradients import clip, settle, squared_norm
from llmtrain_jobs.training.group import Group
from llmtrain_jobs.training.heldout import HeldOut
from llmtrain_jobs.training.interval import Interval
from llmtrain_jobs.training.mixture import Cursors
from llmtrain_jobs.training.optimizers import Optimizers
from llmtrain_jobs.training.schedule import RatePlan
from llmtrain_jobs.training.stability import Entry, SkipLedger, StabilityPlan, Trouble, Watch, described, diagnose
from llmtrain_jobs.training.stream import Ahead, Batch, TokenStream
from llmtrain_jobs.training.timeline import StepShape, Timeline
from llmtrain_jobs.training.wrap import ComputePlan


@dataclass(frozen=True)
class Step:
    """What one step has to say. `number` counts from 1, times are seconds."""

    number: int
    tokens: int
    step_tokens: int
    loss: float
    gradient_norm: float
    learning_rate_factor: float
    seconds: float
    data_seconds: float
    reaction: Reaction | None = None


@dataclass(frozen=True)
class Signals:
    """What all processes found of a step together."""

    loss: float
    norm: float
    stop: bool
    due: bool
    leaving: bool
    """A process is about to be taken away."""


class Stopped(Exception):
    """Training cannot go on; the message says at which step and what to change."""


class Listener(Protocol):
    """Who is told, in every process."""

    def on_step(self, step: Step) -> None:
        """A step is over."""

    def on_reaction(self, ledger: SkipLedger) -> None:
        """The ledger has a new entry: make it last before anything depends on it."""

    def on_evaluation(self, step: int, loss: float) -> None:
        """Loss on held-out text after a step."""

    def on_save(self, stall_seconds: float) -> None:
        """A checkpoint was asked for, and the steps stood still for it."""

    def on_leaving(self) -> None:
        """The run has ended, and the pod of this process is being taken away."""


@dataclass
class Parts:
    """What a trainer is made of."""

    engine: Engine
    optimizers: Optimizers
    timeline: Timeline
    rates: RatePlan
    stream: TokenStream
    checkpoints: Checkpoints
    interval: Interval
    group: Group = field(default_factory=Group)
    compute: ComputePlan = field(default_factory=ComputePlan)
    stability: StabilityPlan = field(default_factory=StabilityPlan)
    gradient_clip: float = 1.0
    dropout_seed: int | None = None
    held_out: HeldOut | None = None
    ledger: SkipLedger = field(default_factory=SkipLedger)
    notice: Notice = field(default_factory=Notice)
    """By which the pod of this process is told that it has to go."""
    elastic: bool = False
    """Whether the others go on without a pod that has to go, as another group, instead of waiting for its successor."""


class Trainer:
    """Model, optimizer and position. `stop` is asked by rank 0 and obeyed by all at the same step."""

    def __init__(self, parts: Parts, listener: Listener, stop: Callable[[], bool],
                 clock: Callable[[], float] = time.perf_counter) -> None:  # fmt: skip
        """At the start; `resume` goes on from a checkpoint."""
        self.parts, self._listener, self._stop, self._clock = parts, listener, stop, clock
        self.step, self.generation, self.last_loss = 0, 0, math.nan
        self.worlds = [[0, parts.group.layout.world]]
        """History of the run's size: from which step on it had how many processes."""
        self.watch = Watch(parts.stability.window)
        self._started = self._saved_at = clock()
        self._saved_step = -1
        group = parts.group
        self._ahead = Ahead(parts.stream, group.data_rank, group.layout.data, group.section, group.layout.context)

    def run(self) -> bool:
        """Train to the end (True), or to the step at which somebody asked to stop (False); saved in both cases."""
        steps = self.parts.timeline.steps
        self.parts.notice.listen()
        while self.step < steps:
            signals, reaction = self._one_step()
            if reaction is Reaction.ROLL_BACK:
                self._roll_back()
                continue
            self.step += 1
            self._evaluate()
            if signals.stop or (signals.leaving and self.parts.elastic):
                break
            if signals.leaving:
                self._save(regular=False, now=True)
                self.parts.notice.answer()
            if signals.due and self.step < steps:
                self._save(regular=True)
        self._save(regular=False, now=True)
        if self.parts.notice.is_given:
            self._listener.on_leaving()
        self.parts.notice.answer()
        self._ahead.close()
        return self.step >= steps

    def tensors(self) -> dict[str, torch.Tensor]:
        """Model and optimizer by name; the very tensors that the next step changes."""
        model = {f"model/{name}": p.detach() for p, name in self.parts.optimizers.names.items()}
        return model | {f"optimizer/{name}": value for name, value in self.parts.optimizers.state()}

    def facts(self) -> dict[str, Any]:
        """Everything else that the next step depends on."""
        stream = self.parts.stream
        tokens = self.parts.timeline.tokens_before(self.step)
        return {"step": self.step, "generation": self.generation, "cursors": stream.cursors.to_dict(),
                "digest": stream.digest.hex(), "watch": self.watch.to_dict(), "worlds": self.worlds,
                "loss": self.last_loss, "tokens": tokens}  # fmt: skip

    def resume(self) -> Checkpoint | None:
        """Go on from the newest checkpoint that is whole and that no roll-back has undone."""
        ledger = self.parts.ledger
        valid = [c for c in self._complete() if not ledger.is_void(c.step, int(c.facts["generation"]))]
        chosen = self.parts.checkpoints.sound(valid)
        if chosen:
            self._restore(chosen)
        return chosen

    def _restore(self, checkpoint: Checkpoint) -> None:
        tensors = self.tensors()
        self.parts.checkpoints.load(checkpoint, tensors)
        facts = checkpoint.facts
        self.step, self.generation = int(facts["step"]), int(facts["generation"])
        self.parts.stream.cursors = Cursors.from_dict(facts["cursors"])
        self.parts.stream.digest = bytes.fromhex(facts["digest"])
        self.watch = Watch.from_dict(self.parts.stability.window, facts["watch"])
        self.last_loss = float(facts["loss"])
        here = [self.step, self.parts.group.layout.world]
        self.worlds = [*facts["worlds"], *([here] if facts["worlds"][-1][1] != here[1] else [])]
        self._saved_step, self._saved_at = self.step, self._clock()

    def _complete(self) -> list[Checkpoint]:
        checkpoints = self.parts.checkpoints
        found: list[Checkpoint] = checkpoints.agree(checkpoints.archive.complete() if checkpoints.rank == 0 else [])
        return found

    def _is_due(self) -> bool:
        interval = self.parts.interval
        interval.save_seconds = self.parts.checkpoints.stall_seconds
        now = self._clock()
        return interval.is_due(self.step + 1, now - self._saved_at, (now - self._started) / 3600)

    def _save(self, regular: bool, now: bool = False) -> None:
        """`regular` ones come by the interval; only they are gone back to, so that chance stops change nothing."""
        checkpoints = self.parts.checkpoints
        checkpoints.wait()
        if self.step == self._saved_step:
            return
        checkpoints.save(self.tensors(), self.facts() | {"regular": regular}, now)
        self._saved_step, self._saved_at = self.step, self._clock()
        self._listener.on_save(checkpoints.stall_seconds)

    def _evaluate(self) -> None:
        """On held-out text, where it is time, and at the end whatever the interval."""
        held_out, timeline, engine = self.parts.held_out, self.parts.timeline, self.parts.engine
        before, after = timeline.tokens_before(self.step - 1), timeline.tokens_before(self.step)
        if held_out is None or not (self.step == timeline.steps or held_out.is_due(before, after)):
            return
        assert isinstance(engine, DataEngine), "refused with a pipeline"
        self._listener.on_evaluation(self.step, held_out.loss(engine, self.parts.group, self.parts.compute))

    def _one_step(self) -> tuple["Signals", Reaction | None]:
        """One step: gradients, then what they are good for."""
        started, parts = self._clock(), self.parts
        # A phase or ramp moves losses by more than any deviation of those before it.
        self.watch.follow(parts.timeline.last_change(self.step).step, self.step)
        self._jump()
        shape = parts.timeline.shape(self.step)
        batch = self._ahead.take(shape)
        waited = self._clock() - started
        signals = self._gradients(shape, batch)
        loss, norm = signals.loss, signals.norm
        self.last_loss = loss
        trouble = diagnose(parts.stability, self.watch, loss, norm)
        reaction = self._react(trouble, loss, norm) if trouble else None
        if trouble is None:
            self.watch.accept(loss, norm)
        else:
            self.watch.enter(parts.stability, loss, norm)
        factor = parts.rates.factor(shape.tokens_before) * self._lowered()
        if reaction is None or (reaction is Reaction.LOWER_RATE and math.isfinite(loss + norm)):
            clip(self._settled, norm, parts.gradient_clip)
            parts.optimizers.step(factor)
        parts.optimizers.zero()
        size = shape.windows * parts.timeline.context
        self._listener.on_step(Step(self.step + 1, shape.tokens_before + size, size, loss, norm, factor,
                                    self._clock() - started, waited, reaction))  # fmt: skip
        return signals, reaction

    def _gradients(self, shape: StepShape, batch: Batch) -> "Signals":
        """Gradients, left in the parameters, and what all processes say of this step."""
        parts, group, layout = self.parts, self.parts.group, self.parts.group.layout
        if parts.dropout_seed is not None:
            torch.manual_seed(parts.dropout_seed + self.step * layout.world + group.rank)
        sequences = shape.windows * (parts.timeline.context // shape.length)
        micro = micro_batches_of(sequences, layout.data, parts.compute.rows(shape.length // layout.context))
        sums = parts.engine.accumulate(batch, self._valid(shape, batch), micro)
        if self.step + 1 < parts.timeline.steps:
            self._ahead.prepare(parts.timeline.shape(self.step + 1))
        self._settled = settle(parts.optimizers.parameters)
        first = group.rank == 0
        mine = [first and self._stop(), first and self._is_due(), parts.notice.is_given, parts.checkpoints.failed]
        facts = torch.cat([sums[:1], squared_norm(self._settled, layout).to(sums.device)[None], sums.new_tensor(mine)])
        loss, squared, *flags = group.add(facts).tolist()
        if flags[3]:
            parts.checkpoints.wait()
            raise Stopped(f"another process could not write its part of a checkpoint, seen at step {self.step + 1}")
        norm = math.sqrt(squared) if squared >= 0 else math.nan
        return Signals(loss, norm, *(flag > 0 for flag in flags[:3]))

    def _valid(self, shape: StepShape, batch: Batch) -> int:
        """Targets of the step over all processes."""
        group = self.parts.group
        if batch.segments is None:
            return shape.windows * self.parts.timeline.context
        mine = torch.tensor([batch.valid], dtype=torch.int64, device=group.device)
        return max(1, int(group.add(mine)[0]) // (group.layout.pipeline * group.layout.tensor))

    def _lowered(self) -> float:
        factor = self.parts.stability.lower_rate_factor
        return self.parts.ledger.rate_factor(self.step + 1, self.generation, factor)

    def _jump(self) -> None:
        """After a roll-back the data goes on behind what went wrong, of which the losses are known all the same."""
        jump = self.parts.ledger.jump(self.step, self.generation)
        if jump:
            before, (self.generation, entry) = self.generation, jump
            self.parts.stream.cursors = Cursors.from_dict(entry.cursors)
            self.watch.in_a_row = 0
            since = self.parts.timeline.last_change(self.step)
            for known in self.parts.ledger.roll_backs[before : self.generation]:
                if self.parts.timeline.last_change(known.step) == since:
                    self.watch.enter(self.parts.stability, known.loss, known.norm)

    def _react(self, trouble: Trouble, loss: float, norm: float) -> Reaction:
        """Decide, and make the decision last."""
        plan, ledger = self.parts.stability, self.parts.ledger
        self.watch.in_a_row += 1
        reaction, back_to = plan.reaction(trouble), -1
        where = f"{trouble.value} at step {self.step + 1} ({described(plan, self.watch, trouble, loss, norm)})"
        if reaction is Reaction.ROLL_BACK:
            target = self._target()
            reaction, back_to = (reaction, target.step) if target else (Reaction.SKIP_STEP, -1)
        if reaction is Reaction.STOP:
            raise Stopped(f"{where}: `training.stability` says Stop{self._changed()}")
        too_often = reaction is Reaction.ROLL_BACK and len(ledger.roll_backs) >= plan.limit
        if self.watch.in_a_row > plan.limit or too_often:
            raise Stopped(
                f"{where}: `training.stability.limit` of {plan.limit} is used up{self._changed()}; lower "
                "`training.optimizer.peakLearningRate`, or raise `spikeSigma` if the data explains it"
            )
        entry = Entry(self.step, self.generation, trouble, reaction, loss, norm, back_to,
                      self.parts.stream.cursors.to_dict())  # fmt: skip
        if ledger.add(entry):
            self._listener.on_reaction(ledger)
        return reaction

    def _changed(self) -> str:
        """What is different from the steps before, for people; empty: all steps were alike."""
        change = self.parts.timeline.last_change(self.step)
        return f"; {change.what} began at step {change.step + 1}" if change.step else ""

    def _target(self) -> Checkpoint | None:
        """The n-th newest regular checkpoint that is whole, or the oldest there is."""
        self.parts.checkpoints.wait()
        ledger = self.parts.ledger
        regular = [c for c in self._complete() if c.facts["regular"]
                   and c.step <= self.step and not ledger.is_void(c.step, int(c.facts["generation"]))]  # fmt: skip
        index = min(self.parts.stability.roll_back_checkpoints, len(regular)) - 1
        return self.parts.checkpoints.sound(regular[index:]) if regular else None

    def _roll_back(self) -> None:
        """Back to what the ledger's last entry names; what was saved since is void by the ledger alone."""
        back_to = self.parts.ledger.roll_backs[-1].back_to
        archive = self.parts.checkpoints.archive
        void = [c for c in self._complete() if self.parts.ledger.is_void(c.step, int(c.facts["generation"]))]
        if self.parts.checkpoints.rank == 0:
            for checkpoint in void:
                archive.drop(checkpoint.folder)
        target = next(c for c in self._complete() if c.step == back_to)
        self._restore(target)
