"""Requests to an OpenAI-compatible server: bounded retries, failures by class, every token counted."""

import json
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from llmtrain.api.endpoint import Endpoint
from llmtrain.api.stageconfig import FailureClass
from llmtrain_jobs.errors import StageError, bad_input, unavailable

TRIES = 4
LONGEST_PAUSE_SECONDS = 30.0
BUSY = (408, 409, 425, 429, 500, 502, 503, 504)
UNREACHABLE = "EndpointUnreachable"
Body = dict[str, Any]


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """The key is for the host that the manifest names, not for one that it points to."""

    def redirect_request(self, *_: object) -> None:
        """Not followed: the answer counts as a refusal."""


@dataclass
class Usage:
    """Tokens that the server counted, and what they cost."""

    requests: int = 0
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

    def usd(self, endpoint: Endpoint) -> Decimal:
        """Price of the tokens so far, US dollars."""
        read = self.prompt_tokens * Decimal(endpoint.usd_per_million_prompt_tokens)
        return (read + self.completion_tokens * Decimal(endpoint.usd_per_million_completion_tokens)) / 1_000_000

    def to_dict(self, endpoint: Endpoint) -> Body:
        """For the report."""
        return {"requests": self.requests, "promptTokens": self.prompt_tokens,
                "completionTokens": self.completion_tokens, "costUsd": f"{self.usd(endpoint):.6f}"}  # fmt: skip


class Client:
    """One endpoint. `field` is where it stands in the manifest."""

    def __init__(
        self, endpoint: Endpoint, api_key: str, field: str, sleep: Callable[[float], None] | None = None
    ) -> None:
        """Nothing is asked yet."""
        self.endpoint, self.field, self.usage, self._sleep = endpoint, field, Usage(), sleep or time.sleep
        self._down: StageError | None = None
        self._opener = urllib.request.build_opener(NoRedirects)
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"

    def post_all(self, path: str, bodies: Sequence[Body]) -> list[Body]:
        """Answers in the order of the bodies; `concurrency` requests are in flight."""
        with ThreadPoolExecutor(self.endpoint.concurrency) as pool:
            asked = [pool.submit(self.post, path, body) for body in bodies]
            try:
                return [request.result() for request in asked]
            except StageError:
                # The cluster is billed while the others wait for the same end.
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def post(self, path: str, body: Body) -> Body:
        """One answer. Raises what the stage ends with: unavailable (for good, in this attempt), denied, or bad input."""
        problem = ""
        for attempt in range(TRIES):
            if self._down is not None:
                raise self._down
            try:
                answer = self._once(path, {"model": self.endpoint.model, **body})
            except urllib.error.HTTPError as error:
                problem = self._refused(error)
                pause = _retry_after(error, attempt)
            except (OSError, ValueError) as error:
                self._check_trust(error)
                problem, pause = f"{type(error).__name__}: {error}", float(2**attempt)
            else:
                self.usage.add(answer)
                return answer
            if attempt + 1 < TRIES:
                self._sleep(min(pause, LONGEST_PAUSE_SECONDS))
        self._down = unavailable(
            f"`{self.field}.baseUrl` {self.endpoint.base_url} does not answer after {TRIES} tries ({problem[:200]})",
            UNREACHABLE,
        )
        raise self._down

    def _once(self, path: str, body: Body) -> Body:
        url = f"{self.endpoint.base_url.rstrip('/')}/{path}"
        request = urllib.request.Request(url, json.dumps(body).encode(), self._headers)
        with self._opener.open(request, timeout=self.endpoint.timeout_seconds) as answer:
            found = json.load(answer)
        if not isinstance(found, dict):
            raise ValueError("the answer is no JSON object")
        return found

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
        text = error.read(500).decode(errors="replace")
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


def _retry_after(error: urllib.error.HTTPError, attempt: int) -> float:
    asked = error.headers.get("Retry-After", "")
    return float(asked) if asked.isdigit() else float(2**attempt)
