"""From the stage's config to a trainer, the same under Ray, under torch.multiprocessing and in one process."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from llmtrain.api.job import JobSpec
from llmtrain.api.training import Training
from llmtrain.storage.store import Store
from llmtrain_jobs.entrypoint.notice import Notice
from llmtrain_jobs.errors import bad_input
from llmtrain_jobs.model.config import resolve
from llmtrain_jobs.model.transformer import Transformer
from llmtrain_jobs.training import dataset, plans, timing
from llmtrain_jobs.training.beginning import begin
from llmtrain_jobs.training.checkpoints import Archive, Checkpoint, Checkpoints
from llmtrain_jobs.training.engine import DataEngine, Engine
from llmtrain_jobs.training.fp8 import check_fp8
from llmtrain_jobs.training.group import Group, join
from llmtrain_jobs.training.ledger import read_ledger
from llmtrain_jobs.training.loop import Listener, Parts, Trainer
from llmtrain_jobs.training.optimizers import Optimizers
from llmtrain_jobs.training.pipeline import PipelineEngine
from llmtrain_jobs.training.refusals import check_compiler, checked_layout, model_facts, uses_accelerators
from llmtrain_jobs.training.wrap import ComputePlan

LOCAL = Path("/tmp/llmtrain/shards")  # an emptyDir of the pod
UNTOLD = Notice()


@dataclass(frozen=True)
class Job:
    """What is trained, where from and where to."""

    spec: JobSpec
    store: Store
    data: str
    """Key of the curated data set."""
    key: str
    """Key of the training artifact."""
    attempt: int = 1
    local: Path = LOCAL

    @property
    def training(self) -> Training:
        """The spec of this step."""
        return self.spec.training

    @property
    def manifest(self) -> dict[str, Any]:
        """Of the curated data set."""
        found = self.store.manifest("curation", self.data)
        if found is None:
            raise bad_input(
                f"the curated data set `{self.data}` does not exist in the job's storage", "ArtifactMissing"
            )
        return found


def device_of(training: Training, local_rank: int) -> torch.device:
    """The device of this process. A pod that pays for an accelerator and has no CUDA is refused, never run on its CPU."""
    if not uses_accelerators(training):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise bad_input(
            f"the workers request {training.cluster.workers.accelerators_per_worker} accelerators each, but PyTorch finds no "
            "CUDA in the pod; use an image with CUDA, or set `training.device: Cpu` to train on CPUs all the same",
            "NoCuda",
        )
    device = torch.device("cuda", local_rank % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device


def build(job: Job, device: torch.device, processes: int, listener: Listener, stop: Callable[[], bool],
          on_complete: Callable[[Checkpoint, float], None] = lambda *_: None, notice: Notice = UNTOLD) -> Trainer:  # fmt: skip
    """A trainer at its start, or where an earlier one left off."""
    spec, context, manifest = job.training, job.spec.model.context_length, job.manifest
    counts = manifest["counts"]
    check_compiler(spec, os.environ)
    torch.manual_seed(job.spec.seed)
    config = resolve(job.spec.model, counts["vocabulary_size"], spec.tokens)
    facts = model_facts(config)
    model = Transformer(config)
    group = join(checked_layout(job.spec, facts, processes), device)
    shards = dataset.fetch(job.store, job.data, manifest, job.local)
    sources = dataset.open_sources(shards, counts["dtype"], context, job.spec.seed, facts.vocabulary)
    check_fp8(spec, config, uses_accelerators(spec))
    compute = plans.compute_of(spec, device)
    engine = engine_of(model, group, compute)
    archive = Archive(job.store, job.key, plans.retention_of(spec), job.attempt)
    parts = Parts(
        engine=engine,
        optimizers=Optimizers(engine.modules, plans.optimizer_of(spec)),
        timeline=timing.timeline_of(spec, context),
        rates=timing.rates_of(spec),
        stream=dataset.open_stream(spec, sources, counts),
        checkpoints=Checkpoints(archive, group.control, spec.checkpoint.asynchronous, on_complete),
        interval=plans.interval_of(spec, processes, job.attempt - 1),
        group=group,
        compute=compute,
        stability=plans.stability_of(spec),
        gradient_clip=float(spec.optimizer.gradient_clip),
        dropout_seed=job.spec.seed if facts.dropout else None,
        notice=notice,
        elastic=spec.cluster.workers.min_replicas > 0,
    )
    asked = spec.evaluate_every_tokens > 0
    held_out = dataset.fetch(job.store, job.data, manifest, job.local, dataset.VALIDATION) if asked else {}
    parts.held_out = dataset.open_held_out(spec, held_out, counts["dtype"], context, job.spec.seed)
    parts.ledger = parts.checkpoints.agree(read_ledger(job.store, job.key) if group.rank == 0 else None)
    trainer = Trainer(parts, listener, stop)
    if trainer.resume() is None and spec.continue_from is not None:
        begin(spec.continue_from, config, trainer, job.local / "continue-from")
    return trainer


def engine_of(model: Transformer, group: Group, compute: ComputePlan) -> Engine:
    """What computes gradients."""
    return (PipelineEngine if group.layout.pipeline > 1 else DataEngine)(model, group, compute)
