"""Elastic training with Ray's own processes: a worker is killed, comes back, and is asked to go.

Two workers as the pods run them (`Entrypoint.worker`), a head, a driver. Nothing is patched; each part is a process.
"""

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from llmtrain_jobs.entrypoint.main import answers, ray_command
from llmtrain_jobs.training import dataset
from llmtrain_jobs.training.timing import timeline_of

from llmtrain.api.job import JobSpec
from llmtrain.api.stageconfig import RAY_PORT, Result, StageConfig
from llmtrain.api.status import Progress, Stage
from llmtrain.storage.store import open_store
from tests.long.test_evaluator_process import started, until
from tests.long.test_run_local import folder, run
from tests.rayhead import own_address

__all__ = ["folder"]
EVERY, GRACE, STEP_TOKENS = 10, 10, 2048
WORKER = (
    "import sys; from pathlib import Path; from llmtrain.api.stageconfig import StageConfig; "
    "from llmtrain_jobs.entrypoint.main import Entrypoint; from llmtrain_jobs.entrypoint.scratch import Scratch; "
    "config = StageConfig.model_validate_json(Path(sys.argv[1]).read_text()); "
    "sys.exit(int(Entrypoint(config, Scratch(Path(sys.argv[2]))).worker()))"
)


def family_of(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    return []


def kill(family: list[psutil.Process]) -> None:
    """All at once, as a container ends."""
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()


@dataclass
class Pods:
    """Processes in place of pods, in one folder."""

    folder: Path
    config: Path
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    done: int = 0
    """Step that was reported last before the loss."""

    def start(self, name: str, command: list[str], **more: str) -> None:
        scratch = self.folder / name
        scratch.mkdir(exist_ok=True)
        own = {"LLMTRAIN_CONFIG": str(self.config), "LLMTRAIN_STORAGE": str(self.folder / "storage"),
               "LLMTRAIN_SCRATCH": str(scratch), "LLMTRAIN_POD_IP": own_address(), "OMP_NUM_THREADS": "1",
               "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "300", "RAY_USAGE_STATS_ENABLED": "0",
               "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64, "RAY_worker_niceness": "0"}  # fmt: skip
        self.running[name] = started(command, self.folder / f"{name}.log", **own, **more)

    def worker(self, index: int, incarnation: int) -> str:
        """One after the other: daemons of one machine that start at once take each other's ports."""
        name = f"w{index}-{incarnation}"
        command = [sys.executable, "-c", WORKER, str(self.config), str(self.folder / name)]
        self.start(name, command, LLMTRAIN_ROLE="worker", LLMTRAIN_INDEX=str(index))
        until(f"{name} has joined", lambda: self.has_joined(name), 180)
        return name

    def has_joined(self, name: str) -> bool:
        """Ray's last words before it works."""
        return "Process exit logs" in (self.folder / f"{name}.log").read_text()

    def lose(self, name: str) -> None:
        """Without a word."""
        kill(family_of(self.running[name]))
        self.running[name].wait(30)

    def ask_to_go(self, name: str) -> int:
        """SIGTERM to PID 1; the exit code of the pod, and then nothing of it is left."""
        family = family_of(self.running[name])
        self.running[name].send_signal(signal.SIGTERM)
        code = self.running[name].wait(120)
        kill(family)
        return code

    def progress(self) -> Progress:
        file = self.folder / "driver" / "progress.json"
        return Progress.model_validate_json(file.read_text()) if file.exists() else Progress()

    def step(self) -> int:
        """Of the group at work; below zero between two."""
        detail = self.progress().detail
        return int(detail.removeprefix("step ")) if detail.startswith("step ") else -1

    def said(self) -> list[dict[str, Any]]:
        lines = (self.folder / "driver.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith('{"elastic"')]


@pytest.fixture
def ray_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Ray's own files apart from those of others on this machine; names of sockets must be short."""
    with tempfile.TemporaryDirectory(prefix="ra", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        yield folder


@pytest.fixture
def pods(folder: Path, ray_folder: str) -> Iterator[Pods]:
    """A curated data set, and the config of a training that one worker or two can do; hours of it."""
    done = run(folder, "run-local", "--storage", str(folder / "storage"), "--stages", "curation")
    assert done.exit_code == 0, done.output
    raw = yaml.safe_load((folder / "job.yaml").read_text())["spec"]
    workers = {"replicas": 2, "minReplicas": 1, "elasticWaitSeconds": GRACE}
    raw["training"] |= {"tokens": 10**9, "checkpoint": {"interval": {"steps": EVERY}}}
    raw["training"]["cluster"]["workers"] = workers
    spec = JobSpec.model_validate(raw)
    curated = next((folder / "storage" / "artifacts" / "curation").iterdir()).name
    config = StageConfig(job="local", namespace="local", job_uid="local", stage=Stage.TRAINING, attempt=1, workers=2,
                         head_address=own_address(), spec=spec, artifacts={Stage.CURATION: curated})  # fmt: skip
    (folder / "training.json").write_text(config.model_dump_json(by_alias=True, exclude_none=True))
    made = Pods(folder, folder / "training.json")
    until(f"port {RAY_PORT} is free", lambda: not answers(own_address()), 60)
    try:
        yield made
    finally:
        for process in made.running.values():
            kill(family_of(process))
            process.wait(30)
        # Ray's daemons of a killed `ray start` have no parent any more.
        kill([p for p in psutil.process_iter(["environ"]) if (p.info["environ"] or {}).get("RAY_TMPDIR") == ray_folder])


def wait_for(what: str, check: Callable[[], Any], pods: Pods, seconds: float = 900) -> Any:
    """Until it is so; the driver must live."""
    try:
        return until(what, lambda: check() or (pods.running["driver"].poll() is not None and "over"), seconds)
    finally:
        print(what, pods.step(), pods.said()[-3:], flush=True)


def trains(pods: Pods, number: int, group: str) -> bool:
    """The n-th group of workers is these, and has done steps that nobody did before."""
    started = [line for line in pods.said() if line["elastic"].endswith("workers train")]
    there = len(started) == number and pods.progress().group == group
    return there and pods.progress().done // STEP_TOKENS > max(pods.done, started[-1]["step"])


def checkpoints(folder: Path) -> list[dict[str, Any]]:
    """Facts of complete checkpoints, oldest first."""
    files = sorted(folder.glob("storage/artifacts/training/*/checkpoints/step-*/COMPLETE"))
    return [json.loads(file.read_text())["facts"] for file in files]


def digest_of(pods: Pods, steps: int) -> str:
    """Of the token stream of an undisturbed run after so many steps, without training."""
    config = StageConfig.model_validate_json(pods.config.read_text())
    spec, data = config.spec, config.artifacts[Stage.CURATION]
    store = open_store(spec.storage, str(pods.folder / "storage"), {})
    manifest = store.manifest("curation", data)
    assert manifest is not None
    shards = dataset.fetch(store, data, manifest, pods.folder / "oracle")
    counts, context = manifest["counts"], spec.model.context_length
    sources = dataset.open_sources(shards, counts["dtype"], context, spec.seed, counts["vocabulary_size"])
    stream, timeline = dataset.open_stream(spec.training, sources, counts), timeline_of(spec.training, context)
    for number in range(steps):
        shape = timeline.shape(number)
        stream.record(stream.advance(shape), shape.length)
    return stream.digest.hex()


@pytest.mark.timeout(3000)
def test_training_goes_on_with_one_worker_grows_to_two_and_lets_one_go(pods: Pods) -> None:
    """A loss costs the steps since the last checkpoint, a return and a notice none; no step is counted twice."""
    head = ["--head", f"--port={RAY_PORT}", "--num-cpus=0", "--num-gpus=0"]
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("LLMTRAIN_POD_IP", own_address())
        pods.start("head", ray_command(head), LLMTRAIN_ROLE="head")
    until("the head", lambda: answers(own_address()), 180)
    pods.worker(0, 1)
    lost = pods.worker(1, 1)
    pods.start("driver", [sys.executable, "-m", "llmtrain_jobs.entrypoint.driver"], LLMTRAIN_ROLE="head")
    wait_for("two workers train", lambda: trains(pods, 1, "0-1") and pods.step() > 2 * EVERY, pods)
    lost_at = time.monotonic()
    pods.lose(lost)
    wait_for("the group has ended", lambda: pods.step() < 0, pods)
    pods.done, kept = pods.progress().done // STEP_TOKENS, checkpoints(pods.folder)[-1]["step"]
    wait_for("one worker goes on", lambda: len(pods.said()) == 2 and pods.step() >= kept, pods)
    shrink_seconds = time.monotonic() - lost_at
    wait_for("what was lost is done again", lambda: trains(pods, 2, "0"), pods)
    pods.worker(1, 2)
    wait_for("two workers again", lambda: trains(pods, 3, "0-1"), pods, 1200)
    asked_at = time.monotonic()
    assert pods.ask_to_go("w1-2") == 75
    wait_for("one worker without waiting", lambda: trains(pods, 4, "0"), pods)
    leave_seconds = time.monotonic() - asked_at
    pods.running["driver"].send_signal(signal.SIGTERM)
    assert pods.running["driver"].wait(180) == 75, (pods.folder / "driver.log").read_text()[-3000:]
    judge(pods, kept)
    print(f"lost: {shrink_seconds:.0f} s to the next step, asked to go: {leave_seconds:.0f} s; {pods.said()}")


def judge(pods: Pods, kept: int) -> None:
    """What is in the storage when all is over; `kept` was the newest checkpoint's step at the loss."""
    result = Result.model_validate_json((pods.folder / "driver" / "result.json").read_text())
    newest = checkpoints(pods.folder)[-1]
    assert result.checkpoint.endswith(f"step-{newest['step']:08d}-a1")
    accounts = json.loads(next(pods.folder.glob("storage/artifacts/training/*/accounts.json")).read_text())
    assert accounts["highest"] == newest["step"], "the stop saved the last step"
    assert accounts["redone_steps"] == pods.done - kept > 0, (
        "a loss costs the steps since the last checkpoint, nothing else any"
    )
    sizes = [world for _, world in newest["worlds"]]
    assert sizes == [2, 1, 2, 1]
    assert newest["worlds"][1][0] == kept
    assert newest["digest"] == digest_of(pods, newest["step"])
