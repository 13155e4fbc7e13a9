"""The spec's strings as numbers: plans of the parts."""

import torch

from llmtrain.api.training import Precision, Reaction, Training
from llmtrain_jobs.training.fp8 import products_of
from llmtrain_jobs.training.interval import Interval
from llmtrain_jobs.training.optimizers import OptimizerPlan
from llmtrain_jobs.training.retention import Retention
from llmtrain_jobs.training.stability import StabilityPlan
from llmtrain_jobs.training.wrap import ComputePlan


def optimizer_of(spec: Training) -> OptimizerPlan:
    """The optimizer's numbers."""
    given = spec.optimizer
    return OptimizerPlan(given.name, float(given.peak_learning_rate), float(given.muon_learning_rate),
                         float(given.weight_decay), float(given.beta1), float(given.beta2), float(given.epsilon),
                         float(given.gradient_clip))  # fmt: skip


def stability_of(spec: Training) -> StabilityPlan:
    """The reactions' numbers."""
    given = spec.stability
    return StabilityPlan(given.on_non_finite, given.on_spike, float(given.spike_sigma), given.window,
                         given.roll_back_checkpoints, float(given.lower_rate_factor), given.limit)  # fmt: skip


def compute_of(spec: Training, device: torch.device) -> ComputePlan:
    """How a step is computed: CPUs keep fp32, and fp8 is refused where the device has none."""
    given = spec.compute
    products = products_of(device) if spec.precision is Precision.FP8_MIXED else None
    bf16 = spec.precision is not Precision.FP32 and device.type == "cuda"
    return ComputePlan(micro_batch_sequences=given.micro_batch_sequences, recompute=given.recompute,
                       compile=given.compile, loss_chunk_tokens=given.loss_chunk_tokens, z_loss=float(given.z_loss),
                       bf16=bf16, fp8=products)  # fmt: skip


def interval_of(spec: Training, processes: int, failures: int) -> Interval:
    """When checkpoints are due; `failures` so far."""
    given = spec.checkpoint.interval
    seconds = None if given.steps or given.auto else float(given.typical_seconds)
    return Interval(seconds, given.steps, processes, failures)


def retention_of(spec: Training) -> Retention:
    """Which checkpoints stay: as many at least as a roll-back may go back."""
    stability, kept = spec.stability, spec.checkpoint.keep_last
    if Reaction.ROLL_BACK in (stability.on_spike, stability.on_non_finite):
        kept = max(kept, stability.roll_back_checkpoints)
    return Retention(kept, spec.checkpoint.keep_every)
