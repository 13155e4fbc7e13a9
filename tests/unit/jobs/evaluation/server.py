"""A small OpenAI-compatible server whose answers follow from closed rules.

Its tokens are words with the white space before them; a token's log-probability is minus half its length. What it
writes to a prompt is the prompt's last word, twice. As a judge it prefers what `prefers` says.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from llmtrain_jobs.evaluation.endpoints.pace import Time

Body = dict[str, Any]
Prefers = Callable[[str, str], str]
Failure = int | tuple[int, str] | bytes
"""Status, with its `Retry-After`; or what is sent instead of an answer before the connection is closed."""
CUT = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"choices": [{"te'


def log_probability(token: str) -> float:
    return -0.5 * len(token)


def tokens_of(text: str) -> list[tuple[int, str]]:
    return [(match.start(), match.group()) for match in re.finditer(r"\s*\S+|\s+$", text)]


class FakeTime:
    """A clock that waiting moves on."""

    START = datetime(2026, 3, 1, tzinfo=UTC)

    def __init__(self) -> None:
        self.seconds, self.pauses, self.lock = 0.0, list[float](), threading.Lock()
        self.timing = Time(lambda: self.seconds, self.wait, lambda: self.START + timedelta(seconds=self.seconds))

    def wait(self, seconds: float) -> None:
        with self.lock:
            self.pauses.append(seconds)
            self.seconds += seconds


class Server:
    """What it was asked, and how it misbehaves."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Body, str]] = []
        self.failures: list[Failure] = []
        self.status_of: Callable[[Body], int] = lambda body: 200
        self.lock = threading.Lock()
        self.key = ""
        self.likelihoods = True
        self.prefers: Prefers = lambda a, b: "A" if len(a) >= len(b) else "B"
        self.url = ""

    def answer(self, path: str, body: Body) -> Body:
        usage = {"prompt_tokens": 100, "completion_tokens": 10}
        if path.endswith("/chat/completions"):
            return {"choices": [{"message": {"content": self._judge(body)}}], "usage": usage}
        choice: Body = {"text": self._written(body)}
        if body.get("echo") and self.likelihoods:
            made = [*tokens_of(body["prompt"]), (len(body["prompt"]), " next")]
            logs = [None, *(log_probability(token) for _, token in made[1:])]
            choice["logprobs"] = {"text_offset": [at for at, _ in made], "token_logprobs": logs,
                                  "top_logprobs": [None, *({"x": -0.1} for _ in made[1:])]}  # fmt: skip
        return {"choices": [choice], "usage": usage}

    def _written(self, body: Body) -> str:
        word = body["prompt"].split()[-1]
        text = f" {word} {word}"
        return min((text.split(stop)[0] for stop in body.get("stop") or []), key=len, default=text)

    def _judge(self, body: Body) -> str:
        asked = body["messages"][1]["content"]
        if "Answer A:" not in asked:
            return f"Fine.\nScore: {min(10, 1 + len(asked.rpartition('Answer:')[2].strip()))}"
        a, b = asked.split("Answer A:\n")[1].split("\n\nAnswer B:\n")
        return f"One is better.\nVerdict: {self.prefers(a, b)}"


@contextmanager
def serving() -> Iterator[Server]:
    """The server on a free port of this machine."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with state.lock:
                state.asked.append((self.path, body, self.headers.get("Authorization", "")))
                failure = state.failures.pop(0) if state.failures else state.status_of(body)
            if isinstance(failure, bytes):
                self.wfile.write(failure)
                return
            status, later = failure if isinstance(failure, tuple) else (failure, "")
            if state.key and self.headers.get("Authorization") != f"Bearer {state.key}":
                status = 401
            data = json.dumps(state.answer(self.path, body) if status == 200 else {"error": "no"}).encode()
            self.send_response(status)
            if later:
                self.send_header("Retry-After", later)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join()
