"""Smaller siblings of an architecture: the same blocks, fewer and narrower, in about the same proportion."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from llmtrain.api.counts import parameters
from llmtrain.api.dimensions import FEED_FORWARD_MULTIPLE, dimensions
from llmtrain.api.model import Architecture
from llmtrain.api.sizing import SHAPE_MATTERS

WIDTH_STEP, NARROW_STEP = 64, 8
STEPS = 16
"""A target narrower than 16 x 64 is divided into as many widths."""
SMALLEST_WIDTH = 16


@dataclass(frozen=True)
class Sibling:
    """An architecture, all its parameters, and how far its width per layer is from the target's (ln)."""

    architecture: Architecture
    parameters: int
    slender: float


def siblings(target: Architecture, context: int, vocabulary: int) -> Sequence[Sibling]:
    """All that are narrower and smaller than the target, with its width per layer or one layer more or less."""
    aspect = target.embedding / target.layers
    step = min(WIDTH_STEP, max(NARROW_STEP, 2 ** math.floor(math.log2(target.embedding / STEPS))))
    found = []
    for width in range(max(step, SMALLEST_WIDTH), target.embedding, step):
        middle = round(width / aspect)
        for layers in sorted({max(1, middle + by) for by in (-1, 0, 1)}):
            small = scaled(target, width, layers)
            size = parameters(dimensions(small, context, vocabulary))
            found.append(Sibling(small, size, abs(math.log(width / layers / aspect))))
    whole = parameters(dimensions(target, context, vocabulary))
    return [each for each in found if each.parameters < whole]


def nearest(among: Sequence[Sibling], count: float) -> Sibling:
    """The one with about so many parameters; a shape that is twice as slender counts as 7 % of size."""
    return min(among, key=lambda each: abs(math.log(each.parameters / count)) + SHAPE_MATTERS * each.slender)


def scaled(target: Architecture, width: int, layers: int) -> Architecture:
    """The target with another width and depth: heads no wider than its own, groups and feed-forward in proportion."""
    head = target.head_width or target.embedding // target.heads
    own = head_width(width, head)
    heads = max(1, round(target.heads * head / target.embedding * width / own))
    groups = target.key_value_heads and _divisor(heads, max(1, heads * target.key_value_heads // target.heads))
    inner = target.feed_forward * width / target.embedding / FEED_FORWARD_MULTIPLE
    changed = {
        "layers": layers,
        "embedding": width,
        "heads": heads,
        "key_value_heads": groups,
        "head_width": own if target.head_width else 0,
        "feed_forward": max(1, round(inner)) * FEED_FORWARD_MULTIPLE if target.feed_forward else 0,
    }
    return target.model_copy(update=changed)


def head_width(width: int, most: int) -> int:
    """The widest even width of a head that divides a model's and is no wider than `most`."""
    return next(each for each in range(min(most, width) // 2 * 2, 0, -2) if width % each == 0)


def _divisor(number: int, most: int) -> int:
    return next(each for each in range(most, 0, -1) if number % each == 0)
