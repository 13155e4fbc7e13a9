"""Sequence classifiers as Hugging Face writes them."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from tests.unit.jobs.curation.world import WORDS

VOCABULARY = {word: number for number, word in enumerate(["[UNK]", "[PAD]", *WORDS])}


def classifier_in(
    folder: Path, outputs: int, dtype: torch.dtype = torch.float32, head: bool = True, **config: Any
) -> Any:
    """A random encoder of two layers, with its head or without; the model."""
    from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel(VOCABULARY, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(folder)
    torch.manual_seed(3)
    names = {0: "good", 1: "bad"} if outputs == 2 else {0: "score"}
    settings = BertConfig(
        vocab_size=len(VOCABULARY), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        initializer_range=0.3, num_labels=outputs, **({"id2label": names} | config),
    )  # fmt: skip
    model = (BertForSequenceClassification if head else BertModel)(settings).eval().to(dtype)
    model.save_pretrained(folder)
    return model
