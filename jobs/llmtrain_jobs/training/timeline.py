"""What each step is: how many sequences of which length, in which phase. Pure, so that any process can compute it.

Ramps and phases count tokens; a step starts at a number of tokens seen, and that number alone decides everything about
it. A step belongs to the phase in which it starts; the last step of training may go beyond the tokens asked for.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class StepShape:
    """One step: `windows` of the full context each, cut into sequences of `length` tokens."""

    number: int
    tokens_before: int
    windows: int
    length: int
    phase: int


@dataclass(frozen=True)
class Change:
    """From step `step` on, counted from 0, steps are of another phase or size; `what` names the fields. Step 0: never yet."""

    step: int
    what: str = ""


@dataclass(frozen=True)
class Ramp:
    """A step function of tokens seen: `values[i]` from `starts[i]` on; `starts[0]` is 0."""

    starts: tuple[int, ...]
    values: tuple[int, ...]

    @classmethod
    def of(cls, first: int, later: Sequence[tuple[int, int]]) -> "Ramp":
        """`first` until the earliest of `later`, which are (tokens, value); raises ValueError where not ascending."""
        starts = [start for start, _ in later]
        if starts != sorted(set(starts)):
            raise ValueError(f"`fromTokens` must ascend, not {starts}")
        if starts and starts[0] == 0:
            return cls(tuple(starts), tuple(value for _, value in later))
        return cls((0, *starts), (first, *(value for _, value in later)))

    def at(self, tokens: int) -> int:
        """The value for a step that starts after `tokens`."""
        return self.values[bisect_right(self.starts, tokens) - 1]

    def last_change(self, tokens: int) -> int:
        """The last start up to `tokens`."""
        return self.starts[bisect_right(self.starts, tokens) - 1]

    def next_change(self, tokens: int) -> int | None:
        """The next start after `tokens`."""
        index = bisect_right(self.starts, tokens)
        return self.starts[index] if index < len(self.starts) else None


@dataclass(frozen=True)
class Timeline:
    """All steps of a training. `windows` and `lengths` are ramps, `phase_ends` cumulated tokens."""

    context: int
    windows: Ramp
    lengths: Ramp
    phase_ends: tuple[int, ...]

    @property
    def total_tokens(self) -> int:
        """Tokens asked for."""
        return self.phase_ends[-1]

    def shape(self, number: int) -> StepShape:
        """Step `number`, counted from 0; closed form over the pieces in which the batch size is constant."""
        tokens = self.tokens_before(number)
        return StepShape(number, tokens, self.windows.at(tokens), self.lengths.at(tokens), self.phase_at(tokens))

    def tokens_before(self, number: int) -> int:
        """Tokens seen when step `number` starts."""
        tokens, left = 0, number
        while True:
            size = self.windows.at(tokens) * self.context
            change = self.windows.next_change(tokens)
            piece = math.ceil((change - tokens) / size) if change is not None else left
            if left <= piece:
                return tokens + left * size
            tokens, left = tokens + piece * size, left - piece

    @property
    def steps(self) -> int:
        """Steps until the tokens are seen."""
        return self.first_step(self.total_tokens)

    def first_step(self, seen: int) -> int:
        """The first step that starts after `seen` tokens or more."""
        tokens, count = 0, 0
        while tokens < seen:
            size = self.windows.at(tokens) * self.context
            change = self.windows.next_change(tokens)
            end = seen if change is None else min(change, seen)
            piece = math.ceil((end - tokens) / size)
            tokens, count = tokens + piece * size, count + piece
        return count

    def last_change(self, number: int) -> Change:
        """When steps last became what step `number` is like: since then losses are of one kind."""
        shape = self.shape(number)
        tokens, phase = shape.tokens_before, shape.phase
        began = {
            f"`training.phases[{phase}]`": self.phase_ends[phase - 1] if phase else 0,
            f"`training.batchRamp` ({shape.windows * self.context} tokens a step)": self.windows.last_change(tokens),
            f"`training.sequenceRamp` (sequences of {shape.length})": self.lengths.last_change(tokens),
        }
        steps = {what: self.first_step(start) for what, start in began.items()}
        last = max(steps.values())
        return Change(last, " and ".join(what for what, step in steps.items() if step == last) if last else "")

    def phase_at(self, tokens: int) -> int:
        """Index of the phase of a step that starts after `tokens`."""
        return min(bisect_right(self.phase_ends, tokens), len(self.phase_ends) - 1)
