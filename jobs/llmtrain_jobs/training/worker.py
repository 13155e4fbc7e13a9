"""What each training process runs under Ray Train."""

import os
import traceback
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from llmtrain.api.stageconfig import FailureClass, StageConfig
from llmtrain.api.status import Stage
from llmtrain.storage.errors import StorageError
from llmtrain_jobs.entrypoint.driver import store_of
from llmtrain_jobs.entrypoint.main import SCRATCH_FOLDER
from llmtrain_jobs.entrypoint.notice import Notice
from llmtrain_jobs.errors import StageError
from llmtrain_jobs.model.config import resolve
from llmtrain_jobs.model.flops import train_flops_per_token
from llmtrain_jobs.training.build import Job, build, device_of
from llmtrain_jobs.training.crash import CRASHES, at_step, crash_of
from llmtrain_jobs.training.export import write_model
from llmtrain_jobs.training.loop import Stopped, Trainer
from llmtrain_jobs.training.peak import measured_flops
from llmtrain_jobs.training.refusals import uses_accelerators
from llmtrain_jobs.training.reporter import Reporter, Speed, tell


def train(parameters: dict[str, Any]) -> None:
    """Entry point of every rank; called again after a rank was lost, and goes on from the newest checkpoint."""
    config = StageConfig.model_validate(parameters["config"])
    control = parameters["control"]
    job = Job(config.spec, store_of(config), config.artifacts[Stage.CURATION], parameters["key"], config.attempt)
    try:
        run(config, job, control)
    except StageError as error:
        tell(control.fail.remote(error.failure.value, error.reason, error.message))
    except StorageError as error:
        tell(control.fail.remote(error.problem.value, error.problem.value, error.message))
    except Stopped as error:
        tell(control.fail.remote(FailureClass.BAD_INPUT.value, "Unstable", str(error)))
    except CRASHES as error:
        if not is_the_end(error, job, control):
            raise
        # Whoever returns instead is not started again; the log has the whole of it all the same.
        traceback.print_exc()


def is_the_end(error: BaseException, job: Job, control: Any) -> bool:
    """Whether the attempt ends with an exception: for want of memory at once, otherwise when it comes a second time."""
    crash = crash_of(error, job.spec)
    if crash.out_of_memory:
        tell(control.fail.remote(FailureClass.OUT_OF_MEMORY.value, crash.reason, crash.message))
        return True
    if crash.of_others:
        return False
    return bool(tell(control.crashed.remote(rank(), crash.step, crash.reason, crash.message)))


def rank() -> int:
    """Of this process among all."""
    from ray.train import get_context

    return int(get_context().get_world_rank())


def run(config: StageConfig, job: Job, control: Any) -> None:
    """Train to the end or to the stop; rank 0 writes the model."""
    device = device_of(job.training, local_rank())
    if device.type == "cpu":
        # One thread a process: more would take each other's cores on a small machine.
        torch.set_num_threads(1)
    reporter = Reporter(control, job, speed_of(config, job, device), dist.get_rank(), dist.get_world_size())
    notice = Notice(Path(os.environ.get("LLMTRAIN_SCRATCH", SCRATCH_FOLDER)))
    trainer = build(job, device, dist.get_world_size(), reporter, reporter.stop, reporter.on_complete, notice)
    reporter.start(trainer.parts.ledger)
    with at_step(trainer):
        if trainer.run() and dist.get_rank() == 0:
            tell(control.finish.remote(final_model(job, trainer)), seconds=60)


def final_model(job: Job, trainer: Trainer) -> dict[str, Any]:
    """Write the trained model from the checkpoint that the run ended with."""
    newest = trainer.parts.checkpoints.archive.newest()
    assert newest is not None, "the run ends with a complete checkpoint"
    return write_model(job.store, job.key, newest)


def local_rank() -> int:
    """Of this process in its pod."""
    from ray.train import get_context

    return int(get_context().get_local_rank())


def speed_of(config: StageConfig, job: Job, device: torch.device) -> Speed:
    """FLOP of a token, and FLOP/s of all processes together."""
    vocabulary = int(job.manifest["counts"]["vocabulary_size"])
    model = resolve(job.spec.model, vocabulary, job.training.tokens)
    known = config.peak_tflops if uses_accelerators(job.training) else None
    peak = float(known) * 1e12 if known else measured_flops(device)
    return Speed(train_flops_per_token(model), peak * dist.get_world_size(), "plan" if known else "measured")
