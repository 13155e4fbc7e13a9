"""Requests to an OpenAI-compatible server: bounded retries, failures by class, every token counted, every answer kept."""

import http.client
import json
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar

from llmtrain.api.endpoint import Endpoint
from llmtrain.api.stageconfig import FailureClass
from llmtrain_jobs.errors import StageError, bad_input, unavailable
from llmtrain_jobs.evaluation.endpoints.answers import Answers, names_of
from llmtrain_jobs.evaluation.endpoints.pace import Pace, Time, Turn, seconds_of

TRIES = 4
"""Of a request that fails or whose answer breaks off."""
LONGEST_PAUSE_SECONDS = 30.0
"""Between tries, where the server names no time."""
PATIENCE_SECONDS = 900.0
"""Without any answer from a server that says that it is busy."""
TELL_SECONDS = 2.0
"""Between two words about how far it is."""
THROTTLED = (429, 503, 529)
BUSY = (408, 409, 425, 500, 502, 504, *THROTTLED)
UNREACHABLE = "EndpointUnreachable"
Body = dict[str, Any]
T = TypeVar("T")


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """The key is for the host that the manifest names, not for one that it points to."""

    def redirect_request(self, *_: object) -> None:
        """Not followed: the answer counts as a refusal."""


@dataclass
class Usage:
    """Tokens that the server counted, and what they cost."""

    requests: int = 0
    reused: int = 0
    """Answers that an earlier attempt had paid for; not among `requests`."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, answer: Body) -> None:
        """Count one answer."""
        usage = answer.get("usage") or {}
        with self.lock:
            self.requests += 1
            self.prompt_tokens += int(usage.get("prompt_tokens") or 0)
            self.completion_tokens += int(usage.get("completion_tokens") or 0)

    def reuse(self) -> None:
        """Count one answer that cost nothing again."""
        with self.lock:
            self.reused += 1

    def usd(self, endpoint: Endpoint) -> Decimal:
        """Price of the tokens so far, US dollars."""
        read = self.prompt_tokens * Decimal(endpoint.usd_per_million_prompt_tokens)
        return (read + self.completion_tokens * Decimal(endpoint.usd_per_million_completion_tokens)) / 1_000_000

    def to_dict(self, endpoint: Endpoint) -> Body:
        """For the report."""
        return {"requests": self.requests, "reused": self.reused, "promptTokens": self.prompt_tokens,
                "completionTokens": self.completion_tokens, "costUsd": f"{self.usd(endpoint):.6f}"}  # fmt: skip


@dataclass
class Tries:
    """Of one request: how often it broke, how often it was put off."""

    broken: int = 0
    busy: int = 0

    def pause(self) -> float:
        """Seconds, doubled each time."""
        return min(2.0 ** (self.broken + self.busy - 1), LONGEST_PAUSE_SECONDS)


class Client:
    """One endpoint. `field` is where it stands in the manifest."""

    def __init__(self, endpoint: Endpoint, api_key: str, field: str, timing: Time | None = None) -> None:
        """Nothing is asked yet."""
        self.endpoint, self.field, self.usage, self._time = endpoint, field, Usage(), timing or Time()
        self.answers: Answers | None = None
        """Where answers are kept, and found; of the task under way."""
        self.tell: Callable[[str], None] = lambda _: None
        """Called now and then, by whoever called `post_all`."""
        self.pace = Pace(endpoint.concurrency, self._time)
        self._answered = self._time.clock()
        self._down: StageError | None = None
        self._opener = urllib.request.build_opener(NoRedirects)
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"

    def post_all(self, path: str, bodies: Sequence[Body], read: Callable[[Body], T]) -> list[T]:
        """What `read` makes of each answer, in the order of the bodies.

        `read` raises ValueError for an answer that is not whole, which is asked for again; StageError for one that no
        asking would mend. What it has read is kept, so that of a failure nothing but the failed request is paid twice.
        """
        server = (self.endpoint.base_url, self.endpoint.model)
        names = names_of(server, path, bodies)
        self._answered = self._time.clock()
        with ThreadPoolExecutor(self.endpoint.concurrency) as pool:
            asked = [
                pool.submit(self._kept_or_asked, path, body, name, read)
                for body, name in zip(bodies, names, strict=True)
            ]
            try:
                return list(self._as_they_come(asked))
            finally:
                # After a failure the others wait for the same end, and somebody pays for the pod meanwhile.
                pool.shutdown(wait=False, cancel_futures=True)

    def _as_they_come(self, asked: Sequence[Future[T]]) -> Iterator[T]:
        told = self._time.clock()
        for number, request in enumerate(asked):
            yield request.result()
            if self._time.clock() - told >= TELL_SECONDS:
                told = self._time.clock()
                self.tell(f"answer {number + 1} of {len(asked)}")

    def _kept_or_asked(self, path: str, body: Body, name: str, read: Callable[[Body], T]) -> T:
        kept = self.answers.find(name) if self.answers else None
        if kept is None:
            return self.post(path, body, read, name)
        try:
            found = read(_object(kept))
        except ValueError:  # Cut while it was written: not every storage writes whole files or none.
            return self.post(path, body, read, name)
        self.usage.reuse()
        return found

    def post(self, path: str, body: Body, read: Callable[[Body], T], name: str = "") -> T:
        """One answer. Raises what the stage ends with: unavailable (for good, in this attempt), denied, or bad input."""
        tries, problem = Tries(), ""
        while tries.broken < TRIES:
            with self.pace.turn() as turn:
                if self._down is not None:
                    raise self._down
                try:
                    raw = self._once(path, {"model": self.endpoint.model, **body})
                    answer = _object(raw)
                    found = read(answer)
                except urllib.error.HTTPError as error:
                    problem = self._put_off(error, turn, tries)
                except (OSError, ValueError, http.client.HTTPException) as error:
                    self._check_trust(error)
                    problem, tries.broken = f"{type(error).__name__}: {error}", tries.broken + 1
                    self.pace.trouble(turn, tries.pause() if tries.broken < TRIES else 0.0)
                else:
                    self._took(answer, raw, name)
                    return found
        raise self._give_up(f"does not answer after {TRIES} tries ({problem[:200]})")

    def _took(self, answer: Body, raw: bytes, name: str) -> None:
        self.usage.add(answer)
        self.pace.went_well()
        self._answered = self._time.clock()
        if self.answers is not None and name:
            self.answers.keep(name, raw)

    def _put_off(self, error: urllib.error.HTTPError, turn: Turn, tries: Tries) -> str:
        """A refusal that may be none later: what it says. The pace is told; raises where that would be too late."""
        problem, asked = self._refused(error), seconds_of(error.headers.get("Retry-After", ""), self._time.now())
        if error.code not in THROTTLED and asked is None:
            tries.broken += 1
            self.pace.trouble(turn, tries.pause() if tries.broken < TRIES else 0.0)
            return problem
        tries.busy += 1
        pause = asked or tries.pause()
        waited = self._time.clock() - self._answered
        if waited + pause > PATIENCE_SECONDS:
            words = f"is busy for {waited:.0f} s and asks for {pause:.0f} s more ({problem[:200]})"
            raise self._give_up(words)
        self.pace.trouble(turn, pause)
        return problem

    def _give_up(self, words: str) -> StageError:
        self._down = unavailable(f"`{self.field}.baseUrl` {self.endpoint.base_url} {words}", UNREACHABLE)
        return self._down

    def _once(self, path: str, body: Body) -> bytes:
        url = f"{self.endpoint.base_url.rstrip('/')}/{path}"
        request = urllib.request.Request(url, json.dumps(body).encode(), self._headers)
        with self._opener.open(request, timeout=self.endpoint.timeout_seconds) as answer:
            data: bytes = answer.read()
        return data

    def _check_trust(self, error: Exception) -> None:
        """A certificate that nobody known has signed does not become better by asking again."""
        if isinstance(getattr(error, "reason", error), ssl.SSLCertVerificationError):
            raise bad_input(
                f"`{self.field}.baseUrl`: the certificate of {self.endpoint.base_url} has no authority that is known "
                f"here; name it in `spec.storage.s3.caBundle` ({error})",
                "EndpointNotTrusted",
            )

    def _refused(self, error: urllib.error.HTTPError) -> str:
        """Text of an answer that may be better next time; raises for one that will not."""
        try:
            text = error.read(500).decode(errors="replace")
        except (OSError, http.client.HTTPException):
            text = "and breaks off"
        if error.code in (401, 403):
            message = (
                f"`{self.field}.apiKeySecretRef`: {self.endpoint.base_url} refuses the key ({error.code}: {text[:200]})"
            )
            raise StageError(FailureClass.DENIED, "EndpointDenied", message)
        if error.code not in BUSY:
            raise bad_input(
                f"`{self.field}`: {self.endpoint.base_url} refuses the request ({error.code}: {text[:200]}); check "
                f"`model` ({self.endpoint.model}) and `baseUrl`",
                "EndpointRefused",
            )
        return f"{error.code}: {text}"


def _object(raw: bytes) -> Body:
    found = json.loads(raw)
    if not isinstance(found, dict):
        raise ValueError("the answer is no JSON object")
    return found


def first_choice(answer: Body) -> Body:
    """What was written; ValueError where there is nothing, as in an error that came with status 200."""
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise ValueError(f"there are no `choices` in {json.dumps(answer)[:120]}")
    return choices[0]
