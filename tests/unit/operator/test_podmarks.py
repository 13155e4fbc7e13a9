"""Marks by which sidecar injectors and autoscalers leave the pods alone."""

from typing import Any

import pytest
from llmtrain_operator.recent import PLANS

from tests.unit.operator.scenario import CPU_PLAN, Scenario

EVICT, DISRUPT = "cluster-autoscaler.kubernetes.io/safe-to-evict", "karpenter.sh/do-not-disrupt"
ISTIO = "sidecar.istio.io/inject"


async def head(pod: dict[str, Any], **placement: Any) -> dict[str, Any]:
    """The head pod of a job with these additions, on a plan with this placement."""
    run = Scenario(pod=pod)
    run.cluster.objects[PLANS, "", "cpu"]["spec"] = CPU_PLAN | {"placement": placement}
    await run.turn(3)
    return run.cluster.pod("gpt-pre-1-head")


async def test_no_sidecar_is_injected_and_no_autoscaler_moves_a_pod() -> None:
    metadata = (await head({}))["metadata"]
    assert metadata["labels"][ISTIO] == "false"
    assert metadata["annotations"][ISTIO] == "false"
    assert metadata["annotations"]["linkerd.io/inject"] == "disabled"
    assert metadata["annotations"][EVICT] == "false"
    assert metadata["annotations"][DISRUPT] == "true"


async def test_a_plan_may_let_autoscalers_move_its_pods() -> None:
    annotations = (await head({}, disruption="Allow"))["metadata"]["annotations"]
    assert EVICT not in annotations
    assert DISRUPT not in annotations
    assert annotations[ISTIO] == "false"


@pytest.mark.parametrize("where", ["labels", "annotations"])
async def test_a_key_that_the_user_sets_in_either_map_stands_alone(where: str) -> None:
    metadata = (await head({where: {ISTIO: "true"}}))["metadata"]
    other = "annotations" if where == "labels" else "labels"
    assert metadata[where][ISTIO] == "true"
    assert ISTIO not in metadata[other]


async def test_the_users_annotation_stands_above_the_plans_word() -> None:
    annotations = (await head({"annotations": {EVICT: "true"}}))["metadata"]["annotations"]
    assert (annotations[EVICT], annotations[DISRUPT]) == ("true", "true")
    annotations = (await head({"annotations": {DISRUPT: "true"}}, disruption="Allow"))["metadata"]["annotations"]
    assert annotations[DISRUPT] == "true"
    assert EVICT not in annotations


async def test_recommended_labels_may_be_set_but_who_manages_the_pod_is_said_by_us() -> None:
    theirs = {"app.kubernetes.io/name": "gpt", "app.kubernetes.io/managed-by": "me"}
    labels = (await head({"labels": theirs}))["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == "gpt"
    assert labels["app.kubernetes.io/managed-by"] == "llmtrain-operator"


async def test_a_volume_is_walked_only_where_its_root_has_another_group() -> None:
    context = (await head({}))["spec"]["securityContext"]
    assert (context["fsGroup"], context["fsGroupChangePolicy"]) == (1000, "OnRootMismatch")
