"""What training refuses before an accelerator is asked for, and how long its saves will take. Needs no torch."""

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass

from llmtrain.api.counts import parameters
from llmtrain.api.elastic import processes_per_worker
from llmtrain.api.job import JobSpec
from llmtrain.api.model import PositionKind, QueryKeyNorm
from llmtrain.api.training import Device, Packing, Precision, Training
from llmtrain.storage.store import Store
from llmtrain_jobs.errors import StageError, bad_input
from llmtrain_jobs.model.config import ModelConfig, resolve
from llmtrain_jobs.training.fp8 import check_fp8
from llmtrain_jobs.training.layout import Layout, LayoutError, ModelFacts, check, layout_of
from llmtrain_jobs.training.timing import rates_of, timeline_of

STATE_BYTES = 12
"""Of a parameter in a checkpoint: itself and AdamW's two moments, in fp32."""
PROBE_BYTES = 16 * 2**20


def processes_of(training: Training) -> int:
    """Training processes of all workers that are wanted."""
    return training.cluster.workers.replicas * processes_per_worker(training)


def uses_accelerators(training: Training) -> bool:
    """Whether the workers compute on accelerators."""
    return training.device is Device.AUTO and training.cluster.workers.accelerators_per_worker > 0


def checked_layout(spec: JobSpec, facts: ModelFacts, processes: int) -> Layout:
    """The division of the processes; raises bad_input with the arithmetic."""
    training = spec.training
    timeline = timeline_of(training, spec.model.context_length)
    masked = training.packing is Packing.DOCUMENT_MASKED
    try:
        layout = layout_of(training.parallelism, processes)
        check(layout, facts, training.optimizer.name, timeline.windows.values, masked, timeline.lengths.values)
    except LayoutError as error:
        raise bad_input(str(error), "Parallelism") from error
    return layout


def model_facts(config: ModelConfig) -> ModelFacts:
    """What the layout asks of a model."""
    return ModelFacts(
        layers=config.layers, heads=config.heads, key_value_heads=config.groups, feed_forward=config.feed_forward,
        vocabulary=config.vocabulary, context=config.context, tied=config.tied,
        per_head_bias=config.positions is PositionKind.ALIBI,
        norm_over_heads=config.query_key_norm is QueryKeyNorm.WIDTH, dropout=config.dropout > 0,
    )  # fmt: skip


def check_training(spec: JobSpec) -> ModelConfig:
    """Refuse sizes that do not divide and meshes that are not in the table; the model that will be trained."""
    model = resolve(spec.model, spec.curation.tokenizer.train.vocabulary_size, spec.training.tokens)
    checked_layout(spec, model_facts(model), processes_of(spec.training))
    check_rates(spec.training)
    check_least(spec, model_facts(model))
    check_fp8(spec.training, model, uses_accelerators(spec.training))
    check_compiler(spec.training, os.environ)
    return model


def check_rates(training: Training) -> None:
    """Warm-up and fall of the learning rate are one behind the other; raises bad_input.

    Not asked of a training that has begun: one that was admitted before goes on as it was.
    """
    rates = rates_of(training)
    if rates.warmup + rates.fall <= rates.horizon:
        return
    needed = f"`training.optimizer.warmupTokens` {rates.warmup}"
    if rates.fall:
        needed += f" + `decayTokens` {rates.fall} = {rates.warmup + rates.fall}"
    end = "the first phase with `anneal` begins" if rates.anneals else "`training.tokens` end"
    raise bad_input(f"{needed}: above {rates.horizon}, where {end}; lower one of them", "LearningRate")


def experimental(training: Training) -> list[str]:
    """What the training asks for that is tested on CPUs alone, for people to read before anything is paid for."""
    context, fp8 = training.parallelism.context, training.precision is Precision.FP8_MIXED
    asked = [f"`training.parallelism.context` {context}"] * (context > 1) + ["`training.precision` Fp8Mixed"] * fp8
    return [f"{what} is experimental" for what in asked]


def check_least(spec: JobSpec, facts: ModelFacts) -> None:
    """The smallest group of an elastic training must be able to train as well; raises bad_input."""
    workers = spec.training.cluster.workers
    each = processes_per_worker(spec.training)
    try:
        checked_layout(spec, facts, workers.least * each)
    except StageError as error:
        raise bad_input(
            f"`training.cluster.workers.minReplicas`: {workers.least} x {each} = {workers.least * each} processes: "
            f"{error.message}",
            error.reason,
        ) from error


def check_compiler(training: Training, environment: Mapping[str, str]) -> None:
    """torch.compile has its code compiled in the pod: C++ for CPUs, a launcher in C for each kernel of an accelerator.

    The names are those that PyTorch and Triton look for; raises bad_input where the image has none of them.
    """
    if not training.compute.compile:
        return
    variable, usual = ("CC", ("clang", "gcc")) if uses_accelerators(training) else ("CXX", ("g++",))
    names = (environment[variable],) if variable in environment else usual
    if not any(shutil.which(name, path=environment.get("PATH")) for name in names):
        raise bad_input(
            f"`training.compute.compile`: the image has no compiler ({' or '.join(names)}), which torch.compile needs; "
            "use an image with one, or set it to false",
            "NoCompiler",
        )


@dataclass(frozen=True)
class SaveTime:
    """Seconds that a save is expected to take, and that a stop leaves for it."""

    expected: float
    grace: float

    @property
    def warning(self) -> str:
        """Empty where the save fits."""
        if self.expected <= self.grace:
            return ""
        return (
            f"a checkpoint is expected to take {self.expected:.0f} s, a stop leaves {self.grace:.0f} s for it: what was done "
            "since the last one will be lost at a stop; save more often or use faster storage"
        )


def expected_save(model: ModelConfig, processes: int, bytes_per_second: float, grace: float) -> SaveTime:
    """Every process writes its part at the speed that one was measured at."""
    return SaveTime(parameters(model) * STATE_BYTES / processes / bytes_per_second, grace)


def write_speed(store: Store, folder: str) -> float:
    """Bytes per second of one writer, by a file of 16 MiB that is removed again."""
    started = time.perf_counter()
    store.write(f"{folder}/speed", bytes(PROBE_BYTES))
    seconds = time.perf_counter() - started
    store.remove(folder)
    return PROBE_BYTES / max(seconds, 1e-6)
