"""What each training worker runs under Ray Train."""

import json
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from llmtrain.api.stageconfig import StageConfig
from llmtrain.api.training import Precision, Training
from llmtrain.storage.store import Store, artifact_folder
from llmtrain_jobs.entrypoint.driver import store_of
from llmtrain_jobs.model.config import resolve
from llmtrain_jobs.model.flops import train_flops_per_token
from llmtrain_jobs.model.transformer import Transformer
from llmtrain_jobs.training.checkpoints import Checkpoints
from llmtrain_jobs.training.data import Windows
from llmtrain_jobs.training.loop import Group, NonFiniteLoss, Plan, Step, Trainer
from llmtrain_jobs.training.peak import measured_flops

LOCAL = Path("/tmp/llmtrain/shards")  # an emptyDir of the pod


def train(parameters: dict[str, Any]) -> None:
    """Entry point of every rank; called again after a rank was lost, and goes on from the newest checkpoint."""
    config = StageConfig.model_validate(parameters["config"])
    store, control, key = store_of(config), parameters["control"], parameters["key"]
    trainer = build(config, store, control, key)
    try:
        finished = trainer.run()
    except NonFiniteLoss as error:
        _tell(control.fail.remote("NonFiniteLoss", str(error)))
        return
    if finished and trainer.group.rank == 0:
        _tell(control.finish.remote())


def build(config: StageConfig, store: Store, control: Any, key: str) -> Trainer:
    """Model, data and position of this rank."""
    spec, group = config.spec, make_group()
    counts = (store.manifest("curation", parameters_key(config)) or {})["counts"]
    torch.manual_seed(spec.seed)
    dimensions = resolve(spec.model, counts["vocabulary_size"], spec.training.tokens)
    model = Transformer(dimensions).to(group.device)
    plan = plan_of(spec.training, spec.model.context_length, group)
    windows = Windows(fetch_shards(store, parameters_key(config)), counts["dtype"], plan.context, spec.seed)
    checkpoints = Checkpoints(store, key, spec.training.checkpoint.keep_last, config.attempt)
    peak = float(config.peak_tflops) * 1e12 if config.peak_tflops and group.device.type == "cuda" else measured_flops()
    reporter = Reporter(
        control, store, key, config.attempt, train_flops_per_token(dimensions), peak * group.world, plan
    )

    def save(step: int, state: dict[str, Any]) -> None:
        checkpoints.save(step, state)
        reporter.flush()
        _tell(control.saved.remote(step))

    found = checkpoints.load()
    if found:
        model.load_state_dict(found[1]["model"])
    trainer = Trainer(distributed(model, group), plan, windows, group, reporter.stop, reporter.on_step, save)
    if found:
        trainer.restore(found[1])
    return trainer


def parameters_key(config: StageConfig) -> str:
    """Key of the curated data set."""
    from llmtrain.api.status import Stage

    return config.artifacts[Stage.CURATION]


def make_group() -> Group:
    """The ranks that Ray Train has joined."""
    rank, world = dist.get_rank(), dist.get_world_size()
    if torch.cuda.is_available():
        from ray.train.torch import get_device

        device = get_device()
        torch.cuda.set_device(device)
        return Group(rank, world, device, lambda tensor: dist.all_reduce(tensor))
    # Two processes of one thread each on a small machine; more threads would take each other's cores.
    torch.set_num_threads(1)
    return Group(rank, world, torch.device("cpu"), lambda tensor: dist.all_reduce(tensor))


def distributed(model: torch.nn.Module, group: Group) -> torch.nn.Module:
    """Wrapped for data parallelism where there is more than one rank."""
    if group.world == 1:
        return model
    devices = [group.device] if group.device.type == "cuda" else None
    wrapped: torch.nn.Module = torch.nn.parallel.DistributedDataParallel(model, device_ids=devices)
    return wrapped


def plan_of(training: Training, context: int, group: Group) -> Plan:
    """The spec's strings as numbers."""
    optimizer = training.optimizer
    return Plan(
        total_tokens=training.tokens,
        batch_sequences=training.global_batch_tokens // context,
        context=context,
        peak_learning_rate=float(optimizer.peak_learning_rate),
        warmup_tokens=optimizer.warmup_tokens,
        weight_decay=float(optimizer.weight_decay),
        gradient_clip=float(optimizer.gradient_clip),
        checkpoint_seconds=training.checkpoint.interval.seconds,
        bf16=training.precision is Precision.BF16_MIXED and group.device.type == "cuda",
    )


def fetch_shards(store: Store, key: str) -> list[Path]:
    """The training shards, on a local disk or linked from the mounted volume."""
    manifest = store.manifest("curation", key) or {}
    names = [file["name"] for file in manifest["files"] if file["name"].startswith("train/")]
    for name in names:
        store.download(f"{artifact_folder('curation', key)}/{name}", LOCAL / key / name)
    return [LOCAL / key / name for name in names]


class Reporter:
    """Rank 0's reports: each step to the driver, all losses to the artifact with each checkpoint."""

    def __init__(self, control: Any, store: Store, key: str, attempt: int, flops: int, peak: float, plan: Plan) -> None:
        """`flops` of one token, `peak` FLOP/s of all ranks together."""
        self._control, self._store, self._flops, self._peak, self._plan = control, store, flops, peak, plan
        self._name = f"{artifact_folder('training', key)}/loss/attempt-{attempt:04d}-{int(time.time())}.jsonl"
        self._lines: list[str] = []
        self._answer: Any = None

    def stop(self) -> bool:
        """What the driver answered to the last report that it had time to answer."""
        import ray

        if self._answer is None:
            return False
        ready, _ = ray.wait([self._answer], timeout=0)
        return bool(ready and ray.get(self._answer))

    def on_step(self, step: Step) -> None:
        """Report without waiting."""
        if dist.get_rank() != 0:
            return
        speed = self._plan.step_tokens / step.seconds
        facts = {"step": step.number, "tokens": step.tokens, "loss": step.loss, "gradient_norm": step.gradient_norm,
                 "seconds": step.seconds, "tokens_per_second": speed, "mfu": speed * self._flops / self._peak}  # fmt: skip
        self._lines.append(
            json.dumps({"step": step.number, "tokens": step.tokens, "loss": step.loss, "time": time.time()})
        )
        self._answer = self._control.step.remote(facts)

    def flush(self) -> None:
        """Write the losses so far."""
        self._store.write(self._name, ("\n".join(self._lines) + "\n").encode())


def _tell(reference: Any) -> None:
    """Wait until the driver knows."""
    import ray

    ray.get(reference, timeout=30)
