"""Evaluation: the trained model against held-out text, benchmarks, tasks of one's own and judges.

Scores are complete and stored before the requirements are looked at, so that a model that falls short keeps them all.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from llmtrain.api.endpoint import Endpoint, OnUnavailable
from llmtrain.api.evaluation import Evaluation, Task
from llmtrain.api.stageconfig import Result, StageConfig
from llmtrain.api.status import Stage
from llmtrain.storage.keys import evaluation_key
from llmtrain_jobs.cluster import connect, let_workers_go
from llmtrain_jobs.context import Context
from llmtrain_jobs.errors import StageError, bad_input
from llmtrain_jobs.evaluation.inputs import check_all
from llmtrain_jobs.evaluation.points import PointFiles, curve
from llmtrain_jobs.evaluation.report import Findings, files_of, shown_scores, summary
from llmtrain_jobs.evaluation.requirements import check
from llmtrain_jobs.evaluation.results import TaskResult
from llmtrain_jobs.evaluation.stored import RESULTS, bars_of, baseline_of, stored_results, weights_of
from llmtrain_jobs.evaluation.suites import all_tasks, suite_result
from llmtrain_jobs.preflight.stage import task_fingerprint

MESSAGE_CHARACTERS = 1000
ENDPOINT_TROUBLE = ("EndpointUnreachable", "EndpointDenied", "EndpointRefused", "EndpointHasNoLikelihoods", "NoApiKey")


def run(context: Context) -> Result:
    """Evaluate, or find it evaluated; then hold the scores against the requirements."""
    config, evaluation = context.config, evaluation_of(context.config)
    training = config.artifacts.get(Stage.TRAINING, "")
    if context.store.manifest("training", training) is None:
        raise bad_input(f"the trained model `{training}` does not exist in the job's storage", "ArtifactMissing")
    key = evaluation_key(config.spec, training, task_fingerprint(context))
    found, working = stored_results(context.store, key), 0.0
    if found is None:
        findings = evaluate(context, evaluation)
        files = files_of(findings, config)
        context.store.complete("evaluation", key, files, {})
        found, working = json.loads(files[RESULTS]), findings.working_seconds
    bars = bars_of(found, baseline_of(context.store, evaluation))
    scores = shown_scores(found, evaluation)
    done = Result(outcome="Succeeded", message=summary(bars.own), artifact=key, scores=scores, working_seconds=working)
    try:
        check(evaluation.require, bars)
    except StageError as error:
        # A model that falls short keeps its scores and its artifact all the same.
        failed = {"outcome": "Failed", "failure_class": error.failure, "reason": error.reason}
        return done.model_copy(update=failed | {"message": error.message[:MESSAGE_CHARACTERS]})
    return done


def evaluation_of(config: StageConfig) -> Evaluation:
    """Step 5 of the manifest."""
    if config.spec.evaluation is None:
        raise bad_input("`spec.evaluation` is not set")
    return config.spec.evaluation


@dataclass
class Steps:
    """Progress: which of all tasks is under way."""

    context: Context
    total: int
    done: int = 0

    def next(self, detail: str) -> None:
        """One more begins, those before are done."""
        self.say(detail)
        self.done += 1

    def say(self, detail: str) -> None:
        """What is done now."""
        self.context.tell(self.done, self.total, "tasks", detail)


def evaluate(context: Context, evaluation: Evaluation) -> Findings:
    """All tasks by our model and by the reference, and what follows from them."""
    check_all(context.store, evaluation)
    baseline = baseline_of(context.store, evaluation)
    from llmtrain_jobs.evaluation.harness import prepare

    prepare(needs_hub=any(task.harness for task in evaluation.tasks))
    from llmtrain_jobs.evaluation.setup import Models, runner_of

    ray = connect(context)
    models = Models.of(context, evaluation, ray)
    runner = runner_of(context, evaluation, models)
    started = time.monotonic()
    tasks = all_tasks(evaluation)
    judged = [task for task in tasks if task.judge is not None]
    steps = Steps(context, len(tasks) * (2 if models.reference else 1) + len(judged))
    found = {task.name: own_result(steps, evaluation, runner, models, task) for task in tasks if task.judge is None}
    found |= {task.name: none for task in judged if (none := written(steps, runner, models, task)) is not None}
    # Judges and references may take hours, and the workers have accelerators.
    if judged or models.reference:
        let_workers_go(context, ray, steps.say)
    else:
        ray.shutdown()
    found |= {t.name: own_result(steps, evaluation, runner, models, t) for t in judged if t.name not in found}
    own = {task.name: found[task.name] for task in tasks}
    others = reference_results(steps, evaluation, runner, models)
    working = time.monotonic() - started
    for suite in evaluation.suites:
        own[suite.name] = suite_result(suite, own)
        others |= {suite.name: suite_result(suite, others)} if others else {}
    training = context.config.artifacts[Stage.TRAINING]
    points = PointFiles(context.store, training).read()
    weights = weights_of(context.store, training)
    return Findings(own, others, models.usage(), baseline, working, weights, curve(points))


def written(steps: Steps, runner: Any, models: Any, task: Task) -> TaskResult | None:
    """What our model says to a judged task's prompts; a result where it cannot say anything."""
    steps.next(f"{task.name}: answers to be judged")
    none: TaskResult | None = runner.write(task, models.own)
    return none


def own_result(steps: Steps, evaluation: Evaluation, runner: Any, models: Any, task: Task) -> TaskResult:
    """One task by our model."""
    steps.next(task.name)
    policy = evaluation.judge if task.judge else None
    found = guarded(task, policy, partial(runner.result, task, models.own))
    rated: TaskResult = runner.judging.with_ratings(task, found)
    return rated


def reference_results(steps: Steps, evaluation: Evaluation, runner: Any, models: Any) -> dict[str, TaskResult]:
    """The same tasks by the reference model; what is judged is judged once."""
    found: dict[str, TaskResult] = {}
    for task in all_tasks(evaluation):
        if models.reference is None or task.judge is not None:
            continue
        steps.next(f"{task.name} by the reference model")
        found[task.name] = guarded(task, evaluation.reference, partial(runner.result, task, models.reference))
    return found


def guarded(task: Task, endpoint: Endpoint | None, compute: Callable[[], TaskResult]) -> TaskResult:
    """A result, or a skipped one where the manifest says that the endpoint may be missing."""
    try:
        return compute()
    except StageError as error:
        skippable = endpoint is not None and endpoint.on_unavailable is OnUnavailable.SKIP
        if not skippable or error.reason not in ENDPOINT_TROUBLE:
            raise
        return TaskResult(task.name, skipped=error.message)
