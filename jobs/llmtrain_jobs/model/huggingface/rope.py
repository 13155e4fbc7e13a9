"""Rotary positions in a Hugging Face config: written in both spellings, read as transformers has made one of them."""

import math
from typing import Any

from llmtrain.api.model import RopeScalingKind
from llmtrain_jobs.errors import StageError, bad_input
from llmtrain_jobs.model.config import Rope
from llmtrain_jobs.model.huggingface.family import Config, real, shown, whole
from llmtrain_jobs.model.positions import magnitude, yarn_ramp

FIELD = "rope_parameters"
MOST_ROTATIONS = 1e9
"""Over a whole context; beyond all floats their logarithm is none."""
KINDS = {kind.value.lower(): kind for kind in RopeScalingKind}


def to_config(rope: Rope) -> dict[str, Any]:
    """Both spellings: what is older than version 5 reads the first two keys."""
    scaling = _scaling(rope)
    both = {"rope_type": "default", **(scaling or {}), "rope_theta": rope.theta}
    return {"rope_theta": rope.theta, "rope_scaling": scaling, "rope_parameters": both}


def _scaling(rope: Rope) -> dict[str, Any] | None:
    if rope.scaling is None:
        return None
    found: dict[str, Any] = {"rope_type": rope.scaling.value.lower(), "factor": rope.factor}
    if rope.scaling is not RopeScalingKind.LINEAR:
        found["original_max_position_embeddings"] = rope.original_context
    if rope.scaling is RopeScalingKind.LLAMA3:
        found |= {"low_freq_factor": rope.low_frequency_factor, "high_freq_factor": rope.high_frequency_factor}
    if rope.scaling is RopeScalingKind.YARN:
        found |= {"beta_fast": rope.beta_fast, "beta_slow": rope.beta_slow}
    return found


def from_config(given: Config) -> Rope:
    """Ours of `rope_parameters`; BadInput for a scaling that ours cannot express. Plain ones have no other settings."""
    found = given.get(FIELD)
    if not isinstance(found, dict) or any(isinstance(value, dict | list) for value in found.values()):
        raise bad_input(
            f"config.json: `{FIELD}` is {shown(found)}; only one set of values for all layers can be imported"
        )
    name, theta = found.get("rope_type", "default"), real(found, "rope_theta", 1)
    if name == "default":
        return Rope(theta)
    if name not in KINDS:
        raise _refused("rope_type", name, f"there are default, {', '.join(KINDS)}")
    if found.get("partial_rotary_factor", 1.0) != 1.0:
        raise _refused("partial_rotary_factor", found["partial_rotary_factor"], "it must be 1")
    factor = real(found, "factor", 0)
    if KINDS[name] is RopeScalingKind.LINEAR:
        return Rope(theta, RopeScalingKind.LINEAR, factor)
    context = whole(found, "original_max_position_embeddings")
    return (_llama3 if KINDS[name] is RopeScalingKind.LLAMA3 else _yarn)(found, theta, factor, context)


def _llama3(found: Config, theta: float, factor: float, context: int) -> Rope:
    low = real(found, "low_freq_factor", 0)
    high = real(found, "high_freq_factor", low)
    return Rope(theta, RopeScalingKind.LLAMA3, factor, context, low, high)


def _yarn(found: Config, theta: float, factor: float, context: int) -> Rope:
    """As transformers reads them, zero and null stand for the default of `beta_fast` and `beta_slow`."""
    betas = {
        "beta_fast": found.get("beta_fast") or Rope.beta_fast,
        "beta_slow": found.get("beta_slow") or Rope.beta_slow,
    }
    fast, slow = (real(betas, name, 0, MOST_ROTATIONS) for name in betas)
    rope = Rope(theta, RopeScalingKind.YARN, factor, context, beta_fast=fast, beta_slow=slow)
    if found.get("truncate") is False:
        raise _refused("truncate", False, "the range of dimensions must be whole")
    if found.get("mscale") and found.get("mscale_all_dim"):
        raise _refused("mscale_all_dim", found["mscale_all_dim"], "only without it, or without `mscale`")
    attention = found.get("attention_factor")
    if attention is not None and not math.isclose(real(found, "attention_factor"), magnitude(rope), rel_tol=1e-9):
        raise _refused("attention_factor", attention, f"with this `factor` it must be {magnitude(rope)!r}, or absent")
    return rope


def check_ramp(rope: Rope, width: int) -> None:
    """YaRN's dimensions between `beta_fast` and `beta_slow` are in that order; else its formula says nothing."""
    if rope.scaling is RopeScalingKind.YARN:
        low, high = yarn_ramp(rope, width)
        if low > high:
            reason = f"`beta_fast` and `beta_slow` are in no order for heads of {width} and this `rope_theta`"
            raise _refused("original_max_position_embeddings", rope.original_context, reason)


def _refused(key: str, value: Any, reason: str) -> StageError:
    return bad_input(f"config.json: `{FIELD}.{key}` is {shown(value)}; {reason}")
