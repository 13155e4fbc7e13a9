"""`llmtrain-stage`: PID 1 of head, workers and evaluators.

The head starts Ray and runs the driver; its exit code and termination message are the stage's result. A worker joins
the head's Ray and leaves with it: a worker without a head is billed for nothing. An evaluator runs a driver of its own and leaves with the head too.
"""

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

from llmtrain.api.stageconfig import (
    CA_FILE,
    CONFIG_PATH,
    EXIT_CODES,
    HTTP_PORT,
    RAY_PORT,
    ExitCode,
    FailureClass,
    Result,
    StageConfig,
)
from llmtrain.network import authority, resolved
from llmtrain.trust import trust
from llmtrain_jobs.entrypoint.children import Children
from llmtrain_jobs.entrypoint.notice import Notice
from llmtrain_jobs.entrypoint.scratch import Scratch
from llmtrain_jobs.entrypoint.server import serve

SCRATCH_FOLDER = "/tmp/llmtrain"  # an emptyDir of the pod
OBJECT_STORE_BYTES = 100_000_000
HEAD_ENDED_SECONDS = 6.0
"""How long the head's pod may refuse connections: its Ray has ended, and does not come back."""
HEAD_SILENT_SECONDS = 300.0
"""How long nothing may be heard of the head: names or networks have trouble, or its node is gone, which the operator and Ray know earlier."""
SAVE_SECONDS = 50.0
RAY_ENDED_SECONDS = 10.0
MESSAGE_BYTES = 4000
DRIVER, RAY = "driver", "ray"
INDEX_LABEL = "llmtrain.dev/index"
"""Label of a worker's node in Ray."""


class Entrypoint:
    """One pod's life."""

    def __init__(self, config: StageConfig, scratch: Scratch) -> None:
        """`scratch` is shared with the driver."""
        self.config, self.scratch, self.children = config, scratch, Children()
        self.stopping = False
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, *_: object) -> None:
        self.stopping = True

    def head(self) -> int:
        """Run the stage; the exit code."""
        if self.config.workers:
            self.children.start(RAY, ray_command(["--head", f"--port={RAY_PORT}", "--num-cpus=0", "--num-gpus=0"]))
            if not self._until_answers(own_address(), 120):
                return self._end(failure(FailureClass.INTERNAL, "Ray's head did not start within 120 s"))
        self.children.start(DRIVER, [sys.executable, "-m", "llmtrain_jobs.entrypoint.driver"])
        forwarded = False
        while DRIVER not in self.children.codes:
            if self.stopping and not forwarded:
                forwarded = True
                self.children.signal(DRIVER, signal.SIGTERM)
                self.children.wait(DRIVER, SAVE_SECONDS)
                self.children.signal(DRIVER, signal.SIGKILL)
            if RAY in self.children.codes and not self.stopping:
                return self._end(self._without_ray())
            time.sleep(0.05)
            self.children.reap()
        return self._end(self.scratch.result() or died(self.children.codes[DRIVER], self.stopping))

    def _without_ray(self) -> Result:
        """Ray has ended under the driver, which may say why itself; otherwise it would try to connect for ever."""
        self.children.wait(DRIVER, RAY_ENDED_SECONDS)
        self.children.signal(DRIVER, signal.SIGKILL)
        self.children.wait(DRIVER, RAY_ENDED_SECONDS)
        words = f"Ray's head ended with code {self.children.codes[RAY]}"
        return self.scratch.result() or failure(FailureClass.INTERNAL, words)

    def worker(self) -> int:
        """Join the head and stay until it is gone."""
        address = self.config.head_address
        if not self._until_answers(address, self.config.wait_for_workers_seconds):
            return ExitCode.INTERRUPTED if self.stopping else ExitCode.UNAVAILABLE
        head = resolved(address, RAY_PORT, own_address())
        self.children.start(RAY, ray_command([f"--address={authority(head, RAY_PORT)}", *worker_resources()]))
        head = self._while_there(RAY, head)
        if self.stopping:
            self._let_it_save(head)
            self.children.signal(RAY, signal.SIGKILL)
            return ExitCode.INTERRUPTED
        # Ray ends by itself without its head, which is no fault of this worker's.
        gone = RAY not in self.children.codes or not answers(head)
        return ExitCode.OK if gone else ExitCode.INTERNAL

    def _while_there(self, child: str, head: str) -> str:
        """Until the child has ended, somebody asks to stop, or the head is gone; the head's address.

        The address is kept, so that names that cannot be resolved for a while (CoreDNS restarts) are not missed.
        """
        now = heard = there = time.monotonic()
        while child not in self.children.codes and not self.stopping:
            if now - heard > HEAD_SILENT_SECONDS or now - there > HEAD_ENDED_SECONDS:
                break
            time.sleep(1)
            self.children.reap()
            head, now = resolved(head, RAY_PORT, own_address()), time.monotonic()
            if answers(head):
                heard = there = now
            elif not refuses(head):
                there = now
        return head

    def _let_it_save(self, address: str) -> None:
        """A worker that is taken away from a head that goes on: what it trained is saved before it goes."""
        notice, end = Notice(self.scratch.folder), time.monotonic() + SAVE_SECONDS
        if not answers(address) or not notice.give():
            return
        while notice.is_heard and not notice.is_answered and RAY not in self.children.codes and time.monotonic() < end:
            time.sleep(0.2)
            self.children.reap()
            if not answers(address):
                return

    def evaluator(self) -> int:
        """Score checkpoints beside the training, as long as its head is there."""
        address = self.config.head_address
        if not self._until_answers(address, self.config.wait_for_workers_seconds):
            return ExitCode.INTERRUPTED if self.stopping else ExitCode.UNAVAILABLE
        self.children.start(DRIVER, [sys.executable, "-m", "llmtrain_jobs.entrypoint.driver"])
        self._while_there(DRIVER, resolved(address, RAY_PORT, own_address()))
        if self.stopping or DRIVER not in self.children.codes:
            self.children.signal(DRIVER, signal.SIGKILL)
            return ExitCode.INTERRUPTED if self.stopping else ExitCode.OK
        return self._end(self.scratch.result() or died(self.children.codes[DRIVER], self.stopping))

    def _until_answers(self, address: str, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.stopping and RAY not in self.children.codes:
            if answers(address):
                return True
            time.sleep(0.5)
            self.children.reap()
        return False

    def _end(self, result: Result) -> int:
        text = json.dumps(result.to_dict())
        if len(text.encode()) > MESSAGE_BYTES:
            text = json.dumps(result.model_copy(update={"scores": {}, "message": result.message[:900]}).to_dict())
        Path(os.environ.get("LLMTRAIN_TERMINATION_LOG", "/dev/termination-log")).write_text(text)
        print(text, flush=True)
        return EXIT_CODES[result.failure_class] if result.failure_class else ExitCode.OK


def ray_command(arguments: list[str]) -> list[str]:
    """`ray start`, in the foreground."""
    fixed = [
        f"--node-ip-address={own_address()}",
        f"--object-store-memory={OBJECT_STORE_BYTES}",
        "--disable-usage-stats",
        "--block",
    ]
    ray = str(Path(sys.executable).with_name("ray"))
    dashboard = ["--include-dashboard=false"] if "--head" in arguments else []
    return [ray, "start", *arguments, *fixed, *dashboard]


def own_address() -> str:
    """This pod's address, of either family."""
    return os.environ.get("LLMTRAIN_POD_IP", "127.0.0.1")


def worker_resources() -> list[str]:
    """One CPU for all training processes of a worker, whatever its request; GPUs as Ray finds them; its index."""
    return ["--num-cpus=1", f"--labels={INDEX_LABEL}={os.environ.get('LLMTRAIN_INDEX', '0')}"]


def answers(address: str) -> bool:
    """Whether the head's Ray accepts connections."""
    try:
        with socket.create_connection((address, RAY_PORT), timeout=2):
            return True
    except OSError:
        return False


def refuses(address: str) -> bool:
    """Whether the head's pod says that nothing listens there. Of a name that cannot be resolved nothing is known."""
    try:
        with socket.create_connection((address, RAY_PORT), timeout=2):
            return False
    except OSError as error:
        return isinstance(error, ConnectionRefusedError)


def failure(kind: FailureClass, message: str) -> Result:
    """A result that the driver could not write itself."""
    return Result(outcome="Failed", failure_class=kind, reason=kind.value, message=message)


def died(code: int, stopping: bool) -> Result:
    """What to say for a driver that ended without a word."""
    if stopping:
        return failure(FailureClass.INTERRUPTED, "stopped before anything could be saved")
    if code == -signal.SIGKILL:
        return failure(FailureClass.OUT_OF_MEMORY, "the driver was killed, most likely for memory; raise head.memory")
    return failure(FailureClass.INTERNAL, f"the driver ended with code {code} and no result")


def main() -> None:
    """Entry point."""
    config = StageConfig.model_validate_json(Path(os.environ.get("LLMTRAIN_CONFIG", CONFIG_PATH)).read_text())
    scratch = Scratch(Path(os.environ.get("LLMTRAIN_SCRATCH", SCRATCH_FOLDER)))
    serve(scratch, HTTP_PORT)
    trust(Path(CA_FILE), scratch.folder)
    entrypoint = Entrypoint(config, scratch)
    roles = {"worker": entrypoint.worker, "evaluator": entrypoint.evaluator}
    code = roles.get(os.environ.get("LLMTRAIN_ROLE", ""), entrypoint.head)()
    sys.exit(int(code))


if __name__ == "__main__":
    main()
