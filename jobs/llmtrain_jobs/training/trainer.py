"""Ray Train's trainer for the workers of a cluster, or for some of them."""

from collections.abc import Sequence
from typing import Any

from llmtrain.api.elastic import processes_per_worker
from llmtrain_jobs.cluster import Worker
from llmtrain_jobs.context import Context
from llmtrain_jobs.training.refusals import uses_accelerators

NODE_ID = "ray.io/node-id"
"""Ray's own label of a node."""


def make_trainer(context: Context, key: str, control: Any, number: int, members: Sequence[Worker] = ()) -> Any:
    """For the n-th group: of these workers, which ends with the first of them that is lost.

    Without `members`: of all workers, and a lost one restarts the group, which waits until its pod is replaced.
    """
    from ray.train import FailureConfig, RunConfig
    from ray.train.torch import TorchTrainer

    from llmtrain_jobs.training.worker import train

    config = context.config
    tolerated = 0 if members else config.spec.retry.infrastructure_limit
    failures = FailureConfig(max_failures=tolerated, controller_failure_limit=0 if members else -1,
                             max_preemption_failures=0 if members else -1)  # fmt: skip
    name = f"{config.job}-{config.attempt}-{number}"
    run_config = RunConfig(name=name, storage_path=str(context.scratch.folder / "ray"), failure_config=failures)
    parameters = {"config": config.to_dict(), "control": control, "key": key}
    return TorchTrainer(
        train, train_loop_config=parameters, scaling_config=_scaling(context, members), run_config=run_config
    )


def _scaling(context: Context, members: Sequence[Worker]) -> Any:
    from ray.train import ScalingConfig

    training = context.config.spec.training
    each, gpus = processes_per_worker(training), uses_accelerators(training)
    # A pod that pays for accelerators and finds none is refused by its first process; Ray would wait for them for ever.
    has_gpus = gpus and ray_gpus() > 0
    return ScalingConfig(
        num_workers=each * (len(members) or training.cluster.workers.replicas),
        use_gpu=has_gpus,
        resources_per_worker={"CPU": 1 / each} | ({"GPU": 1.0} if has_gpus else {}),
        placement_strategy="SPREAD",
        label_selector=[{NODE_ID: worker.node} for worker in members for _ in range(each)] or None,
    )


def ray_gpus() -> float:
    """Accelerators of all workers that Ray found."""
    import ray

    return float(ray.cluster_resources().get("GPU", 0))
