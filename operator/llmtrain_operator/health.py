"""Signs of life for the kubelet's probes: served from a thread of its own, so that a stuck event loop is noticed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from llmtrain import network

Key = tuple[str, str]
PULSE_SECONDS = 1.0
LONGEST_SILENCE = 60.0
"""Seconds without a beat of the event loop after which the operator is taken for stuck."""
LONGEST_TURN = 900.0
"""Above what one turn can take at the worst: every request tried five times, each with a timeout and a Retry-After."""


@dataclass
class Health:
    """When things last moved. Written by the event loop, read by the probes."""

    monotonic: Callable[[], float]
    beaten: float | None = None
    turns: dict[Key, float] = field(default_factory=dict)
    answering: bool = False

    def beat(self) -> None:
        """The event loop turns."""
        self.beaten = self.monotonic()

    def turned(self, key: Key) -> None:
        """A job's loop has begun, or finished a turn, well or not."""
        self.turns[key] = self.monotonic()

    def forget(self, key: Key) -> None:
        """The job is gone."""
        self.turns.pop(key, None)

    def ailment(self) -> str:
        """Why the process must be started anew; empty where it need not."""
        now = self.monotonic()
        if self.beaten is not None and now - self.beaten > LONGEST_SILENCE:
            return f"the event loop has not turned for {now - self.beaten:.0f} s"
        late = {key: now - time for key, time in list(self.turns.items()) if now - time > LONGEST_TURN}
        if late:
            key = max(late, key=lambda each: late[each])
            return f"{len(late)} jobs are not reconciled, {'/'.join(key)} for {late[key]:.0f} s"
        return ""

    def unreadiness(self) -> str:
        """Why nothing can be reconciled at present; empty where it can."""
        if self.beaten is None:
            return "not started yet"
        return self.ailment() or ("" if self.answering else "the apiserver does not answer")


def serve(health: Health, port: int) -> network.Server:
    """/healthz and /readyz, in a thread of its own."""
    pages = {"/healthz": health.ailment, "/readyz": health.unreadiness}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            trouble = pages[self.path]() if self.path in pages else "no such page"
            body = (trouble or "ok").encode()
            self.send_response(200 if not trouble else 404 if self.path not in pages else 503)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Probes are not logged."""

    return network.serve(port, Handler)
