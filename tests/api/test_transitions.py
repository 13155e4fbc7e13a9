"""What may change in a job, before it starts, while a stage has pods, between attempts and after the end."""

import copy
from typing import Any

import pytest

from tests.api.conftest import Api
from tests.api.test_manifests import changed

STAGES = ("Preflight", "Curation", "Training", "Evaluation")
BEFORE = (("Pending", 0),) * 4
CURATING = (("Succeeded", 1), ("Running", 1), ("Pending", 0), ("Pending", 0))
TRAINING = (("Succeeded", 1), ("Succeeded", 1), ("Running", 1), ("Pending", 0))
STOPPING = (("Succeeded", 1), ("Succeeded", 1), ("Stopping", 1), ("Pending", 0))
BETWEEN = (("Succeeded", 1), ("Succeeded", 1), ("Suspended", 1), ("Pending", 0))
TRAINED = (("Succeeded", 1), ("Succeeded", 1), ("Succeeded", 1), ("Running", 1))
DONE = (("Succeeded", 1),) * 4
ALWAYS = (BEFORE, CURATING, TRAINING, STOPPING, BETWEEN, TRAINED, DONE)
States = tuple[tuple[str, int], ...]

# path, new value, states in which it may change, words of the refusal in all others
RULES: list[tuple[str, Any, tuple[States, ...], str]] = [
    ("spec.suspend", True, ALWAYS, ""),
    ("spec.budget.limitUsd", "80.00", ALWAYS, ""),
    ("spec.retry.limit", 7, ALWAYS, ""),
    ("spec.startDeadlineSeconds", 60, ALWAYS, ""),
    ("spec.runDeadlineSeconds", 3600, ALWAYS, ""),
    ("spec.training.cluster.runDeadlineSeconds", 3600, ALWAYS, ""),
    ("spec.ttlSecondsAfterFinished", 3600, ALWAYS, ""),
    ("spec.image", "jobs:2", ALWAYS, ""),
    ("spec.seed", 99, (BEFORE,), "`seed` may not change once the job has started"),
    ("spec.storage.persistentVolumeClaim.claimName", "b", (BEFORE,), "`storage` may not change once the job"),
    ("spec.model.contextLength", 64, (BEFORE,), "`model` may not change once the job has started"),
    ("spec.curation.sources", [{"name": "b", "path": "b"}], (BEFORE,), "may not change once the job has started"),
    ("spec.curation.tokenizer.train.vocabularySize", 500, (BEFORE,), "may not change once the job has started"),
    ("spec.curation.require.minTokens", 5, (BEFORE, TRAINING, STOPPING, BETWEEN, TRAINED, DONE), "set `suspend: true`"),
    ("spec.training.optimizer.weightDecay", "0.2", (BEFORE, CURATING), "once Training has started"),
    ("spec.training.checkpoint.keepLast", 9, (BEFORE, CURATING, BETWEEN, TRAINED, DONE), "set `suspend: true` first"),
    ("spec.training.cluster.workers.memory", "64Gi", (BEFORE, CURATING, BETWEEN, TRAINED, DONE), "set `suspend: true`"),
    ("spec.training.cluster.planRef.name", "other", (BEFORE, CURATING, BETWEEN, TRAINED, DONE), "set `suspend: true`"),
    ("spec.training.tokens", 10**9, (BEFORE, CURATING), "may only be raised"),
    ("spec.training.tokens", 90_000, (), "`training.tokens` may only be raised"),
    ("spec.evaluation.require", [{"metric": "a/b", "atMost": "1"}], (BEFORE, CURATING, TRAINING, STOPPING, BETWEEN),
     "once Evaluation has started"),
    ("spec.evaluation.cluster.head.cpu", "3", (BEFORE, CURATING, TRAINING, STOPPING, BETWEEN, DONE), "suspend: true"),
]  # fmt: skip


def status(states: States) -> dict[str, Any]:
    stages = [{"name": name, "state": s, "attempt": n} for name, (s, n) in zip(STAGES, states, strict=True)]
    return {"status": {"stages": stages}}


@pytest.mark.parametrize("states", ALWAYS)
def test_what_may_change_depends_on_where_the_job_stands(states: States, api: Api, demo_job: dict[str, Any]) -> None:
    name = f"moves-{ALWAYS.index(states)}"
    body = changed(demo_job, "metadata.name", name)
    api.apply(body)
    api.set_status("llmjob", name, status(states))
    wrong = []
    for path, value, allowed, words in RULES:
        refusal = api.direct.refusal(changed(copy.deepcopy(body), path, value))
        if bool(refusal) == (states in allowed) or (refusal and words not in refusal):
            wrong.append((path, value, refusal))
    assert wrong == []


def test_who_changes_the_status_as_well_may_not_change_more(api: Api, demo_job: dict[str, Any]) -> None:
    """The rules let pass what changes the status: such a request changes nothing else."""
    api.apply(changed(demo_job, "metadata.name", "both-at-once"))
    begun = status(TRAINING) | {"metadata": {}}
    begun["status"] |= {"observedGeneration": 1, "ledger": {"totalMicroUsd": 5}}
    api.set_status("llmjob", "both-at-once", begun)
    stored = api.get("llmjob", "both-at-once")
    both = changed(copy.deepcopy(stored), "spec.seed", 99)
    both["status"] |= {"observedGeneration": 2, "ledger": stored["status"]["ledger"] | {"totalMicroUsd": 6}}
    refused = api.run("replace", "-f", "-", body=both)
    assert "`seed` may not change once the job has started" in refused.stderr
    done = api.run("replace", "--subresource=status", "-f", "-", body=both)
    assert done.returncode == 0, done.stderr
    after = api.get("llmjob", "both-at-once")
    assert (after["spec"], after["status"]["ledger"]["totalMicroUsd"]) == (stored["spec"], 6)
