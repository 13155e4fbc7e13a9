"""Port 8090 of a pod: /metrics for Prometheus, /progress for the operator, /healthz for people."""

from http.server import BaseHTTPRequestHandler

from llmtrain import network
from llmtrain_jobs.entrypoint.scratch import Scratch


def serve(scratch: Scratch, port: int) -> network.Server:
    """Serve in a thread of its own."""
    pages = {
        "/metrics": (scratch.metrics, "text/plain; version=0.0.4"),
        "/progress": (scratch.progress, "application/json"),
        "/healthz": (lambda: "ok", "text/plain"),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path not in pages:
                self.send_error(404)
                return
            text, kind = pages[self.path]
            body = text().encode()
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Scrapes are not logged."""

    return network.serve(port, Handler)
