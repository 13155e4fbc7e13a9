"""Divisions of the training processes that are refused at apply; preflight shows the numbers (`training/layout.py`).

Here is what can be told without the model: numbers of processes, and combinations that no test holds against one process.
The messages hold the formula, not the job's own numbers: the apiserver has no bound for the length of a number as text and
refuses a message that is put together from some.
"""

from llmtrain.api.base import Rule

WORKERS = "self.cluster.workers"
EACH = f"(self.device == 'Auto' && {WORKERS}.acceleratorsPerWorker > 0 ? {WORKERS}.acceleratorsPerWorker : 1)"
PROCESSES = f"({WORKERS}.replicas * {EACH})"
LEAST = f"({WORKERS}.minReplicas * {EACH})"
TENSOR, PIPELINE, CONTEXT = (f"self.parallelism.{name}" for name in ("tensor", "pipeline", "context"))
INNER = f"({TENSOR} * {PIPELINE} * {CONTEXT})"
BOTH = f"{TENSOR} > 1 && {PIPELINE} > 1"
PRODUCT = "`parallelism.tensor` x `parallelism.pipeline` x `parallelism.context`"
DATA = f"({PROCESSES} / {INNER})"
COUNTED = "processes = `cluster.workers.replicas` x `acceleratorsPerWorker` (without accelerators: `replicas`)"


def mesh_rules() -> list[Rule]:
    """Rules of the training step."""
    one = [_divides(), _data(), _sharding(), _two_dimensions(), _schedule(), *_context(), _shard_size(), _muon()]
    return [*one, _least_divides(), _least_shards(), _elastic_data()]


def _rule(rule: str, message: str, field: str = "") -> Rule:
    return Rule(rule=rule, message=message, field_path=f".parallelism{field}")


def _divides() -> Rule:
    return _rule(
        f"{PROCESSES} % {INNER} == 0",
        f"processes / ({PRODUCT}) must leave no rest; {COUNTED}",
    )


def _data() -> Rule:
    return _rule(
        f"self.parallelism.data == 'Auto' || int(self.parallelism.data) * {INNER} == {PROCESSES}",
        f"`parallelism.data` must be Auto or processes / ({PRODUCT}); {COUNTED}",
        ".data",
    )


def _sharding() -> Rule:
    return _rule(
        f"{TENSOR} * {PIPELINE} == 1 || self.parallelism.sharding == 'Fsdp2'",
        "`parallelism.tensor` or `parallelism.pipeline` above 1 goes with `parallelism.sharding` Fsdp2 only",
        ".sharding",
    )


def _two_dimensions() -> Rule:
    return _rule(
        f"!({BOTH}) || {PROCESSES} == {INNER}",
        "`parallelism.tensor` and `parallelism.pipeline` both above 1 are tested without data parallelism only: "
        f"`tensor` x `pipeline` must be the number of processes; {COUNTED}",
    )


def _schedule() -> Rule:
    return _rule(
        f"!({BOTH}) || self.parallelism.schedule != 'Interleaved'",
        "`parallelism.schedule` Interleaved is not tested with `tensor` and `pipeline` both above 1; "
        "use OneForwardOneBackward",
        ".schedule",
    )


def _context() -> list[Rule]:
    return [
        _rule(
            f"{CONTEXT} == 1 || {PIPELINE} == 1",
            "`parallelism.context` and `parallelism.pipeline` both above 1 are not tested",
            ".context",
        ),
        _rule(
            f"{CONTEXT} == 1 || self.parallelism.sharding != 'Hsdp'",
            "`parallelism.context` above 1 goes with `parallelism.sharding` Ddp or Fsdp2 only",
            ".sharding",
        ),
        _rule(
            f"{CONTEXT} == 1 || {TENSOR} == 1 || {PROCESSES} == {INNER}",
            "`parallelism.context` and `parallelism.tensor` both above 1 are tested without data parallelism only: "
            f"`context` x `tensor` must be the number of processes; {COUNTED}",
            ".context",
        ),
    ]


def _shard_size() -> Rule:
    size = "self.parallelism.shardSize"
    return _rule(
        f"self.parallelism.sharding != 'Hsdp' || {DATA} == 1 || "
        f"({size} > 1 && {DATA} % {size} == 0 && {DATA} > {size})",
        "`parallelism.shardSize` of Hsdp must be above 1 and divide the processes into two replicas or more; "
        f"one replica is Fsdp2; {COUNTED}",
        ".shardSize",
    )


def _muon() -> Rule:
    return Rule(
        rule=f"self.optimizer.name != 'Muon' || {PROCESSES} == 1 || self.parallelism.sharding == 'Ddp'",
        message="`optimizer.name` Muon needs whole matrices: one process, or `parallelism.sharding` Ddp",
        field_path=".optimizer.name",
    )


def _least_divides() -> Rule:
    """An elastic group is a whole number of replicas of the model."""
    return Rule(
        rule=f"{LEAST} % {INNER} == 0",
        message="`minReplicas` must give whole replicas of the model: its processes (times `acceleratorsPerWorker`) / "
        f"({PRODUCT}) must leave no rest",
        field_path=".cluster.workers.minReplicas",
    )


def _least_shards() -> Rule:
    size, data = "self.parallelism.shardSize", f"({LEAST} / {INNER})"
    return Rule(
        rule=f"self.parallelism.sharding != 'Hsdp' || {LEAST} == 0 || ({size} > 0 && {data} % {size} == 0 && {data} > {size})",
        message="with `parallelism.sharding` Hsdp `minReplicas` must give two or more replicas of `shardSize` processes",
        field_path=".cluster.workers.minReplicas",
    )


def _elastic_data() -> Rule:
    return _rule(
        f"{WORKERS}.minReplicas == 0 || self.parallelism.data == 'Auto'",
        "`parallelism.data` must be Auto with `minReplicas`: it follows the workers that there are",
        ".data",
    )
