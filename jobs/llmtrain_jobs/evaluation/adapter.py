"""lm-evaluation-harness' view of our checkpoint: its own encoding and windows, our batches on our workers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from lm_eval import utils
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs
from tokenizers import Tokenizer

from llmtrain_jobs.curation.tokens import END_OF_TEXT, for_documents
from llmtrain_jobs.errors import bad_input
from llmtrain_jobs.evaluation.backend import Backend
from llmtrain_jobs.evaluation.chat import FIELD, Chat
from llmtrain_jobs.evaluation.finite import check_finite
from llmtrain_jobs.evaluation.generation import Prompt, make_prompts
from llmtrain_jobs.evaluation.plan import Scored, make_plan
from llmtrain_jobs.evaluation.sampling import sampling_of, seeds_of
from llmtrain_jobs.evaluation.scoring import Answer

DEFAULT_NEW_TOKENS = 256
"""The harness' own default for tasks that say nothing."""


@dataclass
class Cuts:
    """What did not fit the context since the last `take`."""

    requests: int = 0
    tokens: int = 0

    def note(self, excess: int) -> None:
        """One request lost `excess` tokens on the left."""
        if excess > 0:
            self.requests += 1
            self.tokens += excess

    def add(self, others: "Cuts") -> None:
        """What was noted elsewhere."""
        self.requests += others.requests
        self.tokens += others.tokens

    def take(self) -> "Cuts":
        """The counts so far, which start anew."""
        taken = Cuts(self.requests, self.tokens)
        self.requests = self.tokens = 0
        return taken


@dataclass(frozen=True)
class Limits:
    """What the model can take: tokens it sees at once, its width D, tokens of a batch."""

    context: int
    width: int
    batch_tokens: int


Encode = Callable[[str], tuple[int, ...]]


def encoders(tokenizer: Tokenizer, is_chat: bool) -> tuple[Encode, Encode]:
    """How documents are encoded, and how prompts are: a conversation has special tokens, all else is text."""

    def by(own: Tokenizer) -> Encode:
        return lambda text: tuple(own.encode(text, add_special_tokens=False).ids)

    documents = for_documents(Tokenizer.from_str(tokenizer.to_str()))
    if not is_chat:
        return by(documents), by(documents)
    prompts = for_documents(Tokenizer.from_str(tokenizer.to_str()))
    prompts.encode_special_tokens = False
    return by(documents), by(prompts)


class CheckpointModel(TemplateLM):
    """Our transformer and tokenizer as an `LM`; encoding of pairs and rolling windows are the harness'."""

    def __init__(
        self,
        backend: Backend,
        tokenizer: Tokenizer,
        limits: Limits,
        end: int | None = None,
        chat: Chat | None = None,
    ) -> None:
        """`backend` computes; this object only plans. `end` is the token that ends a document.

        `chat`: prompts are conversations. Raises bad input where the tokenizer lacks the token that ends a turn.
        """
        super().__init__()
        self.backend, self.tokenizer, self.limits, self.cuts = backend, tokenizer, limits, Cuts()
        self.chat = chat
        if chat is not None and chat.end_of_turn and tokenizer.token_to_id(chat.end_of_turn) is None:
            raise bad_input(f"`{FIELD}`: the job's tokenizer has no token `{chat.end_of_turn}`", "ChatTemplate")
        self.seed = 0
        """Of what is sampled; the task's."""
        self.end = int(tokenizer.token_to_id(END_OF_TEXT) or 0) if end is None else end
        self.end_text = str(tokenizer.id_to_token(self.end) or END_OF_TEXT)
        text, prompt = encoders(tokenizer, is_chat=chat is not None)
        self._encode_text, self._encode = lru_cache(maxsize=16)(text), lru_cache(maxsize=4096)(prompt)

    @property
    def eot_token_id(self) -> int:
        """End-of-text, which also stands before every document."""
        return self.end

    @property
    def max_length(self) -> int:
        """Tokens that the model sees at once."""
        return self.limits.context

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Token ids; there is no begin-of-text token that could be added."""
        return list(self._encode(string))

    def _loglikelihood_tokens(
        self,
        requests: list[tuple[Any, list[int], list[int]]],
        disable_tqdm: bool = True,
        **_: Any,
    ) -> list[Answer]:
        return self.score([self._scored(before or [self.end], after) for _, before, after in requests])

    def _scored(self, before: list[int], after: list[int]) -> Scored:
        """Cut on the left to what fits; at least the last token is predicted."""
        whole, most = before + after, self.limits.context + 1
        if len(whole) < 2:  # The tokenizer joined both into one token.
            whole = [self.end, *whole]
        self.cuts.note(len(whole) - most)
        kept = whole[-most:]
        return Scored(tuple(kept), min(max(1, len(after)), len(kept) - 1))

    def score(self, sequences: Sequence[Scored]) -> list[Answer]:
        """Answers in the order of the sequences."""
        answers: list[Answer] = [(0.0, False)] * len(sequences)
        batches = make_plan(sequences, self.limits.width, self.limits.batch_tokens)
        for batch, found in zip(batches, self.backend.score(batches), strict=True):
            for request, answer in zip(batch.requests.tolist(), found, strict=True):
                answers[request] = answer
        check_finite((nats for nats, _ in answers), "log-likelihoods are")
        return answers

    def windows(self, tokens: Sequence[int]) -> list[Scored]:
        """The harness' rolling windows of a document: every token predicted once, as much before it as fits."""
        rolling = utils.get_rolling_token_windows(list(tokens), self.end, self.limits.context, 1)
        pairs = [utils.make_disjoint_window(pair) for pair in rolling]
        return [Scored((*before, *after), len(after)) for before, after in pairs]

    def documents(self, documents: Sequence[Sequence[int]]) -> list[float]:
        """Log-likelihood in nats of each document, given as tokens."""
        parts = [(index, window) for index, tokens in enumerate(documents) for window in self.windows(tokens)]
        totals = [0.0] * len(documents)
        for (index, _), (nats, _) in zip(parts, self.score([window for _, window in parts]), strict=True):
            totals[index] += nats
        return totals

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[float]:
        """Log-likelihood of whole texts."""
        return self.documents([self._encode_text(request.args[0]) for request in requests])

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[str]:
        """Continuations up to a stop string, which is left out; greedy unless the task samples."""
        prompts = [self.prompt(request.args[0], request.args[1], str(request.task_name)) for request in requests]
        seeds = seeds_of([prompt.tokens for prompt in prompts], self.seed)
        return self.generate([replace(prompt, seed=seed) for prompt, seed in zip(prompts, seeds, strict=True)])

    def generate(self, prompts: Sequence[Prompt]) -> list[str]:
        """Texts in the order of the prompts."""
        texts = [""] * len(prompts)
        batches = make_prompts(prompts, self.limits.batch_tokens)
        for batch, found in zip(batches, self.backend.generate(batches), strict=True):
            for index, text in zip(batch.requests, found, strict=True):
                texts[index] = text
        return texts

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The harness' conversation as text; without a generation prompt the last turn is the answer's beginning."""
        if self.chat is None:
            # As the harness' own models without a template do: it is asked for one only where conversations were asked for.
            raise NotImplementedError("prompts are plain text")
        return self.chat.render(chat_history, is_answered=not add_generation_prompt)

    @property
    def tokenizer_name(self) -> str:
        """For a cache of requests, which is not used."""
        return ""

    def prompt(self, context: str, options: dict[str, Any], task: str = "") -> Prompt:
        """A prompt under the harness' options. Room for the answer is kept free: half of the context at most."""
        settings = normalize_gen_kwargs(options, DEFAULT_NEW_TOKENS)
        stops = handle_stop_sequences(list(settings["until"]), self.end_text)
        new = min(int(settings["max_gen_toks"]), max(1, self.limits.context // 2))
        tokens, most = self.tok_encode(context) or [self.end], self.limits.context - new
        self.cuts.note(len(tokens) - most)
        stops += [self.chat.end_of_turn] if self.chat else []
        kept = tuple(dict.fromkeys(stop for stop in stops if stop))
        return Prompt(tuple(tokens[-most:]), new, kept, sampling_of(options, settings, task))
