"""Rotary positions in a Hugging Face config, old spelling (`rope_theta`, `rope_scaling`) and new (`rope_parameters`)."""

from typing import Any

from llmtrain.api.model import RopeScalingKind
from llmtrain_jobs.errors import bad_input
from llmtrain_jobs.model.config import Rope

KINDS = {kind.value.lower(): kind for kind in RopeScalingKind}
YARN_IGNORED = ("attention_factor", "mscale", "mscale_all_dim")


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


def from_config(given: dict[str, Any]) -> Rope:
    """Ours, or BadInput for a scaling that ours cannot express."""
    found = given.get("rope_parameters") or given.get("rope_scaling") or {}
    theta = float(found.get("rope_theta") or given.get("rope_theta") or 10000.0)
    name = found.get("rope_type") or found.get("type") or "default"
    if name == "default":
        return Rope(theta)
    odd = [key for key in YARN_IGNORED if found.get(key) is not None]
    if name not in KINDS or odd or found.get("partial_rotary_factor", 1.0) != 1.0 or found.get("truncate") is False:
        raise bad_input(
            f"config.json: rotary positions {found!r} cannot be imported; there are "
            f"default, {', '.join(KINDS)}, without {', '.join(YARN_IGNORED)}"
        )
    context = found.get("original_max_position_embeddings") or Rope.original_context
    return Rope(
        theta,
        KINDS[name],
        float(found["factor"]),
        int(context),
        float(found.get("low_freq_factor", 1.0)),
        float(found.get("high_freq_factor", 4.0)),
        float(found.get("beta_fast") or 32.0),
        float(found.get("beta_slow") or 1.0),
    )
