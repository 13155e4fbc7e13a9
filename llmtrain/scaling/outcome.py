"""What a training is expected to come to: its loss, whether its FLOPs are well split, and what the best split gives."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from llmtrain.cost.assumptions import BYTES_PER_TOKEN, Assumption
from llmtrain.cost.ranges import Range, lognormal
from llmtrain.scaling.law import ScalingLaw, bits_per_byte

BYTES_SIGMA = 0.08
"""Standard deviation of ln bytes a token where they are assumed: 3.8 to 4.7 over English of the web, code and prose."""
WASTED_SHARE = 0.2
"""From here on a split is warned of: the best one reaches the same loss with so much less compute."""


class Expectation(Protocol):
    """A law and its doubt: of others (`Foreign`), or of one's own runs (`Fitted`)."""

    @property
    def law(self) -> ScalingLaw:
        """The constants."""

    def loss(self, parameters: float, tokens: float) -> Range:
        """p10, p50 and p90 of the loss, nats a token."""


@dataclass(frozen=True)
class Text:
    """Bytes of text in a token; `sigma` of its logarithm, 0 where it was measured."""

    bytes_per_token: float = BYTES_PER_TOKEN
    sigma: float = BYTES_SIGMA


@dataclass(frozen=True)
class Split:
    """A model's size and its tokens, and the loss that they come to."""

    parameters: float
    tokens: float
    loss: Range
    bits_per_byte: Range

    @property
    def tokens_per_parameter(self) -> float:
        """D / N."""
        return self.tokens / self.parameters


@dataclass(frozen=True)
class Outcome:
    """This training, and the best split of the same FLOPs (6 N D)."""

    planned: Split
    best: Split
    flops: float
    same_loss_flops: float
    """What the best split needs for the loss of this one."""
    law: ScalingLaw
    text: Text

    @property
    def wasted_share(self) -> float:
        """Of the FLOPs: what the best split would save at equal loss, 0 to 1."""
        return max(0.0, 1 - self.same_loss_flops / self.flops)

    @property
    def warnings(self) -> Sequence[str]:
        """What there is to say of tokens per parameter."""
        if self.wasted_share < WASTED_SHARE:
            return []
        planned, best = self.planned, self.best
        ratios = f"{planned.tokens_per_parameter:.3g} tokens per parameter, the best split of the same FLOPs has {best.tokens_per_parameter:.3g}"
        gain = f"it reaches the same loss with {self.wasted_share:.0%} less compute"
        if planned.tokens < best.tokens:
            return [f"the model is under-trained for its size: {ratios}; {gain}"]
        return [
            f"the model is over-trained for its size: {ratios}; {gain}. That pays only where a smaller model's "
            "cheaper answers make up for it [2401.00448]"
        ]

    @property
    def assumptions(self) -> Sequence[Assumption]:
        """What the loss rests on."""
        law = self.law
        constants = f"L = {law.irreducible:.4g} + {law.a:.4g}/N^{law.alpha:.4g} + {law.b:.4g}/D^{law.beta:.4g}"
        known = (
            "given or measured" if not self.text.sigma else "assumption: English text; give it with --bytes-per-token"
        )
        return [
            Assumption("scaling law, nats a token", constants, law.source, law.date),
            Assumption("bytes of text in a token", f"{self.text.bytes_per_token:.3g}", known),
        ]


def outcome(expected: Expectation, parameters: float, tokens: float, text: Text) -> Outcome:
    """Of a training of a model of so many parameters (all of them) on so many tokens, each seen once."""
    flops = 6 * parameters * tokens
    law = expected.law
    return Outcome(
        planned=split(expected, parameters, tokens, text),
        best=split(expected, *law.best_split(flops), text),
        flops=flops,
        same_loss_flops=min(flops, law.flops_for(law.loss(parameters, tokens))),
        law=law,
        text=text,
    )


def split(expected: Expectation, parameters: float, tokens: float, text: Text) -> Split:
    """One pair of size and tokens with its loss."""
    loss = expected.loss(parameters, tokens)
    sigma = math.hypot(loss.sigma, text.sigma)
    bits = lognormal(bits_per_byte(loss.p50, text.bytes_per_token), sigma)
    return Split(parameters, tokens, loss, bits)
