"""The learning rate as a function of tokens seen: linear warm-up, cosine down to a tenth (Radford, Hoffmann et al.)."""

import math

FINAL_SHARE = 0.1


def learning_rate(seen: int, total: int, warmup: int, peak: float) -> float:
    """Rate for the step that starts after `seen` tokens."""
    if seen < warmup:
        return peak * (seen + 1) / warmup
    progress = min(1.0, (seen - warmup) / max(1, total - warmup))
    return peak * (FINAL_SHARE + (1 - FINAL_SHARE) * 0.5 * (1 + math.cos(math.pi * progress)))
