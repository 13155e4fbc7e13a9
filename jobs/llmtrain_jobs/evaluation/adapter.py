"""lm-evaluation-harness' view of our model: log-likelihoods of continuations and of whole documents."""

from collections.abc import Sequence
from typing import Any

import torch
from lm_eval.api.model import LM
from tokenizers import Tokenizer
from torch.nn import functional

from llmtrain_jobs.curation.tokens import END_OF_TEXT
from llmtrain_jobs.model.transformer import Transformer

BATCH = 16


class Adapter(LM):  # type: ignore[misc]
    """Our transformer and tokenizer as an `LM`."""

    def __init__(self, model: Transformer, tokenizer: Tokenizer) -> None:
        """The model is put into evaluation mode."""
        super().__init__()
        self.model, self.tokenizer = model.eval(), tokenizer
        self.context = model.config.context
        self.end = int(tokenizer.token_to_id(END_OF_TEXT) or 0)

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[tuple[float, bool]]:  # noqa: ARG002
        """(log-likelihood, is greedy) of each continuation after its context."""
        pairs = [self._encode_pair(*request.args) for request in requests]
        order = sorted(range(len(pairs)), key=lambda index: -len(pairs[index][0]))
        results: list[tuple[float, bool]] = [(0.0, False)] * len(pairs)
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            for index, result in zip(chosen, self._score([pairs[i] for i in chosen]), strict=True):
                results[index] = result
        return results

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[float]:  # noqa: ARG002
        """Log-likelihood of whole documents, in windows that do not overlap, each after end-of-text."""
        return [self._document(request.args[0]) for request in requests]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[str]:  # noqa: ARG002
        """Greedy continuations."""
        return [self._generate(*request.args) for request in requests]

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], int]:
        """Tokens of both, cut on the left, and how many belong to the continuation."""
        whole = self.tokenizer.encode(context + continuation).ids
        before = len(self.tokenizer.encode(context).ids)
        tokens = [self.end, *whole]
        return tokens[-(self.context + 1) :], max(1, len(whole) - before)

    @torch.inference_mode()
    def _score(self, pairs: list[tuple[list[int], int]]) -> list[tuple[float, bool]]:
        longest = max(len(tokens) for tokens, _ in pairs)
        padded = torch.tensor([tokens + [self.end] * (longest - len(tokens)) for tokens, _ in pairs])
        log_BTV = functional.log_softmax(self.model(padded[:, :-1]).float(), dim=-1)
        return [self._one(log_BTV[row], tokens, count) for row, (tokens, count) in enumerate(pairs)]

    def _one(self, log_TV: torch.Tensor, tokens: list[int], count: int) -> tuple[float, bool]:
        first = len(tokens) - 1 - count
        wanted_T = torch.tensor(tokens[first + 1 :])
        part_TV = log_TV[first : first + count]
        greedy = bool((part_TV.argmax(dim=-1) == wanted_T).all())
        return float(part_TV.gather(1, wanted_T.unsqueeze(1)).sum()), greedy

    @torch.inference_mode()
    def _document(self, text: str) -> float:
        tokens = [self.end, *self.tokenizer.encode(text).ids]
        total = 0.0
        for start in range(0, len(tokens) - 1, self.context):
            window = tokens[start : start + self.context + 1]
            total += self._score([(window, len(window) - 1)])[0][0]
        return total

    @torch.inference_mode()
    def _generate(self, context: str, options: dict[str, Any]) -> str:
        tokens = [self.end, *self.tokenizer.encode(context).ids]
        made: list[int] = []
        stops = [stop for stop in options.get("until", []) if stop]
        for _ in range(int(options.get("max_gen_toks", 64))):
            window = torch.tensor([(tokens + made)[-self.context :]])
            made.append(int(self.model(window)[0, -1].argmax()))
            text: str = self.tokenizer.decode(made)
            if made[-1] == self.end or any(stop in text for stop in stops):
                break
        text = self.tokenizer.decode(made)
        return min((text.split(stop)[0] for stop in stops), key=len, default=text)
