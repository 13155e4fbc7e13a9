"""Answers are the model's own, however sequences are packed; nothing that is shared is computed twice."""

import random
from typing import Any

import pytest
import torch
from llmtrain_jobs.evaluation.generation import Prompt, generate, make_prompts
from llmtrain_jobs.evaluation.plan import Scored, make_plan, pack
from llmtrain_jobs.evaluation.scoring import score
from llmtrain_jobs.model.transformer import Transformer
from tokenizers import Tokenizer

from llmtrain.api.model import PositionKind
from tests.unit.jobs.evaluation.models import make_lm, make_model

CPU = torch.device("cpu")


def naive(model: Transformer, sequence: Scored) -> tuple[float, bool]:
    """One sequence by itself, the whole table of log-probabilities."""
    with torch.inference_mode():
        table = model(torch.tensor([sequence.inputs])).double().log_softmax(-1)[0]
    targets = sequence.tokens[-sequence.scored :]
    rows = table[len(sequence.inputs) - sequence.scored :]
    return sum(float(row[t]) for row, t in zip(rows, targets, strict=True)), all(
        int(row.argmax()) == t for row, t in zip(rows, targets, strict=True)
    )


def questions(count: int, vocabulary: int, seed: int = 0) -> list[Scored]:
    """Questions of random tokens with four answers each, one of them a single token, and some documents."""
    draw = random.Random(seed)

    def tokens(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw.randrange(vocabulary) for _ in range(draw.randint(low, high)))

    made = []
    for _ in range(count):
        question = tokens(5, 60)
        answers = [tokens(1, 1), tokens(1, 1), tokens(2, 8), tokens(2, 8)]
        made += [Scored(question + answer, len(answer)) for answer in answers]
    documents = [tokens(20, 100) for _ in range(count)]
    return made + [Scored(document, len(document) - 1) for document in documents]


ARCHITECTURES: dict[str, dict[str, Any]] = {
    "learned": {},
    "rope": {"positions": PositionKind.ROPE},
    "alibi": {"positions": PositionKind.ALIBI},
    "window": {"positions": PositionKind.ROPE, "sliding_window": 16},
}


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_packed_answers_are_those_of_each_sequence_by_itself(name: str) -> None:
    model = make_model(200, **ARCHITECTURES[name])
    sequences = questions(12, 200)
    for batch in make_plan(sequences, width=32, budget=1024):
        for request, (logs, greedy) in zip(batch.requests, score(model, batch, CPU), strict=True):
            expected, likeliest = naive(model, sequences[request])
            assert logs == pytest.approx(expected, abs=2e-4)
            assert greedy == likeliest


def test_every_request_is_answered_once_and_no_batch_exceeds_the_budget() -> None:
    sequences = questions(40, 200)
    batches = make_plan(sequences, width=32, budget=600)
    assert sorted(r for batch in batches for r in batch.requests.tolist()) == list(range(len(sequences)))
    assert all(batch.size <= 600 for batch in batches)


def test_a_question_with_four_answers_is_computed_once_and_each_answer_once() -> None:
    question = tuple(range(100))
    sequences = [Scored((*question, 101 + number, 7, 8), 3) for number in range(4)]
    (row,) = pack(sequences, width=32, budget=1024)
    assert len(row.tokens) == 100 + 4 * 2
    assert [batch.size for batch in make_plan(sequences, width=32, budget=1024)] == [108]


def test_answers_of_one_token_share_everything() -> None:
    sequences = [Scored((*range(50), letter), 1) for letter in (60, 61, 62, 63)]
    (row,) = pack(sequences, width=32, budget=1024)
    assert len(row.tokens) == 50


def test_examples_that_all_questions_share_are_computed_once() -> None:
    examples = tuple(range(100))
    sequences = [Scored((*examples, 110 + q, 120 + q, 130 + a, 7), 2) for q in range(5) for a in range(4)]
    (row,) = pack(sequences, width=256, budget=4096)
    assert len(row.tokens) == 100 + 5 * (2 + 4 * 1)


def test_sequences_that_share_little_are_not_packed() -> None:
    sequences = [Scored((1, *range(100 * n, 100 * n + 80)), 5) for n in range(1, 6)]
    assert len(pack(sequences, width=32, budget=4096)) == 5


def test_the_plan_is_the_same_whatever_the_order_of_the_requests() -> None:
    sequences = questions(10, 200)
    shuffled = sequences[:]
    random.Random(1).shuffle(shuffled)
    one, other = (make_plan(s, 32, 1024) for s in (sequences, shuffled))
    assert [b.tokens_GL.tolist() for b in one] == [b.tokens_GL.tolist() for b in other]


def test_generation_is_greedy_and_stops_before_a_stop_string(tokenizer: Tokenizer, model: Transformer) -> None:
    lm = make_lm(tokenizer, model)
    prompts = [
        Prompt(tuple(lm.tok_encode(text)), 12, ()) for text in ("the bank", "why the river rose because", "gold")
    ]
    expected = [tokenizer.decode(continued(model, list(prompt.tokens), 12)) for prompt in prompts]
    assert lm.generate(prompts) == expected
    stop = expected[0][3:6]
    (stopped,) = lm.generate([Prompt(prompts[0].tokens, 12, (stop,))])
    assert stopped == expected[0].split(stop)[0]


def continued(model: Transformer, tokens: list[int], count: int) -> list[int]:
    """The likeliest token, the whole prefix again for each."""
    for _ in range(count):
        with torch.inference_mode():
            tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
    return tokens[-count:]


def test_prompts_are_batched_by_their_limits_and_length() -> None:
    prompts = [Prompt((1,) * n, new, ()) for n in (3, 9, 4) for new in (5, 7)]
    batches = make_prompts(prompts, budget=30)
    assert [(batch.new, batch.lengths) for batch in batches] == [(5, (9, 4)), (5, (3,)), (7, (9,)), (7, (4, 3))]


def test_an_answer_that_ends_the_text_stops_the_batch(tokenizer: Tokenizer) -> None:
    model = make_model(tokenizer.get_vocab_size())
    with torch.no_grad():
        assert model.embedding is not None
        end = tokenizer.token_to_id("<|endoftext|>")
        model.embedding.tokens.weight[end] = 100 * model.hidden(torch.tensor([[5, 6]]))[0, -1]
    (batch,) = make_prompts([Prompt((5, 6), 50, ("<|endoftext|>",))], 1000)
    assert generate(model, tokenizer, batch, CPU)[0] == ""
