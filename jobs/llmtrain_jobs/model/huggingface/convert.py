"""From our model to a family's and back, tensor by tensor."""

from collections.abc import Iterator, Mapping

from torch import Tensor

from llmtrain_jobs.errors import bad_input
from llmtrain_jobs.model.config import ModelConfig, check
from llmtrain_jobs.model.huggingface.bloom import BLOOM
from llmtrain_jobs.model.huggingface.decoders import LLAMA, OLMO2, QWEN3
from llmtrain_jobs.model.huggingface.family import Config, Family
from llmtrain_jobs.model.huggingface.gpt2 import GPT2

FAMILIES = (GPT2, LLAMA, QWEN3, OLMO2, BLOOM)
LEFTOVERS = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")
"""Buffers that old checkpoints carry along: masks and frequencies, no weights."""


def family_of(config: ModelConfig) -> Family:
    """The family that is exactly this model; BadInput with the nearest family's reasons where there is none."""
    reasons = {family.name: family.refusals(config) for family in FAMILIES}
    for family in FAMILIES:
        if not reasons[family.name]:
            return family
    nearest = min(reasons, key=lambda name: len(reasons[name]))
    raise bad_input(
        f"no Hugging Face family is exactly this model (there are {', '.join(reasons)}); "
        f"nearest is {nearest}, but {'; '.join(reasons[nearest])}",
        "NotExportable",
    )


def family_named(given: Config) -> Family:
    """The family of a config.json; BadInput where it is none of ours."""
    kind = given.get("model_type")
    if given.get("quantization_config"):
        raise bad_input("config.json: quantized weights cannot be imported")
    for family in FAMILIES:
        if family.model_type == kind:
            return family
    known = ", ".join(family.model_type for family in FAMILIES)
    raise bad_input(f"config.json: `model_type` is {kind!r}; {known} can be imported", "NotImportable")


def to_theirs(family: Family, config: ModelConfig, state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Their tensors in the order of their model; each is made when it is asked for."""
    for entry in family.entries(config):
        yield entry.theirs, entry.pack([state[name] for name in entry.ours], config).contiguous()


def to_ours(family: Family, config: ModelConfig, theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our state dict; BadInput names a tensor that is missing, of another shape or unknown."""
    check(config)
    given = _completed(family, config, theirs)
    state: dict[str, Tensor] = {}
    for entry in family.entries(config):
        if entry.theirs not in given:
            raise bad_input(f"weights: `{entry.theirs}` is missing")
        state |= zip(entry.ours, entry.unpack(given.pop(entry.theirs), config), strict=True)
    if given:
        raise bad_input(f"weights: {family.name} with this config.json has no `{min(given)}`")
    return {name: tensor.contiguous() for name, tensor in state.items()}


def _completed(family: Family, config: ModelConfig, theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names as the model with its output has them, without buffers, without the copy of a tied output."""
    bare = not any(name.startswith(family.prefix) for name in theirs)
    given = {
        (family.prefix + name if bare and not name.startswith("lm_head") else name): tensor
        for name, tensor in theirs.items()
        if not name.endswith(LEFTOVERS)
    }
    if config.tied:
        given.pop("lm_head.weight", None)
    return given
