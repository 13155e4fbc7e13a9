"""Generation in batches, with a cache of keys and values, up to stop strings.

Suffixes of tensors are their shapes: B batch, T new tokens, P prompt length (padded on the left).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from llmtrain_jobs.evaluation.finite import not_finite
from llmtrain_jobs.evaluation.sampling import GREEDY, Chooser, Sampling
from llmtrain_jobs.model.cache import Cache
from llmtrain_jobs.model.transformer import Transformer


@dataclass(frozen=True)
class Prompt:
    """What is continued by at most `new` tokens."""

    tokens: tuple[int, ...]
    new: int
    stops: tuple[str, ...]
    sampling: Sampling = GREEDY
    seed: int = 0


@dataclass(frozen=True)
class PromptBatch:
    """Prompts that are continued together, padded on the left; `lengths` without the padding."""

    tokens_BP: NDArray[np.int64]
    lengths: tuple[int, ...]
    new: int
    stops: tuple[str, ...]
    requests: tuple[int, ...]
    sampling: Sampling = GREEDY
    seeds: tuple[int, ...] = ()


def make_prompts(prompts: Sequence[Prompt], budget: int) -> list[PromptBatch]:
    """Batches by equal limits and similar length, longest first, of at most `budget` tokens of prompt and answer."""
    order = sorted(range(len(prompts)), key=lambda i: (*_limits(prompts[i]), -len(prompts[i].tokens), i))
    groups: list[list[int]] = []
    for index in order:
        prompt, last = prompts[index], groups[-1] if groups else None
        if last and _together(prompts[last[0]], prompt, len(last) + 1, budget):
            last.append(index)
        else:
            groups.append([index])
    return [_batch(group, prompts) for group in groups]


def _limits(prompt: Prompt) -> tuple[int, tuple[str, ...], Sampling]:
    return prompt.new, prompt.stops, prompt.sampling


def _together(first: Prompt, prompt: Prompt, count: int, budget: int) -> bool:
    return _limits(first) == _limits(prompt) and count * (len(first.tokens) + first.new) <= budget


def _batch(group: list[int], prompts: Sequence[Prompt]) -> PromptBatch:
    rows = [prompts[index].tokens for index in group]
    longest = max(len(row) for row in rows)
    tokens = np.zeros((len(rows), longest), dtype=np.int64)
    for number, row in enumerate(rows):
        tokens[number, longest - len(row) :] = row
    first = prompts[group[0]]
    lengths, seeds = tuple(len(row) for row in rows), tuple(prompts[index].seed for index in group)
    return PromptBatch(tokens, lengths, first.new, first.stops, tuple(group), first.sampling, seeds)


@torch.inference_mode()
def generate(model: Transformer, tokenizer: Tokenizer, batch: PromptBatch, device: torch.device) -> list[str]:
    """One token after the other; each text ends before the first stop string. Raises where the model computes no number."""
    tokens_BT = torch.from_numpy(batch.tokens_BP).to(device)
    rows, longest = tokens_BT.shape
    padding_B = longest - torch.tensor(batch.lengths, device=device)
    cache = Cache.empty(model.config, rows, longest + batch.new, next(model.parameters()), padding_B)
    writers = [Writer(tokenizer, batch.stops) for _ in range(rows)]
    chooser = Chooser(batch.sampling, batch.seeds)
    for _ in range(batch.new):
        logits_BV = model.head(model.hidden(tokens_BT, cache)[:, -1])
        if not bool(logits_BV.amax(dim=-1).isfinite().all()):
            raise not_finite("the probabilities of the next token are")
        next_B = chooser.choose(logits_BV)
        for writer, token in zip(writers, next_B.tolist(), strict=True):
            writer.add(token)
        if all(writer.done for writer in writers):
            break
        tokens_BT = next_B.unsqueeze(1)
    return [writer.text() for writer in writers]


class Writer:
    """One answer as it grows."""

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str]) -> None:
        """Nothing written yet."""
        self.tokenizer, self.stops = tokenizer, stops
        self.tokens: list[int] = []
        self.done = False

    def add(self, token: int) -> None:
        """Append a token, unless the answer has ended."""
        if self.done:
            return
        self.tokens.append(token)
        # Special tokens are shown here, since end-of-text is one of the stops.
        shown = self.tokenizer.decode(self.tokens, skip_special_tokens=False)
        self.done = any(stop in shown for stop in self.stops)

    def text(self) -> str:
        """What stands before the first stop string."""
        text: str = self.tokenizer.decode(self.tokens)
        return min((text.split(stop)[0] for stop in self.stops), key=len, default=text)
