"""The loop itself. It knows torch and numbers; Ray, Kubernetes and storage are passed in as functions."""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from llmtrain_jobs.model.transformer import loss_sum
from llmtrain_jobs.training.data import Windows, samples_of
from llmtrain_jobs.training.schedule import learning_rate

MICRO_BATCH_TOKENS = 8192


@dataclass(frozen=True)
class Plan:
    """What is trained, in numbers."""

    total_tokens: int
    batch_sequences: int
    context: int
    peak_learning_rate: float
    warmup_tokens: int
    weight_decay: float
    gradient_clip: float
    checkpoint_seconds: float
    bf16: bool = False

    @property
    def step_tokens(self) -> int:
        """Tokens of one optimizer step over all ranks."""
        return self.batch_sequences * self.context

    @property
    def steps(self) -> int:
        """Steps until the tokens are seen."""
        return math.ceil(self.total_tokens / self.step_tokens)


@dataclass
class Step:
    """What one step has to say."""

    number: int
    tokens: int
    loss: float
    gradient_norm: float
    seconds: float


@dataclass
class Group:
    """The ranks that train together; the default is one process alone."""

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    sum: Callable[[Tensor], None] = lambda _tensor: None
    """Add up a tensor over all ranks, in place."""


class NonFiniteLoss(Exception):
    """The loss is no number; the message names the step."""


def make_optimizer(model: nn.Module, plan: Plan) -> torch.optim.AdamW:
    """Matrices decay; biases, norms and embeddings do not."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    decayed = [p for name, p in named if p.dim() >= 2 and "tokens" not in name and "positions" not in name]
    kept = {id(p) for p in decayed}
    rest = [p for _, p in named if id(p) not in kept]
    groups = [{"params": decayed, "weight_decay": plan.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=plan.peak_learning_rate, betas=(0.9, 0.95), eps=1e-8)


@dataclass
class Trainer:
    """Model, optimizer and position. `stop` is asked by rank 0 and obeyed by all at the same step."""

    model: nn.Module
    plan: Plan
    windows: Windows
    group: Group
    stop: Callable[[], bool]
    on_step: Callable[[Step], None]
    save: Callable[[int, dict[str, Any]], None]
    clock: Callable[[], float] = time.monotonic
    step: int = 0

    def __post_init__(self) -> None:
        """The optimizer belongs to the model."""
        self.optimizer = make_optimizer(self.model, self.plan)
        self._saved_at = self.clock()

    @property
    def bare(self) -> nn.Module:
        """The model without the wrapper of data parallelism."""
        return self.model.module if isinstance(self.model, DistributedDataParallel) else self.model

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {"model": self.bare.state_dict(), "optimizer": self.optimizer.state_dict(), "step": self.step}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.bare.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = int(state["step"])

    def run(self) -> bool:
        """Train to the end (True), or to the step at which somebody asked to stop (False); saved in both cases."""
        while self.step < self.plan.steps:
            stopped = self._one_step()
            self.step += 1
            if stopped:
                self._save()
                return self.step >= self.plan.steps
            if self.clock() - self._saved_at >= self.plan.checkpoint_seconds:
                self._save()
        self._save()
        return True

    def _save(self) -> None:
        if self.group.rank == 0:
            self.save(self.step, self.state())
        self._saved_at = self.clock()

    def _one_step(self) -> bool:
        """One optimizer step; whether to stop after it."""
        started = self.clock()
        seen = self.step * self.plan.step_tokens
        rate = learning_rate(seen, self.plan.total_tokens, self.plan.warmup_tokens, self.plan.peak_learning_rate)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self._gradients()
        facts = torch.tensor([loss, float(self.group.rank == 0 and self.stop())], dtype=torch.float64)
        facts = facts.to(self.group.device, torch.float32 if self.group.device.type == "cuda" else torch.float64)
        self.group.sum(facts)
        mean, stopped = float(facts[0]), bool(facts[1] > 0)
        if not math.isfinite(mean):
            raise NonFiniteLoss(f"loss is {mean} at step {self.step + 1}; lower `peakLearningRate`")
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), self.plan.gradient_clip or math.inf))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.on_step(Step(self.step + 1, seen + self.plan.step_tokens, mean, norm, self.clock() - started))
        return stopped

    def _gradients(self) -> float:
        """Accumulate this rank's gradients; its part of the mean loss."""
        samples = list(samples_of(self.step, self.plan.batch_sequences, self.group.rank, self.group.world))
        size = max(1, MICRO_BATCH_TOKENS // self.plan.context)
        parts = [samples[start : start + size] for start in range(0, len(samples), size)]
        total = 0.0
        for number, part in enumerate(parts, start=1):
            tokens_BT1 = torch.from_numpy(self.windows.batch(part)).to(self.group.device)
            with self._synchronised(number == len(parts)), self._precision():
                loss = loss_sum(self.model, tokens_BT1) / self.plan.step_tokens
                # DDP averages over ranks; the loss is a mean over all of them already.
                torch.autograd.backward(loss * self.group.world)
            total += float(loss.detach())
        return total

    def _synchronised(self, last: bool) -> AbstractContextManager[None]:
        """Gradients are exchanged once a step, with its last micro-batch."""
        if last or not isinstance(self.model, DistributedDataParallel):
            return nullcontext()
        context: AbstractContextManager[None] = self.model.no_sync()
        return context

    def _precision(self) -> AbstractContextManager[Any]:
        if not self.plan.bf16:
            return nullcontext()
        return torch.autocast(self.group.device.type, dtype=torch.bfloat16)
