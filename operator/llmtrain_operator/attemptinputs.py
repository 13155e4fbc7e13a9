"""What an attempt takes from the manifest and its plans when it begins, as a short digest a part.

The parts tell what has changed since, by name and without the manifest of then. Not among them is what holds for a running
attempt at once: suspension, budgets, deadlines, retries, and the size of an elastic group. Nor is the operator's default image: a newer
operator would have a change to tell of each running job.
"""

from collections.abc import Mapping
from typing import Any

from llmtrain.api.job import JobSpec
from llmtrain.api.status import Stage
from llmtrain_operator.blueprints import cluster_of, evaluator_plan_name, evaluators_of, is_elastic, plan_name
from llmtrain_operator.digest import digest_of
from llmtrain_operator.pricing import Plan

DIGITS = 8
LIVE_OF_CLUSTERS = {"run_deadline_seconds"}
LIVE_OF_ELASTIC_WORKERS = {"replicas"}


def inputs_of(plans: Mapping[str, Plan], spec: JobSpec, stage: Stage) -> dict[str, str]:
    """Digests by part, of an attempt of the stage that begins now."""
    return inputs_beside(plans, spec, stage) | inputs_of_spec(spec, stage)


def inputs_of_spec(spec: JobSpec, stage: Stage) -> dict[str, str]:
    """Those of the manifest itself: they are what they were while its generation is."""
    parts = {
        "image": spec.image,
        "pod": _json(spec.pod),
        "storage": _json(spec.storage),
        "cluster": _cluster(spec, stage),
        "work": _work(spec, stage),
        "evaluators": _evaluators(spec, stage),
    }
    return {name: digest_of(part, DIGITS) for name, part in parts.items()}


def inputs_beside(plans: Mapping[str, Plan], spec: JobSpec, stage: Stage) -> dict[str, str]:
    """Those of the plans that it names. Their prices are none of this: the attempt has its own."""
    named = {"plan": plan_name(spec, stage), "evaluatorPlan": evaluator_plan_name(spec, stage)}
    return {name: plans[plan].placed if plan in plans else "" for name, plan in named.items()}


def changed_parts(before: Mapping[str, str], now: Mapping[str, str], spec: JobSpec, stage: Stage) -> list[str]:
    """Names, for people, of the parts that differ."""
    evaluators = evaluator_plan_name(spec, stage)
    names = {
        "cluster": f"`{stage.value.lower()}.cluster`",
        "plan": f"ComputePlan `{plan_name(spec, stage)}`",
        "work": "`model` or `training`" if stage is Stage.TRAINING else f"`{stage.value.lower()}`",
        "evaluators": "`evaluation`",
        "evaluatorPlan": f"ComputePlan `{evaluators}`",
    }
    return [names.get(name, f"`{name}`") for name in before if before[name] != now.get(name, before[name])]


def _json(model: Any, left_out: set[str] | None = None) -> Any:
    """Without what is at its default: a field that a later version adds is no change."""
    return model.model_dump(mode="json", exclude=left_out, exclude_defaults=True)


def _cluster(spec: JobSpec, stage: Stage) -> Any:
    cluster = _json(cluster_of(spec, stage), LIVE_OF_CLUSTERS)
    live = LIVE_OF_ELASTIC_WORKERS if is_elastic(spec, stage) else set()
    return cluster | {"workers": {key: value for key, value in cluster.get("workers", {}).items() if key not in live}}


def _work(spec: JobSpec, stage: Stage) -> Any:
    """What the stage does. Preflight looks at everything and makes nothing."""
    if stage is Stage.CURATION:
        return _json(spec.curation, {"cluster"})
    if stage is Stage.TRAINING:
        return [_json(spec.training, {"cluster"}), _json(spec.model)]
    return (
        _json(spec.evaluation, {"cluster", "during_training"})
        if stage is Stage.EVALUATION and spec.evaluation
        else None
    )


def _evaluators(spec: JobSpec, stage: Stage) -> Any:
    during = evaluators_of(spec, stage) is not None
    return [_json(spec.evaluation, {"cluster"}), evaluator_plan_name(spec, stage)] if during else None
