"""The same weights in Hugging Face's GPT-2, behind lm-evaluation-harness' own backend: the oracle of parity."""

import warnings
from typing import Any

import torch
from llmtrain_jobs.curation.tokens import END_OF_TEXT
from llmtrain_jobs.model.transformer import Transformer
from tokenizers import Tokenizer


def peer(model: Transformer, tokenizer: Tokenizer, batch_size: int) -> Any:
    """`HFLM` over a GPT-2 with our weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lm_eval.models.huggingface import HFLM
        from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

        config = model.config
        theirs = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=config.vocabulary, n_positions=config.context, n_embd=config.embedding, n_layer=config.layers,
                n_head=config.heads, n_inner=config.feed_forward, activation_function="gelu_new",
                layer_norm_epsilon=config.norm_epsilon, bos_token_id=0, eos_token_id=0,
            )
        )  # fmt: skip
        theirs.load_state_dict(renamed(model), strict=False)
        wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END_OF_TEXT, pad_token=END_OF_TEXT)
        return HFLM(pretrained=theirs.eval(), tokenizer=wrapped, backend="causal", device="cpu", batch_size=batch_size)


def renamed(model: Transformer) -> dict[str, torch.Tensor]:
    """Our weights under GPT-2's names; its matrices are transposed, query, key and value are one."""
    own = model.state_dict()
    found = {
        "transformer.wte.weight": own["embedding.tokens.weight"],
        "transformer.wpe.weight": own["embedding.positions.weight"],
        "lm_head.weight": own["embedding.tokens.weight"],
    }
    for kind in ("weight", "bias"):
        found[f"transformer.ln_f.{kind}"] = own[f"norm.{kind}"]
        for layer in range(model.config.layers):
            ours, theirs = f"blocks.{layer}", f"transformer.h.{layer}"
            attention = torch.cat([own[f"{ours}.attention.{name}.{kind}"] for name in ("query", "key", "value")])
            parts = {
                "ln_1": own[f"{ours}.attention_norm.{kind}"], "ln_2": own[f"{ours}.feed_forward_norm.{kind}"],
                "attn.c_attn": attention, "attn.c_proj": own[f"{ours}.attention.output.{kind}"],
                "mlp.c_fc": own[f"{ours}.feed_forward.up.{kind}"], "mlp.c_proj": own[f"{ours}.feed_forward.down.{kind}"],
            }  # fmt: skip
            found |= {f"{theirs}.{name}.{kind}": part.t() if part.dim() == 2 else part for name, part in parts.items()}
    return found
