"""Training: Ray Train runs the loop on the workers; the driver watches, passes on the stop, completes the artifact."""

import json
import os
import threading
import time
from typing import Any

from ray.train import TrainingFailedError

from llmtrain.api.elastic import sizes_of
from llmtrain.api.stageconfig import EXIT_CODES, FailureClass, Result
from llmtrain.api.status import Stage
from llmtrain.storage.errors import StorageError
from llmtrain.storage.keys import training_key
from llmtrain.storage.store import Store
from llmtrain_jobs.cluster import connect, in_pods
from llmtrain_jobs.context import Context
from llmtrain_jobs.errors import StageError, bad_input, interrupted
from llmtrain_jobs.evaluation.requirements import REASON
from llmtrain_jobs.training.accounts import Accounts, read_accounts, write_accounts
from llmtrain_jobs.training.beside import Beside
from llmtrain_jobs.training.checkpoints import Archive, Checkpoint
from llmtrain_jobs.training.control import Control
from llmtrain_jobs.training.ending import Ending
from llmtrain_jobs.training.groups import Groups
from llmtrain_jobs.training.plans import retention_of
from llmtrain_jobs.training.record import RECORD_FILE, record_of
from llmtrain_jobs.training.telemetry import metrics_of, progress_of
from llmtrain_jobs.training.trainer import make_trainer

WATCH_SECONDS = 0.5
ACCOUNT_SECONDS = 5.0


def run(context: Context) -> Result:
    """Train, or find it trained."""
    config = context.config
    curation = config.artifacts.get(Stage.CURATION)
    if not curation or context.store.manifest("curation", curation) is None:
        raise bad_input(f"the curated data set `{curation}` does not exist in the job's storage", "ArtifactMissing")
    key = training_key(config.spec, curation)
    if context.store.manifest("training", key):
        return Result(outcome="Succeeded", artifact=key, message="the model was trained already")
    before, beside = read_accounts(context.store, key), Beside.of(context, key)
    state = fit(context, key, before, beside)
    write_accounts(context.store, key, Accounts.from_dict(state["accounts"]))
    return conclude(context, key, state, before, beside)


def fit(context: Context, key: str, before: Accounts, beside: Beside) -> dict[str, Any]:
    """Run the workers to the end; the last state of the control actor."""
    spec = context.config.spec
    workers = spec.training.cluster.workers
    elastic = workers.min_replicas > 0 and in_pods()
    ray = connect(context, workers.least if elastic else None)
    here = ray.get_runtime_context().get_node_id()
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(here, soft=False)
    control = ray.remote(num_cpus=0, scheduling_strategy=strategy)(Control).remote(before.to_dict())
    groups = Groups(context, ray, control, key, sizes_of(spec)) if elastic else None
    over = threading.Event()
    watcher = threading.Thread(
        target=watch, args=(context, ray, control, key, over, before, beside, groups), daemon=True
    )
    watcher.start()
    beside.follow(over)
    try:
        if groups:
            groups.run()
        else:
            train_all(context, ray, control, key)
    finally:
        over.set()
        watcher.join(timeout=10)
    state: dict[str, Any] = ray.get(control.state.remote(), timeout=30)
    return state


def train_all(context: Context, ray: Any, control: Any, key: str) -> None:
    """All workers, to the end. Where one of them said why training cannot go on, what the others met with is its echo."""
    try:
        make_trainer(context, key, control, 1).fit()
    except TrainingFailedError:
        if not ray.get(control.state.remote(), timeout=30)["failure"]:
            raise


def watch(context: Context, ray: Any, control: Any, key: str, over: threading.Event, before: Accounts,
          beside: Beside, groups: Groups | None) -> None:  # fmt: skip
    """Look again and again, whatever is slow to answer or full at the moment: without this thread no stop is heard."""
    watcher = Watcher(context, ray, control, key, before, beside, groups)
    while not over.wait(WATCH_SECONDS):
        try:
            watcher.look()
        except (ray.exceptions.GetTimeoutError, StorageError, OSError) as error:
            print(f"the training's state could not be read or kept now: {error}", flush=True)


class Watcher:
    """Passes the stop on, shows the last step, keeps the accounts where the next attempt finds them."""

    def __init__(self, context: Context, ray: Any, control: Any, key: str, before: Accounts, beside: Beside,
                 groups: Groups | None) -> None:  # fmt: skip
        """`before` are the accounts of earlier attempts, `groups` those of an elastic training."""
        self._context, self._ray, self._control, self._key = context, ray, control, key
        self._before, self._beside, self._groups = before, beside, groups
        self._tokens = context.config.spec.training.tokens
        self._asked, self._kept_at, self._ending = False, time.monotonic(), Ending(self._tokens)

    def look(self) -> None:
        """Once."""
        if self._context.stop.is_set():
            self._ask_to_stop()
        state = self._ray.get(self._control.state.remote(), timeout=10)
        if self._beside.below and state["last"]:
            self._ask_to_stop()
        result = self._ending.look(state, self._asked, time.monotonic())
        if result:
            leave(self._context, self._key, state, self._beside.verdict(result, self._context.stop.is_set()))
        if self._groups:
            self._groups.look(state, time.monotonic())
        if state["last"]:
            self._show(state)

    def _ask_to_stop(self) -> None:
        """Once it was heard it need not be said again."""
        if not self._asked:
            self._ray.get(self._control.request_stop.remote(), timeout=10)
            self._asked = True

    def _show(self, state: dict[str, Any]) -> None:
        """The last step, and every few seconds the accounts."""
        context, beside, groups = self._context, self._beside, self._groups
        context.scratch.put_metrics(metrics_of(state, self._tokens) | beside.metrics())
        also = beside.progress() | (groups.progress() if groups else {})
        context.scratch.put_progress(progress_of(state, self._tokens, self._before).model_copy(update=also))
        if time.monotonic() - self._kept_at > ACCOUNT_SECONDS:
            self._kept_at = time.monotonic()
            write_accounts(context.store, self._key, Accounts.from_dict(state["accounts"]))


def leave(context: Context, key: str, state: dict[str, Any], result: Result) -> None:
    """End this process here, with a result and the accounts where they can be kept, else by its code: see `ending`."""
    assert result.failure_class is not None, "only failures and interruptions end like this"
    try:
        context.scratch.put_result(result)
        if state["last"]:
            write_accounts(context.store, key, Accounts.from_dict(state["accounts"]))
    except (StorageError, OSError) as error:
        print(f"{result.message}; result or accounts could not be kept: {error}", flush=True)
    os._exit(EXIT_CODES[result.failure_class])


def conclude(context: Context, key: str, state: dict[str, Any], before: Accounts, beside: Beside) -> Result:
    """From the end of the run to the result: a failure, an interruption, or the complete artifact."""
    newest = newest_checkpoint(context, key)
    if state["failure"]:
        failure, reason, message = state["failure"]
        raise StageError(FailureClass(failure), reason, message, newest.folder if newest else "")
    if state["model"] is None or newest is None:
        at = newest.folder if newest else "nothing"
        if beside.below and not context.stop.is_set():
            raise below_threshold(beside.below, at)
        raise interrupted(f"saved at step {newest.step if newest else 0}", at)
    accounts = Accounts.from_dict(state["accounts"])
    scores = scores_of(state, newest, accounts)
    complete(context.store, context, key, state, newest, scores)
    message = f"loss {scores['loss']} after {scores['tokens']} tokens"
    return Result(outcome="Succeeded", message=message, artifact=key, scores=scores, checkpoint=newest.folder,
                  working_seconds=accounts.working - before.working, redone_seconds=accounts.redone - before.redone,
                  checkpoint_seconds=accounts.checkpointing - before.checkpointing)  # fmt: skip


def below_threshold(missed: str, checkpoint: str) -> StageError:
    """Training was ended early by the scores of its checkpoints; they and everything else are kept."""
    return StageError(FailureClass.BELOW_THRESHOLD, REASON, missed, checkpoint)


def newest_checkpoint(context: Context, key: str) -> Checkpoint | None:
    """The newest complete one."""
    retention = retention_of(context.config.spec.training)
    return Archive(context.store, key, retention, context.config.attempt).newest()


def scores_of(state: dict[str, Any], newest: Checkpoint, accounts: Accounts) -> dict[str, str]:
    """Numbers for people. Speed and `validation_loss` (`evaluateEveryTokens`) are the last attempt's, if it had them."""
    last, facts = state["last"], newest.facts
    scores = {"loss": f"{facts['loss']:.4f}", "tokens": str(facts["tokens"]), "step_efficiency": f"{accounts.step_efficiency:.4f}",
              "redone_steps": str(accounts.redone_steps), "skipped_steps": str(accounts.skipped_steps),
              "roll_backs": str(state["counts"]["roll_backs"])}  # fmt: skip
    if state["validation_loss"] is not None:
        scores["validation_loss"] = f"{state['validation_loss']:.4f}"
    if last:
        scores |= {"tokens_per_second": f"{last['tokens_per_second']:.0f}", "mfu": f"{last['mfu']:.4f}",
                   "mfu_peak": last["peak"]}  # fmt: skip
    return scores


def complete(
    store: Store, context: Context, key: str, state: dict[str, Any], newest: Checkpoint, scores: dict[str, str]
) -> None:
    """Write what belongs to the artifact beside the model, then its manifest."""
    record = record_of(context.config, key, newest)
    files = {"scores.json": json.dumps(scores).encode(), RECORD_FILE: json.dumps(record, indent=1).encode()}
    counts = {"step": newest.step, "tokens": newest.facts["tokens"], "token_stream": newest.facts["digest"]}
    store.complete("training", key, files, counts, written=[state["model"]])
