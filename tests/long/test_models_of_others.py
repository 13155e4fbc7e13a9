"""Every key of a config.json with every odd value: what is read has transformers' logits, all else is bad input.

A minute of CPU time for each family. Keys that only transformers looks at (dropout, labels, code beside the weights) are left out.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from llmtrain_jobs.errors import StageError
from llmtrain_jobs.model.importing import import_folder

from tests.unit.jobs.model.others import GONE, WINDOW, Other, rope
from tests.unit.jobs.model.test_others import LARGEST_DIFFERENCE, ours, quiet, theirs

__all__ = ["quiet"]
pytestmark = [pytest.mark.timeout(1800), pytest.mark.filterwarnings("ignore")]
SEEDS = {
    "gpt2": Other("gpt2"),
    "llama, yarn": Other("llama", rope("yarn", factor=4.0, original_max_position_embeddings=16, beta_fast=16.0, beta_slow=1.0)),
    "llama, llama3": Other(
        "llama", rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)
    ),
    "qwen3": Other("qwen3", WINDOW | {"max_window_layers": 0}),
    "olmo2": Other("olmo2", rope("linear", factor=2.0)),
    "bloom": Other("bloom"),
}  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, [], {}, [1], "x", "1", -1, 0, 1, 2, 3, 0.5, 1e308, 10**400, float("nan"), float("inf"), True, False,
    {"__float__": "Infinity"}, {"a": {"b": 1}}, GONE,
)  # fmt: skip
KEYS = (
    "rope_scaling", "rope_theta", "rope_parameters", "partial_rotary_factor", "original_max_position_embeddings", "head_dim",
    "is_causal", "layer_types", "clip_qkv", "n_embed", "n_inner", "hidden_size", "num_attention_heads", "quantization_config",
)  # fmt: skip
ROPE = ("type", "attention_factor", "mscale", "mscale_all_dim", "truncate", "partial_rotary_factor")
NOT_OURS = (
    "pdrop",
    "dropout",
    "_token_id",
    "use_cache",
    "transformers_version",
    "initializer_range",
    "dtype",
    "summary",
    "arch",
)


def changed(given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for key in dict.fromkeys([*given, *KEYS]):
        if not any(part in key for part in NOT_OURS):
            yield from (without_gone(given | {key: value}) for value in VALUES)
    found = given.get("rope_parameters") or {}
    for key in dict.fromkeys([*found, *ROPE]) if found else ():
        yield from (given | {"rope_parameters": without_gone(found | {key: value})} for value in VALUES)


def without_gone(given: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if value is not GONE}


@pytest.mark.parametrize("seed", SEEDS)
def test_an_odd_value_is_read_as_transformers_reads_it_or_refused(seed: str, tmp_path: Path) -> None:
    SEEDS[seed].save(tmp_path)
    file = tmp_path / "config.json"
    refused = read = 0
    for given in changed(json.loads(file.read_text())):
        file.write_text(json.dumps(given))
        error = refusal(tmp_path)
        if error is not None:
            assert error.failure.value == "BadInput"
            refused += 1
            continue
        expected = asked(tmp_path)
        if expected is not None:
            assert float((ours(tmp_path) - expected).abs().max()) < LARGEST_DIFFERENCE, given
            read += 1
    print(f"{seed}: {read} read with the same logits, {refused} refused")
    assert read > 50
    assert refused > 100


def refusal(folder: Path) -> StageError | None:
    try:
        import_folder(folder)
    except StageError as error:
        return error
    return None


def asked(folder: Path) -> torch.Tensor | None:
    """transformers' logits; None where it fails over a setting that ours does not look at."""
    from huggingface_hub.errors import StrictDataclassError

    try:
        return theirs(folder)
    except (StrictDataclassError, ValueError, TypeError, RuntimeError, OverflowError):
        return None
