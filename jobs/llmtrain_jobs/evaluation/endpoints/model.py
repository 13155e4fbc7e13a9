"""A reference model behind an endpoint as a harness `LM`: the same tasks, asked in text.

Log-likelihoods need a server that echoes a prompt with its log-probabilities (`/completions` with `echo` and
`logprobs`, as vLLM and llama.cpp have it). The server's own tokens are told apart by their places in the text, so that
no tokenizer is needed here.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from lm_eval.api.model import LM
from lm_eval.models.utils import normalize_gen_kwargs

from llmtrain_jobs.errors import bad_input
from llmtrain_jobs.evaluation.adapter import DEFAULT_NEW_TOKENS, Cuts
from llmtrain_jobs.evaluation.endpoints.client import Body, Client, first_choice
from llmtrain_jobs.evaluation.finite import check_finite, whole
from llmtrain_jobs.evaluation.generation import Prompt
from llmtrain_jobs.evaluation.sampling import GREEDY, Sampling, sampling_of
from llmtrain_jobs.evaluation.scoring import Answer

SEED = 1234
Logs = tuple[list[int], list[Any], list[Any]]
BEFORE_NOTHING = "\n"
"""Stands before text that has nothing before it: a server gives no probability of the first token."""


class EndpointModel(LM):
    """`LM` over HTTP."""

    def __init__(self, client: Client) -> None:
        """Requests go out when the harness asks."""
        super().__init__()
        self.client, self.cuts, self.seed = client, Cuts(), SEED

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[Answer]:
        """(log-likelihood, is greedy) of each continuation."""
        pairs = [(request.args[0] or BEFORE_NOTHING, request.args[1]) for request in requests]
        return self._echoed(pairs)

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[float]:
        """Log-likelihood of whole texts, which must fit the server's context."""
        return self.texts([request.args[0] for request in requests])

    def texts(self, texts: Sequence[str]) -> list[float]:
        """Log-likelihood in nats of each text."""
        return [nats for nats, _ in self._echoed([(BEFORE_NOTHING, text) for text in texts])]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[str]:
        """Continuations up to a stop string; greedy unless the task samples."""
        prompts, seen = [], Counter[str]()
        for request in requests:
            context, options = request.args
            settings = normalize_gen_kwargs(options, DEFAULT_NEW_TOKENS)
            stops = tuple(stop for stop in settings["until"] if stop)
            sampling = sampling_of(options, settings, str(request.task_name))
            # A server gives the same text for the same prompt and seed: the n-th repetition has a seed of its own.
            seed = SEED if sampling == GREEDY else self.seed + seen[context]
            seen[context] += 1
            prompts.append((context, Prompt((), int(settings["max_gen_toks"]), stops, sampling, seed)))
        return self.written(prompts)

    def written(self, prompts: Sequence[tuple[str, Prompt]]) -> list[str]:
        """Text after each prompt, under the prompt's limits."""
        bodies: list[Body] = [
            {"prompt": text, "max_tokens": prompt.new, "seed": prompt.seed or SEED, **_choice_of(prompt.sampling)}
            # Servers allow four stop strings; the rest is cut here.
            | ({"stop": list(prompt.stops[:4])} if prompt.stops else {})
            for text, prompt in prompts
        ]
        texts = self.client.post_all("completions", bodies, written_text)
        return [cut_at(text, prompt.stops) for text, (_, prompt) in zip(texts, prompts, strict=True)]

    def _echoed(self, pairs: Sequence[tuple[str, str]]) -> list[Answer]:
        bodies: list[Body] = [
            {"prompt": before + after, "max_tokens": 1, "temperature": 0, "logprobs": 1, "echo": True, "seed": SEED}
            for before, after in pairs
        ]
        logs = self.client.post_all("completions", bodies, self._logs)
        likelihoods = [self._likelihood(*found, *pair) for found, pair in zip(logs, pairs, strict=True)]
        check_finite((nats for nats, _ in likelihoods), f"log-likelihoods of {self.client.endpoint.base_url} are")
        return likelihoods

    def _logs(self, answer: Body) -> Logs:
        """Places, log-probabilities and the likeliest tokens; raises where the server does not give any."""
        logs = first_choice(answer).get("logprobs") or {}
        offsets, values = logs.get("text_offset"), logs.get("token_logprobs")
        if not offsets or not values or len(offsets) != len(values):
            raise bad_input(
                f"`{self.client.field}`: {self.client.endpoint.base_url} gives no log-probabilities of the prompt; the "
                "server must support `echo` with `logprobs` in /completions, or be asked generation tasks only",
                "EndpointHasNoLikelihoods",
            )
        return offsets, values, logs.get("top_logprobs") or []

    def _likelihood(self, offsets: list[int], values: list[Any], tops: list[Any], before: str, after: str) -> Answer:
        return _sum(offsets, values, tops, len(before), len(before) + len(after))


def written_text(answer: Body) -> str:
    """What was written; no half of a surrogate pair is in it, which JSON may bring and no file holds."""
    return whole(str(first_choice(answer).get("text") or ""))


def _choice_of(sampling: Sampling) -> Body:
    """`top_k` is no part of OpenAI's own interface, but vLLM's and llama.cpp's servers know it."""
    found: Body = {"temperature": sampling.temperature}
    found |= {"top_p": sampling.top_p} if sampling.top_p < 1 else {}
    return found | ({"top_k": sampling.top_k} if sampling.top_k else {})


def _sum(offsets: list[int], values: list[Any], tops: list[Any], start: int, end: int) -> Answer:
    """Tokens that reach into start..end of the text; the one that was generated stands at `end`."""
    ends = [*offsets[1:], end]
    inside = [
        i for i, (a, b) in enumerate(zip(offsets, ends, strict=True)) if b > start and a < end and values[i] is not None
    ]
    greedy = all(i >= len(tops) or not tops[i] or values[i] >= max(_numbers(tops[i])) for i in inside)
    return float(sum(values[i] for i in inside)), greedy


def _numbers(top: Body) -> list[float]:
    """Log-probabilities; a server writes null for one that is minus infinity."""
    return [value for value in top.values() if value is not None] or [-math.inf]


def cut_at(text: str, stops: Sequence[str]) -> str:
    """What stands before the first stop string."""
    return min((text.split(stop)[0] for stop in stops), key=len, default=text)
