"""Speeds measured on this machine, in a file that the estimate reads.

A utilisation holds for the accelerator that it was measured on: the estimate takes it where the training's plan has
the same one, or where both are CPUs.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from llmtrain.api.job import JobSpec
from llmtrain.api.status import Stage
from llmtrain.cost.assumptions import CPU_TFLOPS_PER_CORE
from llmtrain.cost.errors import InputError
from llmtrain.cost.work import Measured
from llmtrain.local.machine import Machine
from llmtrain.local.stages import Done
from llmtrain.pricing.work import job_model

CPU = "cpu"
TELLING_SECONDS = 300.0
"""Below this the start of Ray and of its workers is too much of a curation for its speed to be one of work."""


@dataclass(frozen=True)
class Calibration:
    """MFU of steady training steps against the peak of `accelerator` ("cpu": 0.05 TFLOP/s a core)."""

    date: str
    job: str
    accelerator: str
    mfu: float
    tokens_per_second: float
    curation_bytes_per_core_second: float | None = None

    def measured(self, accelerator: str) -> Measured | None:
        """For the estimate of a training on this accelerator."""
        if accelerator != self.accelerator:
            return None
        return Measured(self.mfu, f"calibration of {self.date}, {self.tokens_per_second:.0f} tokens/s of {self.job}")


def calibrate(date: str, job: str, spec: JobSpec, done: Sequence[Done], machine: Machine) -> Calibration:
    """From stages that ran here; InputError where the training did not."""
    training = next((d for d in done if d.stage is Stage.TRAINING and not d.reused), None)
    speed = median(training.speeds) if training and training.speeds else 0.0
    if training is None or training.result.failure_class or speed <= 0:
        raise InputError(
            "--calibrate", "needs a training that runs here and now; its result exists already or it failed"
        )
    size = job_model(spec)
    chip = machine.chip if spec.training.cluster.workers.accelerators_per_worker else None
    return Calibration(
        date=date,
        job=job,
        accelerator=chip.name if chip else CPU,
        mfu=speed * size.flops_per_token / local_peak_flops(spec, machine),
        tokens_per_second=speed,
        curation_bytes_per_core_second=_curation_speed(spec, done, machine),
    )


def local_peak_flops(spec: JobSpec, machine: Machine) -> float:
    """FLOP/s of what the training had of this machine."""
    workers = spec.training.cluster.workers
    if machine.chip is not None and workers.accelerators_per_worker:
        return min(machine.accelerators, workers.replicas * workers.accelerators_per_worker) * machine.chip.peak_flops
    return min(machine.cores, workers.replicas) * CPU_TFLOPS_PER_CORE * 1e12


def _curation_speed(spec: JobSpec, done: Sequence[Done], machine: Machine) -> float | None:
    """Bytes of source files a second and core; None where curation did not run, or too shortly to tell."""
    by_stage = {each.stage: each for each in done if not each.reused}
    curation, preflight = by_stage.get(Stage.CURATION), by_stage.get(Stage.PREFLIGHT)
    size = float(preflight.result.scores.get("source_bytes", "0")) if preflight else 0.0
    if curation is None or size <= 0 or curation.seconds < TELLING_SECONDS:
        return None
    return size / curation.seconds / min(machine.cores, spec.curation.cluster.workers.replicas)


def write(calibration: Calibration, file: Path) -> None:
    """As JSON."""
    file.write_text(json.dumps(asdict(calibration), indent=2) + "\n")


def read(file: Path) -> Calibration:
    """InputError says what is wrong with the file."""
    try:
        return Calibration(**json.loads(file.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            "--calibration", f"{file} is no calibration of `llmtrain run-local --calibrate`: {error}"
        ) from error
