"""One stage after the other: the driver of the pods as a child process, with folders in place of mounts."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from llmtrain.api.job import JobSpec
from llmtrain.api.stageconfig import FailureClass, Result, StageConfig
from llmtrain.api.status import Progress, Stage
from llmtrain.local.machine import Machine

POLL_SECONDS = 0.5
SAVE_SECONDS = 60.0

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Folders:
    """Storage in place of the volume, scratch for the stages' own files, credentials of a bucket."""

    storage: Path
    scratch: Path
    credentials: Path | None = None


@dataclass(frozen=True)
class Done:
    """How a stage ended; seconds of the wall clock, and the speeds that it told of, in tokens per second.

    A reused one took none.
    """

    stage: Stage
    result: Result
    seconds: float
    reused: bool = False
    speeds: Sequence[float] = ()


def run_stages(
    name: str, spec: JobSpec, wanted: set[Stage], folders: Folders, machine: Machine, tell: Tell
) -> Iterator[Done]:
    """Preflight always; then the wanted stages in their order, those whose result exists without work."""
    artifacts: dict[Stage, str] = {}
    local = local_spec(spec, machine)
    existing: Mapping[Stage, str] = {}
    for stage in stages_of(spec):
        if stage in existing:
            artifacts[stage] = existing[stage]
            if stage in wanted:
                found = Result(outcome="Succeeded", artifact=existing[stage], message="it exists already")
                yield Done(stage, found, 0.0, reused=True)
            continue
        if stage is not Stage.PREFLIGHT and stage not in wanted:
            continue
        done = run_stage(config_of(name, local, stage, artifacts, machine), folders, tell)
        yield done
        if done.result.failure_class is not None:
            return
        if stage is Stage.PREFLIGHT:
            existing = done.result.existing
        artifacts[stage] = done.result.artifact


def stages_of(spec: JobSpec) -> list[Stage]:
    """The stages that the manifest has."""
    return [stage for stage in Stage if stage is not Stage.EVALUATION or spec.evaluation is not None]


def local_spec(spec: JobSpec, machine: Machine) -> JobSpec:
    """The same work; where there are no accelerators its workers ask for none. Artifacts' keys do not depend on it."""
    if machine.accelerators:
        return spec
    changed = spec.to_dict()
    for stage in ("curation", "training", "evaluation"):
        workers = changed.get(stage, {}).get("cluster", {}).get("workers")
        if workers is not None:
            workers["acceleratorsPerWorker"] = 0
    return JobSpec.model_validate(changed)


def config_of(name: str, spec: JobSpec, stage: Stage, artifacts: Mapping[Stage, str], machine: Machine) -> StageConfig:
    """What the operator would have mounted into the stage's pods."""
    workers = {
        Stage.PREFLIGHT: 0,
        Stage.CURATION: spec.curation.cluster.workers.replicas,
        Stage.TRAINING: spec.training.cluster.workers.replicas,
        Stage.EVALUATION: spec.evaluation.cluster.workers.replicas if spec.evaluation else 0,
    }
    return StageConfig(
        job=name,
        namespace="local",
        job_uid="local",
        stage=stage,
        attempt=1,
        workers=workers[stage],
        head_address="127.0.0.1",
        spec=spec,
        artifacts={made: key for made, key in artifacts.items() if key},
        peak_tflops=f"{machine.chip.peak_tflops:g}" if machine.chip else None,
        training_accelerator=machine.chip.name if machine.chip else None,
    )


def run_stage(config: StageConfig, folders: Folders, tell: Tell) -> Done:
    """Run the driver to its end; an interruption from the keyboard lets it save first."""
    scratch = folders.scratch / config.stage.value.lower()
    scratch.mkdir(parents=True, exist_ok=True)
    (scratch / "result.json").unlink(missing_ok=True)
    (scratch / "config.json").write_text(config.model_dump_json(by_alias=True, exclude_none=True))
    started = time.monotonic()
    speeds: list[float] = []
    with _driver(scratch, folders) as process:
        _follow(process, progress_of(scratch), lambda progress: _heard(progress, config.stage, speeds, tell))
    result = _result(scratch, process.returncode)
    return Done(config.stage, result, time.monotonic() - started, speeds=speeds)


def _heard(progress: Progress, stage: Stage, speeds: list[float], tell: Tell) -> None:
    if progress.tokens_per_second:
        speeds.append(float(progress.tokens_per_second))
    told = [f"{progress.done:,} of {progress.total:,} {progress.unit}" if progress.total else "", progress.detail]
    told += [
        f"{name} {value}"
        for name, value in (("loss", progress.loss), ("tokens/s", progress.tokens_per_second))
        if value
    ]
    tell(f"{stage.value}: {', '.join(part for part in told if part)}")


def progress_of(scratch: Path) -> Callable[[], Progress | None]:
    """Reads what the driver last said; None before it said anything."""
    file = scratch / "progress.json"
    file.unlink(missing_ok=True)
    return lambda: Progress.model_validate_json(file.read_text()) if file.exists() else None


@contextmanager
def _driver(scratch: Path, folders: Folders) -> Iterator[subprocess.Popen[bytes]]:
    """The child, in a session of its own; nothing of it outlives this."""
    command = [sys.executable, "-m", "llmtrain_jobs.entrypoint.driver"]
    with (scratch / "driver.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=_environment(scratch, folders), stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _environment(scratch: Path, folders: Folders) -> dict[str, str]:
    paths = {
        "LLMTRAIN_CONFIG": scratch / "config.json",
        "LLMTRAIN_STORAGE": folders.storage.absolute(),
        "LLMTRAIN_SCRATCH": scratch,
        "LLMTRAIN_CREDENTIALS": folders.credentials or scratch / "no-credentials",
    }
    ray = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    return dict(os.environ) | ray | {name: str(path) for name, path in paths.items()}


@contextmanager
def interruptible() -> Iterator[None]:
    """A termination is taken like Ctrl-C: the driver is asked to save, and nothing outlives the command."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _follow(
    process: subprocess.Popen[bytes], look: Callable[[], Progress | None], hear: Callable[[Progress], None]
) -> None:
    """Pass on each new state of progress; on Ctrl-C ask once to save, and wait for it."""
    last: Progress | None = None
    try:
        while process.poll() is None:
            now = look()
            if now is not None and now != last:
                hear(now)
                last = now
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(SAVE_SECONDS)


def _result(scratch: Path, code: int) -> Result:
    """The driver's last words, or that it had none."""
    file = scratch / "result.json"
    if file.exists():
        return Result.model_validate_json(file.read_text())
    message = f"the driver ended with code {code} and no result; its log is {scratch / 'driver.log'}"
    return Result(outcome="Failed", failure_class=FailureClass.INTERNAL, reason="Internal", message=message)
