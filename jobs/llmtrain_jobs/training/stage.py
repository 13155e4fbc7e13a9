"""Training: Ray Train runs the loop on the workers; the driver watches, passes on the stop, completes the artifact."""

import json
import os
import threading
from typing import Any

from llmtrain.api.stageconfig import ExitCode, FailureClass, Result
from llmtrain.api.status import Progress, Stage
from llmtrain.storage.keys import training_key
from llmtrain_jobs.cluster import connect
from llmtrain_jobs.context import Context
from llmtrain_jobs.errors import StageError, bad_input, interrupted
from llmtrain_jobs.training.checkpoints import STATE, Checkpoints
from llmtrain_jobs.training.control import Control

WATCH_SECONDS = 0.5
MODEL_FILE = "model.pt"
GAUGES = {"loss": "loss", "gradient_norm": "gradient_norm", "tokens": "tokens_seen", "tokens_per_second": "tokens_per_second",
          "mfu": "mfu_ratio"}  # fmt: skip


def run(context: Context) -> Result:
    """Train, or find it trained."""
    config = context.config
    curation = config.artifacts.get(Stage.CURATION)
    if not curation or context.store.manifest("curation", curation) is None:
        raise bad_input(f"the curated data set `{curation}` does not exist in the job's storage", "ArtifactMissing")
    key = training_key(config.spec, curation)
    if context.store.manifest("training", key):
        return Result(outcome="Succeeded", artifact=key, message="the model was trained already")
    state = fit(context, key)
    return conclude(context, key, state)


def fit(context: Context, key: str) -> dict[str, Any]:
    """Run the workers to the end; the last state of the control actor."""
    ray = connect(context)
    here = ray.get_runtime_context().get_node_id()
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(here, soft=False)
    control = ray.remote(num_cpus=0, scheduling_strategy=strategy)(Control).remote()
    over = threading.Event()
    watcher = threading.Thread(target=watch, args=(context, ray, control, over), daemon=True)
    watcher.start()
    try:
        make_trainer(context, key, control).fit()
    finally:
        over.set()
        watcher.join(timeout=10)
    state: dict[str, Any] = ray.get(control.state.remote(), timeout=30)
    return state


def make_trainer(context: Context, key: str, control: Any) -> Any:
    """Ray Train's trainer. A lost worker restarts the group, which waits until its pod is replaced."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from llmtrain_jobs.training.worker import train

    config = context.config
    workers = config.spec.training.cluster.workers
    scaling = ScalingConfig(num_workers=workers.replicas, resources_per_worker={"CPU": 1}, placement_strategy="SPREAD")
    failures = FailureConfig(max_failures=config.spec.retry.infrastructure_limit)
    run_config = RunConfig(
        name=f"{config.job}-{config.attempt}", storage_path=str(context.scratch.folder / "ray"), failure_config=failures
    )
    parameters = {"config": config.to_dict(), "control": control, "key": key}
    return TorchTrainer(train, train_loop_config=parameters, scaling_config=scaling, run_config=run_config)


def watch(context: Context, ray: Any, control: Any, over: threading.Event) -> None:
    """Pass the stop on; show the last step."""
    asked = False
    while not over.wait(WATCH_SECONDS):
        if context.stop.is_set() and not asked:
            asked = True
            ray.get(control.request_stop.remote(), timeout=10)
        last = ray.get(control.state.remote(), timeout=10)["last"]
        if asked and not last:
            leave_unstarted(context)
        show(context, last)


def leave_unstarted(context: Context) -> None:
    """Asked to stop before the first step: there is nothing to save, and waiting for the workers would be billed.

    Ray Train's `fit` cannot be interrupted from a thread, so the process ends here, with its last words written.
    """
    words = "stopped before the first step of this attempt"
    failed = FailureClass.INTERRUPTED
    context.scratch.put_result(Result(outcome="Failed", failure_class=failed, reason="Interrupted", message=words))
    os._exit(ExitCode.INTERRUPTED)


def show(context: Context, last: dict[str, Any]) -> None:
    """Progress and gauges of the last step."""
    if not last:
        return
    context.scratch.put_metrics({f"llmtrain_train_{name}": float(last[key]) for key, name in GAUGES.items()})
    context.scratch.put_progress(
        Progress(
            done=last["tokens"],
            total=context.config.spec.training.tokens,
            unit="tokens",
            loss=f"{last['loss']:.4f}",
            tokens_per_second=f"{last['tokens_per_second']:.0f}",
            mfu=f"{last['mfu']:.4f}",
            detail=f"step {last['step']}",
        )
    )


def conclude(context: Context, key: str, state: dict[str, Any]) -> Result:
    """From the end of the run to the result: a failure, an interruption, or the complete artifact."""
    if state["failure"]:
        raise StageError(FailureClass.BAD_INPUT, *state["failure"])
    checkpoints = Checkpoints(context.store, key, 1, context.config.attempt)
    newest = checkpoints.newest()
    if not state["finished"] or newest is None:
        at = newest.folder if newest else "nothing"
        raise interrupted(f"saved at step {newest.step if newest else 0}", at)
    last = state["last"]
    scores = {"loss": f"{last['loss']:.4f}", "tokens": str(last["tokens"]), "tokens_per_second": f"{last['tokens_per_second']:.0f}",
              "mfu": f"{last['mfu']:.4f}", "mfu_peak": "plan" if context.config.peak_tflops else "measured"}  # fmt: skip
    files = {MODEL_FILE: context.store.read(f"{newest.folder}/{STATE}"), "scores.json": json.dumps(scores).encode()}
    context.store.complete("training", key, files, {"step": newest.step, "tokens": last["tokens"]})
    message = f"loss {scores['loss']} after {last['tokens']} tokens"
    return Result(outcome="Succeeded", message=message, artifact=key, scores=scores, checkpoint=newest.folder,
                  working_seconds=state["working"])  # fmt: skip
