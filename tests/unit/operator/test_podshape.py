"""The quick check of a pod says yes to exactly what the models say yes to, whatever stands where."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from llmtrain_operator.podshape import IS_SOUND, PodShape, shaped
from pydantic import ValidationError

from tests.unit.operator.fake_cluster import clone

TIME = "2026-03-01T12:00:00Z"
RUN = {"startedAt": TIME, "finishedAt": TIME, "exitCode": 0, "reason": "Completed", "message": "x"}
POD: dict[str, Any] = {
    "metadata": {
        "name": "gpt-trn-1-head", "uid": "u", "namespace": "team-a", "labels": {"a": "b"}, "annotations": {"c": "d"},
        "finalizers": ["llmtrain.dev/settle"], "ownerReferences": [{"uid": "j", "kind": "LLMTrainingJob", "name": "gpt", "controller": True}],
        "managedFields": [{"subresource": "status", "time": TIME, "manager": "kubelet"}], "creationTimestamp": TIME,
        "deletionTimestamp": TIME, "deletionGracePeriodSeconds": 30, "resourceVersion": "7",
    },
    "spec": {
        "nodeName": "n", "terminationGracePeriodSeconds": 30, "schedulingGates": [{"name": "g"}],
        "containers": [{"name": "stage", "image": "i", "resources": {"requests": {"cpu": "1"}, "limits": {"memory": 4}}}],
    },
    "status": {
        "phase": "Running", "podIP": "10.0.0.1", "startTime": TIME,
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": TIME}],
        "containerStatuses": [{"name": "stage", "ready": True, "state": {"terminated": RUN}, "lastState": {"running": {"startedAt": TIME}}}],
    },
}  # fmt: skip
OTHERS: list[Any] = [None, True, 0, -1, 2**31, 2**63, 1.5, float("nan"), float("inf"), "", "x", "5", "x" * 400, TIME, "2300-01-01T00:00:00Z", [], {}, [None],
          {"name": 1}, ["x"], {"x": "y"}, {"x": None}, [{"name": "x"}], [[]]]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in steps:
        yield from places(inner, (*path, key))


def put(path: tuple[Any, ...], value: Any, pod: Any) -> None:
    for step in path[:-1]:
        pod = pod[step]
    pod[path[-1]] = value


def fits(pod: Any) -> bool:
    try:
        PodShape.model_validate(pod)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("path", list(places(POD)), ids=lambda path: ".".join(map(str, path)))
def test_one_part_replaced_by_anything(path: tuple[Any, ...]) -> None:
    for other in OTHERS:
        pod = clone(POD)
        put(path, other, pod)
        assert IS_SOUND.isinstance_python(pod) is fits(pod), other


def test_a_part_that_is_missing_and_parts_that_nobody_knows() -> None:
    chance = random.Random(3)
    for path in list(places(POD)):
        pod = clone(POD)
        inner: Any = pod
        for step in path[:-1]:
            inner = inner[step]
        del inner[path[-1]]
        pod["metadata" if "metadata" in pod else "spec"]["unknown"] = chance.choice(OTHERS)
        assert IS_SOUND.isinstance_python(pod) is fits(pod), path


@pytest.mark.parametrize(
    "raw", [{}, {"metadata": {}}, {"metadata": None, "spec": {}}, {"metadata": {"name": "x", "uid": "u"}}]
)
def test_what_is_no_pod_is_none(raw: dict[str, Any]) -> None:
    pod, flaws = shaped(raw)
    assert pod is None
    assert flaws
