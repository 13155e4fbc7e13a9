"""Speed of the model beside transformers' own, interleaved on the same machine; printed, nothing is asserted.

Forward and backward of one batch in float32 on one thread, both with scaled_dot_product_attention. Seconds are those of
the CPU, so that a busy machine matters less.
"""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from llmtrain_jobs.model.config import ModelConfig
from llmtrain_jobs.model.huggingface.convert import family_of
from llmtrain_jobs.model.transformer import Transformer
from torch.nn import functional

from tests.unit.jobs.model.configs import GPT2, LLAMA

ROUNDS, BATCH, CONTEXT, VOCABULARY = 9, 4, 256, 4096
SIZE: dict[str, Any] = {"layers": 4, "heads": 4, "embedding": 256, "context": CONTEXT, "vocabulary": VOCABULARY}


def theirs_of(config: ModelConfig) -> Any:
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    import transformers

    family = family_of(config)
    given = family.to_config(config) | {"use_cache": False}
    kind = transformers.CONFIG_MAPPING[family.model_type]
    built = getattr(transformers, given["architectures"][0])
    return built._from_config(kind.from_dict(given), attn_implementation="sdpa")


def step(logits: Callable[[torch.Tensor], torch.Tensor], tokens: torch.Tensor) -> float:
    started = time.process_time()
    loss = functional.cross_entropy(logits(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
    torch.autograd.backward(loss)
    return time.process_time() - started


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("gpt2", replace(GPT2, **SIZE, feed_forward=1024)),
        ("llama", replace(LLAMA, **SIZE, feed_forward=704, key_value_heads=2)),
    ],
)
def test_tokens_per_second_beside_transformers(name: str, config: ModelConfig) -> None:
    torch.set_num_threads(1)
    ours, theirs = Transformer(config), theirs_of(config)
    tokens = torch.randint(0, VOCABULARY, (BATCH, CONTEXT + 1))
    sides: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"ours": ours, "theirs": lambda t: theirs(t).logits}
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(ROUNDS + 1):
        for side, logits in sides.items():
            taken = step(logits, tokens)
            if number:
                seconds[side].append(taken)
    speed = {side: BATCH * CONTEXT / statistics.median(taken) for side, taken in seconds.items()}
    ratios = [b / a for a, b in zip(seconds["ours"], seconds["theirs"], strict=True)]
    print(f"\n{name}: ours {speed['ours']:.0f}, transformers {speed['theirs']:.0f} tokens/s, "
          f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")  # fmt: skip
