"""What the same seconds would have cost on the plans' machines."""

from collections.abc import Mapping

from llmtrain.api.job import JobSpec
from llmtrain.api.status import Stage
from llmtrain.cost.plans import Plan, bill_usd
from llmtrain.local.stages import Done
from llmtrain.pricing.job import run_of


def bill(name: str, spec: JobSpec, plans: Mapping[str, Plan], done: Done) -> float:
    """US dollars for all pods of the stage over its seconds; nothing for what was reused."""
    if done.reused:
        return 0.0
    cluster = next(stage.cluster for stage in run_of(name, spec, plans).stages if stage.name == done.stage.value)
    return bill_usd(cluster.plan, cluster.pods, done.seconds / 3600)


def stage_plan(name: str, spec: JobSpec, plans: Mapping[str, Plan], stage: Stage) -> str:
    """The plan that prices a stage."""
    return next(each.cluster.plan.name for each in run_of(name, spec, plans).stages if each.name == stage.value)
