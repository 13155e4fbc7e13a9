"""What to do about a step that went wrong: pure decisions from numbers that every process has alike.

A spike is a loss or gradient norm above mean + k standard deviations of the last steps (OLMo 2, section 3, takes 6 over
128), of those in the same phase and of the same size. Steps that were skipped count as well, as in OLMo's trainer: what
stays where it jumped to is no spike. Rolling back and leaving out the data since follows PaLM (Chowdhery et al. 2022, section 5.1).
"""

import math
import statistics
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from llmtrain.api.training import Reaction

MINIMUM_SHARE = 2
"""A spike is called one once the window is full to one part in this many."""
LEAST_RELATIVE_DEVIATION = 1e-3
"""Deviations below this share of the mean are noise: a loss that hardly moves has no spikes."""
MOST_OF_A_SPIKE = 10
"""A spike counts as this many times the distance from mean to threshold at most: one of any height would hide all others
while it is in the window."""


class Trouble(StrEnum):
    """What was seen."""

    NON_FINITE_LOSS = "NonFiniteLoss"
    NON_FINITE_GRADIENT = "NonFiniteGradient"
    LOSS_SPIKE = "LossSpike"
    GRADIENT_SPIKE = "GradientSpike"


@dataclass(frozen=True)
class StabilityPlan:
    """The spec's numbers."""

    on_non_finite: Reaction = Reaction.SKIP_STEP
    on_spike: Reaction = Reaction.SKIP_STEP
    sigma: float = 6.0
    window: int = 128
    roll_back_checkpoints: int = 1
    lower_rate_factor: float = 0.5
    limit: int = 20

    def reaction(self, trouble: Trouble) -> Reaction:
        """What the plan does about it."""
        return self.on_non_finite if trouble.value.startswith("NonFinite") else self.on_spike


@dataclass
class Watch:
    """The last losses and gradient norms, and how many steps in a row went wrong."""

    window: int
    losses: deque[float] = field(default_factory=deque)
    norms: deque[float] = field(default_factory=deque)
    in_a_row: int = 0
    since: int | None = None
    """The step, from 0, of which phase and size these all are; None: from a checkpoint that did not know."""

    def __post_init__(self) -> None:
        """Bounded from here on."""
        self.losses, self.norms = deque(self.losses, self.window), deque(self.norms, self.window)

    def accept(self, loss: float, norm: float) -> None:
        """A step that was taken."""
        self.losses.append(loss)
        self.norms.append(norm)
        self.in_a_row = 0

    def enter(self, plan: "StabilityPlan", loss: float, norm: float) -> None:
        """A step that went wrong. What is no number says nothing of where the others are."""
        if math.isfinite(loss) and math.isfinite(norm):
            self.losses.append(min(loss, threshold(plan, self.losses, MOST_OF_A_SPIKE)))
            self.norms.append(min(norm, threshold(plan, self.norms, MOST_OF_A_SPIKE)))

    def follow(self, since: int, step: int) -> None:
        """Before step `step`: those before `since` were of another phase or size, and are forgotten."""
        if self.since == since:
            return
        self.since = since
        while len(self.losses) > step - since:
            self.losses.popleft()
            self.norms.popleft()

    def to_dict(self) -> dict[str, Any]:
        """For a checkpoint; floats survive JSON exactly."""
        return {"losses": list(self.losses), "norms": list(self.norms), "in_a_row": self.in_a_row, "since": self.since}

    @classmethod
    def from_dict(cls, window: int, raw: Mapping[str, Any]) -> "Watch":
        """From a checkpoint; those of before have no `since`."""
        return cls(window, deque(raw["losses"]), deque(raw["norms"]), int(raw["in_a_row"]), raw.get("since"))


def diagnose(plan: StabilityPlan, watch: Watch, loss: float, norm: float) -> Trouble | None:
    """What is wrong with a step, or None."""
    if not math.isfinite(loss):
        return Trouble.NON_FINITE_LOSS
    if not math.isfinite(norm):
        return Trouble.NON_FINITE_GRADIENT
    if loss > threshold(plan, watch.losses):
        return Trouble.LOSS_SPIKE
    if norm > threshold(plan, watch.norms):
        return Trouble.GRADIENT_SPIKE
    return None


def threshold(plan: StabilityPlan, last: Sequence[float], times: float = 1) -> float:
    """Mean + `times` k sigma; infinite while too little is known."""
    if len(last) * MINIMUM_SHARE < plan.window:
        return math.inf
    mean = statistics.fmean(last)
    deviation = max(statistics.pstdev(last, mean), LEAST_RELATIVE_DEVIATION * abs(mean))
    return mean + times * plan.sigma * deviation


def described(plan: StabilityPlan, watch: Watch, trouble: Trouble, loss: float, norm: float) -> str:
    """The trouble with its numbers, and for a spike what it is held against."""
    held = {Trouble.LOSS_SPIKE: watch.losses, Trouble.GRADIENT_SPIKE: watch.norms}.get(trouble)
    numbers = f"loss {loss:.4g}, gradient norm {norm:.4g}"
    if held is None:
        return numbers
    return f"{numbers}, above {threshold(plan, held):.4g} after a mean of {statistics.fmean(held):.4g} over {len(held)} steps"


@dataclass(frozen=True)
class Entry:
    """One reaction. `step` is where the trouble was, `generation` the number of roll-backs before it.

    A roll-back went to the checkpoint of `back_to`; the data from there on begins at `cursors`, after the troubled step.
    """

    step: int
    generation: int
    trouble: Trouble
    reaction: Reaction
    loss: float
    norm: float
    back_to: int = -1
    cursors: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """One line of the ledger; losses as strings, because JSON has no NaN."""
        return {"step": self.step, "generation": self.generation, "trouble": self.trouble.value,
                "reaction": self.reaction.value, "loss": repr(self.loss), "norm": repr(self.norm),
                "back_to": self.back_to, "cursors": dict(self.cursors)}  # fmt: skip

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "Entry":
        """From one line."""
        return cls(int(raw["step"]), int(raw["generation"]), Trouble(raw["trouble"]), Reaction(raw["reaction"]),
                   float(raw["loss"]), float(raw["norm"]), int(raw["back_to"]), raw["cursors"])  # fmt: skip


class SkipLedger:
    """Every reaction of a training, in order. It is no part of what a roll-back undoes: it says what is undone."""

    def __init__(self, entries: Sequence[Entry] = ()) -> None:
        """From storage, or empty."""
        self.entries = list(entries)

    @property
    def roll_backs(self) -> list[Entry]:
        """The roll-backs, in order; their index is the generation that they ended."""
        return [entry for entry in self.entries if entry.reaction is Reaction.ROLL_BACK]

    def add(self, entry: Entry) -> bool:
        """Add a reaction; False where it was known: what is trained again goes wrong again, and counts once."""
        if any((known.step, known.generation) == (entry.step, entry.generation) for known in self.entries):
            return False
        self.entries.append(entry)
        return True

    def is_void(self, step: int, generation: int) -> bool:
        """Whether a checkpoint was undone: later than what a roll-back went to, and older than that roll-back."""
        return any(entry.back_to < step for entry in self.roll_backs[generation:])

    def jump(self, step: int, generation: int) -> tuple[int, Entry] | None:
        """The roll-back whose data position holds from `step` on, and the generation after it.

        Of several that went to this step the last one counts; one that a later roll-back undid does not.
        """
        found = None
        pending = self.roll_backs[generation:]
        for index, entry in enumerate(pending):
            undone = any(later.back_to < entry.back_to for later in pending[index + 1 :])
            if entry.back_to == step and not undone:
                found = generation + index + 1, entry
        return found

    def rate_factor(self, step: int, generation: int, factor: float) -> float:
        """Multiplier of the learning rate at a step, from the reactions before it that lowered the rate."""
        before = [
            e for e in self.entries if e.generation < generation or (e.generation == generation and e.step < step)
        ]
        return float(factor ** sum(entry.reaction is Reaction.LOWER_RATE for entry in before))
