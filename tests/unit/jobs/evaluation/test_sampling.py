"""Sampled texts depend on prompt, repetition and seed alone; their shares are those of the definition."""

from collections import Counter
from typing import Any

import pytest
import torch
from llmtrain_jobs.errors import StageError
from llmtrain_jobs.evaluation.harness import run_parts
from llmtrain_jobs.evaluation.sampling import Chooser, Sampling, seeds_of, shares
from llmtrain_jobs.evaluation.tasks.catalogue import Part
from llmtrain_jobs.model.transformer import Transformer
from tokenizers import Tokenizer

from tests.unit.jobs.evaluation.models import make_lm

DOCS = [{"q": "the bank", "a": "x"}, {"q": "why the river rose because", "a": "y"}, {"q": "gold", "a": "z"}]


def part(repeats: int = 1, **options: Any) -> Part:
    config = {
        "output_type": "generate_until",
        "doc_to_text": "{{q}}",
        "doc_to_target": "{{a}}",
        "repeats": repeats,
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 10} | options,
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    return Part("story", config, DOCS)


def texts(tokenizer: Tokenizer, model: Transformer, budget: int = 1024, seed: int = 7, **options: Any) -> list[str]:
    lm = make_lm(tokenizer, model, budget)
    lm.seed = seed
    return [str(sample["answer"]) for sample in run_parts("story", [part(**options)], lm, 1).samples]


SAMPLED: dict[str, Any] = {"do_sample": True, "temperature": 1.5}


def test_a_sampled_text_does_not_depend_on_the_batch_and_depends_on_the_seed(
    tokenizer: Tokenizer, model: Transformer
) -> None:
    together = texts(tokenizer, model, **SAMPLED)
    assert texts(tokenizer, model, budget=16, **SAMPLED) == together
    assert texts(tokenizer, model, seed=8, **SAMPLED) != together
    assert texts(tokenizer, model, do_sample=False, temperature=0.0) != together


def test_the_likeliest_of_one_is_greedy(tokenizer: Tokenizer, model: Transformer) -> None:
    greedy = texts(tokenizer, model)
    assert texts(tokenizer, model, **SAMPLED, top_k=1) == greedy
    assert texts(tokenizer, model, **SAMPLED, top_p=1e-9) == greedy
    assert texts(tokenizer, model, do_sample=True, temperature=0.0) == greedy


def test_repetitions_of_a_prompt_differ() -> None:
    first, second, other = seeds_of([(1, 2), (1, 2), (3,)], 5)
    assert len({first, second, other}) == 3
    assert seeds_of([(3,), (1, 2)], 5) == [other, first]


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(1.0), [0.5, 0.25, 0.125, 0.125]),
        (Sampling(0.5), [16 / 22, 4 / 22, 1 / 22, 1 / 22]),
        (Sampling(1.0, top_k=2), [2 / 3, 1 / 3, 0, 0]),
        (Sampling(1.0, top_p=0.6), [2 / 3, 1 / 3, 0, 0]),
        (Sampling(1.0, top_p=0.5), [1, 0, 0, 0]),
    ],
)
def test_shares_follow_the_definition_and_draws_follow_the_shares(sampling: Sampling, expected: list[float]) -> None:
    logits = torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log()
    assert shares(logits.double(), sampling)[0].tolist() == pytest.approx(expected)
    draws = 4000
    found = Counter(Chooser(sampling, range(draws)).choose(logits.expand(draws, 4)).tolist())
    for token, share in enumerate(expected):
        assert abs(found[token] / draws - share) <= 4 * (share * (1 - share) / draws) ** 0.5


def test_an_option_that_is_not_understood_is_refused_by_the_task_s_name(
    tokenizer: Tokenizer, model: Transformer
) -> None:
    with pytest.raises(StageError, match=r"task `story` asks for generation with `num_beams`"):
        texts(tokenizer, model, num_beams=4)
    with pytest.raises(StageError, match=r"task `story`.*0 < top_p <= 1"):
        texts(tokenizer, model, **SAMPLED, top_p=2.0)
