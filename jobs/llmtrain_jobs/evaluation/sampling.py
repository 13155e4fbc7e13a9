"""How the next token of a text is chosen: the likeliest, or drawn by a seed that depends on the prompt alone.

A draw belongs to its prompt, its repetition and the task's seed, never to the batch or the worker, so that a sampled
text is the same whoever writes it.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llmtrain_jobs.errors import bad_input

UNDERSTOOD = frozenset({"until", "max_gen_toks", "do_sample", "temperature", "top_p", "top_k"})


@dataclass(frozen=True, order=True)
class Sampling:
    """Temperature, then the `top_k` likeliest (0: all), then the fewest of these that hold `top_p` of the mass.

    The order is that of Hugging Face's generation; a temperature of 0 takes the likeliest token.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0


GREEDY = Sampling()


def sampling_of(options: Mapping[str, Any], settings: Mapping[str, Any], task: str) -> Sampling:
    """From a task's `generation_kwargs` and the harness' normal form of them; raises bad_input for any other option."""
    unknown = sorted(
        key for key, value in settings.items() if key not in UNDERSTOOD and value not in (None, False, 1, 1.0)
    )
    if unknown:
        raise bad_input(
            f"task `{task}` asks for generation with `{'`, `'.join(unknown)}`, which is not supported; there are "
            f"{', '.join(sorted(UNDERSTOOD))}",
            "UnsupportedGeneration",
        )
    if not settings["do_sample"]:
        return GREEDY
    temperature = float(options.get("temperature", 1.0))
    found = Sampling(temperature, float(settings.get("top_p") or 1.0), int(settings.get("top_k") or 0))
    if found.temperature < 0 or not 0 < found.top_p <= 1 or found.top_k < 0:
        raise bad_input(
            f"task `{task}`: `generation_kwargs` must have temperature >= 0, 0 < top_p <= 1 and top_k >= 0, not {found}",
            "UnsupportedGeneration",
        )
    return found if temperature else GREEDY


def seeds_of(prompts: Sequence[tuple[int, ...]], seed: int) -> list[int]:
    """One seed of 64 bits a prompt; the n-th repetition of a prompt has one of its own."""
    seen: Counter[tuple[int, ...]] = Counter()
    found = []
    for tokens in prompts:
        text = f"{seed}/{seen[tokens]}/{','.join(map(str, tokens))}"
        found.append(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))
        seen[tokens] += 1
    return found


class Chooser:
    """Chooses the next token of each text of a batch."""

    def __init__(self, sampling: Sampling, seeds: Sequence[int]) -> None:
        """`seeds` has one for each row; greedy choices need none."""
        self._sampling = sampling
        self._draws = [np.random.Generator(np.random.Philox(key=seed)) for seed in seeds if sampling.temperature]

    def choose(self, logits_BV: Tensor) -> Tensor:
        """Token ids, shape (B,)."""
        if not self._sampling.temperature:
            return logits_BV.argmax(dim=-1)
        shares_BV = shares(logits_BV.double(), self._sampling)
        marks_B = torch.tensor([draw.random() for draw in self._draws], dtype=torch.float64, device=logits_BV.device)
        sums_BV = shares_BV.cumsum(dim=-1)
        # The last sum is 1 but for rounding; a mark is below it in any case.
        below_BV = sums_BV <= (marks_B * sums_BV[:, -1]).unsqueeze(1)
        return below_BV.sum(dim=-1).clamp(max=logits_BV.shape[-1] - 1)


def shares(logits_BV: Tensor, sampling: Sampling) -> Tensor:
    """Probability of each token under the settings."""
    scaled_BV = logits_BV / sampling.temperature
    if sampling.top_k:
        least_B1 = scaled_BV.topk(min(sampling.top_k, scaled_BV.shape[-1]), dim=-1).values[:, -1:]
        scaled_BV = scaled_BV.masked_fill(scaled_BV < least_B1, -torch.inf)
    shares_BV = scaled_BV.softmax(dim=-1)
    if sampling.top_p < 1:
        sorted_BV, order_BV = shares_BV.sort(dim=-1, descending=True, stable=True)
        before_BV = sorted_BV.cumsum(dim=-1) - sorted_BV
        kept_BV = sorted_BV.masked_fill(before_BV >= sampling.top_p, 0.0)
        shares_BV = torch.zeros_like(shares_BV).scatter(-1, order_BV, kept_BV)
    return shares_BV / shares_BV.sum(dim=-1, keepdim=True)
