"""A config.json as transformers reads it: its defaults, its older names of keys, both spellings of rotary positions."""

import json
from dataclasses import fields
from itertools import product
from typing import Any

from llmtrain_jobs.errors import bad_input
from llmtrain_jobs.model.huggingface.family import Config, Family, require, shown, whole
from llmtrain_jobs.model.huggingface.rope import FIELD as ROPE

OLD_ROPE = ("rope_scaling", "rope_theta", "partial_rotary_factor", "original_max_position_embeddings")
"""Read by transformers though no config class has them."""
COUNTS = (
    "hidden_size",
    "n_embed",
    "n_embd",
    "num_attention_heads",
    "n_head",
    "num_hidden_layers",
    "n_layer",
    "max_position_embeddings",
    "original_max_position_embeddings",
)
"""What transformers divides or counts by before it looks."""
LIKE_NO_OTHER = {
    "quantization_config": (None,),
    "compression_config": (None,),
    "per_layer_config": (None,),
    "transformers_weights": (None,),
    "is_causal": (True,),
}
"""Settings of any family that change what the weights mean, or which are read."""


def parsed(data: bytes, name: str) -> Config:
    """A config.json; BadInput where it is no JSON object."""
    try:
        given = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise bad_input(f"`{name}` is no JSON ({error})"[:900]) from error
    if not isinstance(given, dict):
        raise bad_input(f"`{name}` must hold one JSON object, not {shown(given)}")
    return given


def completed(family: Family, given: Config) -> Config:
    """With the values that transformers fills in or renames; BadInput in its words for what it cannot read."""
    # Half a second to import, for which preflight and training have no use otherwise.
    from huggingface_hub.errors import StrictDataclassError
    from transformers import CONFIG_MAPPING, PreTrainedConfig

    require(given, family.name, LIKE_NO_OTHER)
    scalings = [_flat(given, key) for key in ("rope_scaling", ROPE)]
    for part, key in product([given, *scalings], COUNTS):
        if part.get(key) is not None:
            whole(part, key)
    kind = CONFIG_MAPPING[family.model_type]
    own = {field.name for field in fields(kind)} - {field.name for field in fields(PreTrainedConfig)}
    read = own | kind.attribute_map.keys() | {"n_embed", *(OLD_ROPE if ROPE in own else ())}
    try:
        config = kind(**{key: _copied(value) for key, value in given.items() if key in read})
        if ROPE in own:
            # Once more, as its rotary positions do: a length before stretching beside them goes before one in them.
            config.standardize_rope_params()
    except (StrictDataclassError, ValueError, KeyError, TypeError) as error:
        message = f"config.json: transformers cannot read it: {' '.join(str(error).split())}"
        raise bad_input(message[:900]) from error
    return given | {name: getattr(config, name) for name in own}


def _flat(given: Config, key: str) -> Config:
    value = {} if given.get(key) is None else given[key]
    if not isinstance(value, dict) or any(isinstance(part, dict | list) for part in value.values()):
        raise bad_input(
            f"config.json: `{key}` is {shown(value)}; only one set of values for all layers can be imported"
        )
    return value


def _copied(value: Any) -> Any:
    """transformers fills in its defaults in place."""
    return dict(value) if isinstance(value, dict) else value
