"""A tokenizer and a model that several files of tests use."""

import pytest
import torch
from llmtrain_jobs.evaluation.harness import prepare
from llmtrain_jobs.model.transformer import Transformer
from tokenizers import Tokenizer

from tests.unit.jobs.evaluation.models import make_model, make_tokenizer

prepare(needs_hub=False)
torch.set_num_threads(1)  # Many threads only wait for each other on models this small.


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return make_tokenizer()


@pytest.fixture(scope="session")
def model(tokenizer: Tokenizer) -> Transformer:
    return make_model(tokenizer.get_vocab_size())
