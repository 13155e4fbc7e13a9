"""A tokenizer and a model that several files of tests use."""

import pytest
from llmtrain_jobs.evaluation.harness import prepare
from llmtrain_jobs.model.transformer import Transformer
from tokenizers import Tokenizer

from tests.unit.jobs.evaluation.models import make_model, make_tokenizer

prepare(needs_hub=False)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return make_tokenizer()


@pytest.fixture(scope="session")
def model(tokenizer: Tokenizer) -> Transformer:
    return make_model(tokenizer.get_vocab_size())
