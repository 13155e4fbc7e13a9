"""From our model to a family's and back, tensor by tensor."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from llmtrain.api.dimensions import problems
from llmtrain_jobs.errors import bad_input
from llmtrain_jobs.model.config import ModelConfig, check
from llmtrain_jobs.model.huggingface.bloom import BLOOM
from llmtrain_jobs.model.huggingface.decoders import LLAMA, OLMO2, QWEN3
from llmtrain_jobs.model.huggingface.family import Config, Family, shown
from llmtrain_jobs.model.huggingface.gpt2 import GPT2
from llmtrain_jobs.model.huggingface.reading import completed
from llmtrain_jobs.model.transformer import Transformer

FAMILIES = (GPT2, LLAMA, QWEN3, OLMO2, BLOOM)
LEFTOVERS = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")
"""Buffers that old checkpoints carry along: masks and frequencies, no weights."""
HEAD = "lm_head.weight"
WEIGHT_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


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


def understood(given: Config) -> tuple[Family, ModelConfig]:
    """The family of a config.json and its dimensions; BadInput names the key that ours cannot express."""
    family = family_named(given)
    config = family.from_config(completed(family, given))
    wrong = problems(config)
    if wrong:
        raise bad_input(f"config.json: {'; '.join(wrong)}")
    return family, config


def family_named(given: Config) -> Family:
    """The family of a config.json; BadInput where it is none of ours."""
    kind = given.get("model_type")
    for family in FAMILIES:
        if family.model_type == kind:
            return family
    known = ", ".join(family.model_type for family in FAMILIES)
    raise bad_input(f"config.json: `model_type` is {shown(kind)}; {known} can be imported", "NotImportable")


def to_theirs(family: Family, config: ModelConfig, state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Their tensors in the order of their model; each is made when it is asked for."""
    for entry in family.entries(config):
        yield entry.theirs, entry.pack([state[name] for name in entry.ours], config).contiguous()


def to_ours(family: Family, config: ModelConfig, theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our state dict; BadInput names a tensor that is missing, unknown, of another shape or of a type for no weights."""
    check(config)
    given = _completed(family, config, theirs)
    with torch.device("meta"):
        expected = Transformer(config).state_dict()
    state: dict[str, Tensor] = {}
    for entry in family.entries(config):
        if entry.theirs not in given:
            raise bad_input(f"weights: `{entry.theirs}` is missing")
        tensor = given.pop(entry.theirs)
        _check_tensor(entry.theirs, tensor, entry.pack([expected[name] for name in entry.ours], config).shape)
        state |= zip(entry.ours, entry.unpack(tensor, config), strict=True)
    if given:
        raise bad_input(f"weights: {family.name} with this config.json has no `{min(given)}`")
    return {name: tensor.contiguous() for name, tensor in state.items()}


def _check_tensor(name: str, tensor: Tensor, shape: torch.Size) -> None:
    if tensor.dtype not in WEIGHT_TYPES:
        raise bad_input(f"weights: `{name}` is {tensor.dtype}, which is no type of weights that are not quantized")
    if tensor.shape != shape:
        raise bad_input(f"weights: `{name}` is {tuple(tensor.shape)}, config.json asks for {tuple(shape)}")


def _completed(family: Family, config: ModelConfig, theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names as the model with its output has them, without buffers, without the copy of a tied output."""
    bare = not any(name.startswith(family.prefix) for name in theirs)
    given = {
        (family.prefix + name if bare and not name.startswith("lm_head") else name): tensor
        for name, tensor in theirs.items()
        if not name.endswith(LEFTOVERS)
    }
    head = given.pop(HEAD, None) if config.tied else None
    if head is None:
        return given
    tokens = next(entry.theirs for entry in family.entries(config) if entry.ours == ("embedding.tokens.weight",))
    if not _same(given.setdefault(tokens, head), head):
        # transformers then takes the output as it is, and so it would be another model than its config.json says.
        raise bad_input(
            f"config.json: `tie_word_embeddings` is true, but the weights' `{HEAD}` is not their `{tokens}`; "
            "set it to false where the output is its own, else take that tensor out"
        )
    return given


def _same(first: Tensor, second: Tensor) -> bool:
    """Without content (on the meta device), of the same shape."""
    if first.is_meta:
        return first.shape == second.shape
    kind = torch.promote_types(first.dtype, second.dtype)
    return first.shape == second.shape and torch.equal(first.to(kind), second.to(kind))
