"""What stage pods export on port 8090: one line of help a family. A name that is not here is not exported.

Names that end in `_total` rise within an attempt. Prometheus adds namespace, name, stage, role, attempt and pod.
"""

import functools
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """One metric, or several whose names differ by a part."""

    name: str
    help: str
    pattern: str = ""

    def matches(self, name: str) -> bool:
        """Whether a metric belongs to it."""
        return re.fullmatch(self.pattern or re.escape(self.name), name) is not None

    @property
    def kind(self) -> str:
        """Prometheus' type."""
        return "counter" if self.name.endswith("_total") else "gauge"


FAMILIES = (
    Family("llmtrain_train_loss", "Training loss of the last step, nats per token."),
    Family("llmtrain_train_gradient_norm", "Norm of the gradient before clipping."),
    Family("llmtrain_train_learning_rate", "Learning rate of the last step."),
    Family("llmtrain_train_mfu_ratio", "Model FLOPs utilisation, causal convention."),
    Family("llmtrain_train_tokens_per_second", "Tokens per second over all workers."),
    Family("llmtrain_train_memory_bytes", "Largest memory of a worker's accelerator or process."),
    Family("llmtrain_train_tokens_total", "Tokens that the model has been trained on."),
    Family("llmtrain_train_steps_total", "Optimizer steps."),
    Family("llmtrain_train_working_seconds_total", "Seconds in which training moved forward."),
    Family("llmtrain_train_redone_seconds_total", "Seconds spent on steps that had been done before."),
    Family("llmtrain_train_redone_steps_total", "Steps that had been done before."),
    Family("llmtrain_train_skipped_steps_total", "Steps left out because a value was not finite."),
    Family("llmtrain_train_rollbacks_total", "Returns to an earlier checkpoint because the loss rose."),
    Family("llmtrain_train_restarts_total", "Restarts of the worker group within the attempt."),
    Family("llmtrain_train_checkpoint_stall_seconds_total", "Seconds that training stood still for checkpoints."),
    Family("llmtrain_train_data_wait_seconds_total", "Seconds that training waited for data."),
    Family(
        "llmtrain_train_step_efficiency_ratio",
        "Step efficiency: of the seconds of steps and checkpoints, of all attempts, those of steps done for the first time.",
    ),
    Family(
        "llmtrain_train_goodput_ratio",
        "Former name of llmtrain_train_step_efficiency_ratio, the same number; no goodput of billed time or of dollars.",
    ),
    Family("llmtrain_train_last_checkpoint_step", "Step of the newest complete checkpoint."),
    Family("llmtrain_train_world_size", "Processes that train together; 0 before the first of them have started."),
    Family("llmtrain_train_eta_seconds", "Seconds until all tokens are seen, at the present speed."),
    Family("llmtrain_curation_read_documents_total", "Documents that were read."),
    Family("llmtrain_curation_read_bytes_total", "Bytes of text that were read."),
    Family("llmtrain_curation_bad_records_total", "Records that could not be read."),
    Family(
        "llmtrain_curation_step_NAME_done", "Parts of a step that are done.", r"llmtrain_curation_step_[a-z_]+_done"
    ),
    Family("llmtrain_curation_step_NAME_parts", "Parts of a step in all.", r"llmtrain_curation_step_[a-z_]+_parts"),
    Family("llmtrain_evaluation_batches_done", "Batches of questions that are answered."),
    Family("llmtrain_evaluation_batches", "Batches of questions in all."),
    Family("llmtrain_evaluation_checkpoint_step", "Step of the newest checkpoint that was scored during training."),
    Family("llmtrain_evaluation_checkpoint_tokens", "Training tokens of that checkpoint."),
    Family("llmtrain_evaluation_seconds", "Seconds that an evaluator took for it."),
    Family(
        "llmtrain_evaluation_score_TASK_METRIC",
        "Score of that checkpoint: `task/metric` with underscores.",
        r"llmtrain_evaluation_score_[a-z0-9_]+",
    ),
)


@functools.cache
def family_of(name: str) -> Family | None:
    """The family of a metric."""
    return next((family for family in FAMILIES if family.matches(name)), None)


def exposition(values: dict[str, float]) -> str:
    """The text format, with type and help of every metric; a metric without a family has no help and shows in a check."""
    lines = []
    for name, value in sorted(values.items()):
        family = family_of(name)
        kind = "counter" if name.endswith("_total") else "gauge"
        about = f"# HELP {name} {family.help}\n" if family else ""
        lines.append(f"{about}# TYPE {name} {kind}\n{name} {value}\n")
    return "".join(lines)
