"""Evaluation beside training: what an evaluator pod runs. It needs no Ray and nothing of the workers, only the storage.

It watches for complete checkpoints, holds the one that it reads, scores it in this process with the very code of the
evaluation stage, and writes the scores beside the checkpoints. Training looks at them; it never waits for them.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

import torch

from llmtrain.api.duringtraining import DuringTraining
from llmtrain.api.evaluation import Evaluation, Suite, Task, scored_during
from llmtrain.api.stageconfig import Result, StageConfig
from llmtrain.api.status import Stage
from llmtrain.storage.errors import StorageError
from llmtrain.storage.keys import training_key
from llmtrain_jobs.context import Context
from llmtrain_jobs.curation.tokens import table_size
from llmtrain_jobs.errors import bad_input, interrupted
from llmtrain_jobs.evaluation import worker
from llmtrain_jobs.evaluation.adapter import CheckpointModel
from llmtrain_jobs.evaluation.backend import Loaded, LocalBackend
from llmtrain_jobs.evaluation.chat import chat_of
from llmtrain_jobs.evaluation.harness import prepare
from llmtrain_jobs.evaluation.pointmetrics import metrics_of
from llmtrain_jobs.evaluation.points import Point, PointFiles, is_due, write_point
from llmtrain_jobs.evaluation.report import chance_of, decimal_text, flat_scores
from llmtrain_jobs.evaluation.results import TaskResult
from llmtrain_jobs.evaluation.run import Runner, Subject
from llmtrain_jobs.evaluation.setup import chat_identity, end_of_text, judging_of, limits_of
from llmtrain_jobs.evaluation.stage import guarded
from llmtrain_jobs.evaluation.stored import problems_of
from llmtrain_jobs.evaluation.suites import preset_tasks, suite_result
from llmtrain_jobs.model.config import resolve
from llmtrain_jobs.model.transformer import Transformer
from llmtrain_jobs.training.checkpoints import COMPLETE, Archive, Checkpoint, checkpoints_folder
from llmtrain_jobs.training.export import read_model
from llmtrain_jobs.training.holds import hold
from llmtrain_jobs.training.plans import retention_of

LOOK_SECONDS = 5.0


@dataclass
class Watcher:
    """One evaluator of an attempt."""

    context: Context
    key: str
    evaluation: Evaluation
    during: DuringTraining
    evaluator: int
    clock: Callable[[], float] = time.monotonic
    began: float = 0.0
    _passed: str = ""
    """The newest checkpoint, once it is scored or another's turn."""
    _endpoint_usd: Decimal = Decimal(0)
    """What endpoints were paid for the last scores."""

    def look(self) -> None:
        """Score the newest checkpoint, if that is due."""
        store, newest = self.context.store, self.archive().latest()
        if newest is None or newest.folder == self._passed:
            return
        if self.is_due(newest):
            try:
                self.score(newest)
            except StorageError:
                if store.exists(f"{newest.folder}/{COMPLETE}"):
                    raise
                # Swept or rolled back before the hold was seen: a newer one comes.
        self._passed = newest.folder

    def is_due(self, newest: Checkpoint) -> bool:
        """By what is scored already."""
        points, replicas = PointFiles(self.context.store, self.key).read(), self.during.evaluators.replicas
        return is_due(newest, points, self.during.every_tokens, self.evaluator, replicas)

    def archive(self) -> Archive:
        """The checkpoints, to read them."""
        config = self.context.config
        return Archive(self.context.store, self.key, retention_of(config.spec.training), config.attempt)

    def score(self, checkpoint: Checkpoint) -> None:
        """Hold it, score it, write its scores, let it go."""
        store, attempt, base = self.context.store, self.context.config.attempt, checkpoints_folder(self.key)
        found_at = self.clock()
        hold(store, base, attempt, self.evaluator, checkpoint.folder)
        point = self.point(checkpoint, self.results(checkpoint), found_at)
        write_point(store, self.key, point)
        hold(store, base, attempt, self.evaluator, "")
        self.context.scratch.put_metrics(metrics_of(point))

    def results(self, checkpoint: Checkpoint) -> dict[str, TaskResult]:
        """Of every task and suite that is asked for."""
        tasks, found = tasks_of(self.evaluation), dict[str, TaskResult]()
        runner, subject = self.runner(checkpoint, tasks)
        for number, task in enumerate(tasks):
            self.context.check_stop()
            self.context.tell(number, len(tasks), "tasks", f"{task.name} of step {checkpoint.step}")
            policy = self.evaluation.judge if task.judge else None
            found[task.name] = guarded(task, policy, partial(runner.result, task, subject))
        self._endpoint_usd = runner.judging.usd()
        suites = suites_of(self.evaluation)
        return found | {suite.name: suite_result(suite, found) for suite in suites}

    def runner(self, checkpoint: Checkpoint, tasks: Sequence[Task]) -> tuple[Runner, Subject]:
        """The checkpoint's model in this process, and the endpoints that these tasks ask."""
        config, store = self.context.config, self.context.store
        tokenizer = worker.load_tokenizer(config, store)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model = Transformer(resolve(config.spec.model, table_size(tokenizer), config.spec.training.tokens))
        model.load_state_dict(read_model(store, checkpoint))
        backend = LocalBackend(Loaded(model.float().to(device).eval(), tokenizer, device))
        limits, chat = limits_of(config, tokenizer, self.evaluation), chat_of(store, config.spec)
        lm = CheckpointModel(backend, tokenizer, limits, end_of_text(self.context), chat)
        identity = {"checkpoint": content_of(checkpoint), "batchTokens": self.evaluation.batch_tokens}
        identity |= chat_identity(chat)
        judging = judging_of(self.context, self.evaluation, tokenizer, tasks)
        return Runner(config, store, self.evaluation, judging), Subject(lm, identity)

    def point(self, checkpoint: Checkpoint, results: dict[str, TaskResult], found_at: float) -> Point:
        """What is kept of it."""
        config, seconds = self.context.config, self.clock() - found_at
        errors = {f"{name}/{m}": decimal_text(e) for name, r in results.items() for m, e in r.errors.items()}
        lower = [f"{name}/{m}" for name, r in results.items() for m, higher in r.higher_is_better.items() if not higher]
        before = Decimal(config.spent_usd or 0) + usd(config.micro_usd_per_hour, found_at - self.began)
        return Point(
            checkpoint=checkpoint.folder,
            step=checkpoint.step,
            tokens=int(checkpoint.facts["tokens"]),
            generation=int(checkpoint.facts["generation"]),
            attempt=config.attempt,
            scores=flat_scores(results),
            errors=errors,
            lower_is_better=lower,
            chance=chance_of(results),
            seconds=round(seconds, 3),
            evaluator_usd=f"{usd(config.evaluator_micro_usd_per_hour, seconds):.6f}",
            endpoint_usd=f"{self._endpoint_usd:.6f}",
            spent_usd=f"{before:.6f}",
            problems=problems_of({name: result.to_dict() for name, result in results.items()}),
        )


def usd(micro_usd_per_hour: int, seconds: float) -> Decimal:
    """US dollars of so many seconds."""
    return Decimal(micro_usd_per_hour) * Decimal(f"{max(0.0, seconds):.3f}") / 3600 / 10**6


def content_of(checkpoint: Checkpoint) -> str:
    """Hash of the checkpoint's files."""
    return hashlib.sha256(json.dumps(dict(checkpoint.files), sort_keys=True).encode()).hexdigest()


def tasks_of(evaluation: Evaluation) -> list[Task]:
    """Tasks that are scored during training, those of the presets of suites included."""
    return [*scored_during(evaluation), *(task for suite in suites_of(evaluation) for task in preset_tasks(suite))]


def suites_of(evaluation: Evaluation) -> list[Suite]:
    """Suites that are named."""
    named = evaluation.during_training.tasks if evaluation.during_training else []
    return [suite for suite in evaluation.suites if suite.name in named]


def run(context: Context, evaluator: int) -> Result:
    """Entry point of an evaluator's driver."""
    config = context.config
    evaluation, during = settings(config)
    prepare(needs_hub=any(task.harness for task in tasks_of(evaluation)))
    torch.set_num_threads(worker.whole_cores(during.evaluators.cpu))
    key = training_key(config.spec, config.artifacts[Stage.CURATION])
    watcher = Watcher(context, key, evaluation, during, evaluator, began=time.monotonic())
    context.tell(0, 0, "tasks", "waits for a checkpoint")
    while not context.stop.wait(LOOK_SECONDS):
        watcher.look()
    # PID 1 ends this process with the training; a signal of its own is no failure either.
    raise interrupted("stopped on request")


def settings(config: StageConfig) -> tuple[Evaluation, DuringTraining]:
    """Step 5 of the manifest, and its part that this pod is for."""
    evaluation = config.spec.evaluation
    if evaluation is None or evaluation.during_training is None:
        raise bad_input("`spec.evaluation.duringTraining` is not set")
    return evaluation, evaluation.during_training
