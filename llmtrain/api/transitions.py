"""What may change in a job that exists, as CEL rules of the whole object: they look at the status as well.

What a result depends on is fixed once somebody may have paid for it; where pods run and how large they are may change
while there are none; limits, deadlines and suspension may change at any time.
"""

from typing import Any

from pydantic import BaseModel

from llmtrain.api.base import Rule
from llmtrain.api.cluster import Cluster, ElasticWorkers
from llmtrain.api.curation import Curation
from llmtrain.api.evaluation import Evaluation
from llmtrain.api.job import JobSpec
from llmtrain.api.sameness import unchanged
from llmtrain.api.training import Training

FROZEN_WHEN_STARTED = ("seed", "storage", "model")
ALWAYS_MUTABLE = {"run_deadline_seconds"}
ELASTIC = {"replicas", "elastic_wait_seconds"}
"""What may change of an elastic worker group while it runs. Its head keeps the least number that it began with."""
STAGES = {"curation": "Curation", "training": "Training", "evaluation": "Evaluation"}
OWN_RULES = {
    "curation": {"cluster", "require"},
    "training": {"cluster", "checkpoint", "tokens"},
    "evaluation": {"cluster"},
}
WRITES_STATUS = " || ".join(
    f"self.?status.{number} != oldSelf.?status.{number}" for number in ("?ledger.?totalMicroUsd", "?observedGeneration")
)
"""A request that changes the status cannot change the spec: the apiserver keeps them apart. These are most requests, and all other
comparisons take it five milliseconds for each of them."""


def transition_rules() -> list[dict[str, Any]]:
    """Entries of `x-kubernetes-validations` at the root of LLMTrainingJob."""
    rules = [_once_started(f"spec.{field}", unchanged(JobSpec, field, "spec")) for field in FROZEN_WHEN_STARTED]
    rules += [_frozen(Curation, "curation", None), _frozen(Training, "training", "Training")]
    rules += [_frozen(Evaluation, "evaluation", "Evaluation"), *map(_cluster, STAGES), *_between_attempts(), _tokens()]
    return [rule.model_copy(update={"rule": f"{WRITES_STATUS} || ({rule.rule})"}).to_dict() for rule in rules]


def _stages(condition: str) -> str:
    """A status is written part by part: what a rule does not find would refuse every change, suspension too."""
    return f"has(oldSelf.status) && has(oldSelf.status.stages) && oldSelf.status.stages.exists(s, {condition})"


def _started(stage: str | None) -> str:
    own = f"s.name == '{stage}' && " if stage else ""
    return _stages(f"{own}has(s.attempt) && s.attempt > 0")


def _busy(stage: str) -> str:
    return _stages(f"s.name == '{stage}' && has(s.state) && s.state in ['Running', 'Stopping']")


def _all_same(model: type[BaseModel], where: str, left_out: set[str]) -> str:
    parts = [unchanged(model, field, where) for field in model.model_fields if field not in left_out]
    same = " && ".join(f"({part})" for part in parts)
    if where != "spec.evaluation":
        return same
    return f"has(self.{where}) == has(oldSelf.{where}) && (!has(self.{where}) || ({same}))"


def _once_started(path: str, same: str, stage: str | None = None, left_out: str = "") -> Rule:
    name = path.removeprefix("spec.")
    when = f"once {stage} has started" if stage else "once the job has started"
    return Rule(
        rule=f"!({_started(stage)}) || ({same})",
        message=f"`{name}`{left_out} may not change {when}; create another job, finished artifacts are reused",
        field_path=f".{path}",
    )


def _frozen(model: type[BaseModel], part: str, stage: str | None) -> Rule:
    own = OWN_RULES[part]
    left_out = f" other than {', '.join(f'`{name}`' for name in sorted(own))}"
    return _once_started(f"spec.{part}", _all_same(model, f"spec.{part}", own), stage, left_out)


def _cluster(part: str) -> Rule:
    where = f"spec.{part}.cluster"
    same = _all_same(Cluster, where, ALWAYS_MUTABLE)
    if part == "training":
        return _training_cluster(where)
    if part == "evaluation":
        same = f"!has(self.spec.{part}) || !has(oldSelf.spec.{part}) || ({same})"
    return _while_idle(part, where, same)


def _training_cluster(where: str) -> Rule:
    """An elastic group changes its size as it runs, not below the least number that its attempt began with."""
    rest = _all_same(Cluster, where, {*ALWAYS_MUTABLE, "workers"})
    workers, sizes = unchanged(Cluster, "workers", where), _all_same(ElasticWorkers, f"{where}.workers", ELASTIC)
    elastic = f"self.{where}.workers.minReplicas > 0"
    rule = _while_idle("training", where, f"{rest} && ({workers} || ({elastic} && {sizes}))")
    also = "; `replicas` of an elastic group (`minReplicas` above 0) at any time"
    return rule.model_copy(update={"message": rule.message + also})


def _while_idle(part: str, where: str, same: str) -> Rule:
    return Rule(
        rule=f"!({_busy(STAGES[part])}) || ({same})",
        message=f"`{where.removeprefix('spec.')}` may only change while the stage has no pods; set `suspend: true` first",
        field_path=f".{where}",
    )


def _between_attempts() -> list[Rule]:
    return [
        _while_idle("curation", "spec.curation.require", unchanged(Curation, "require", "spec.curation")),
        _while_idle("training", "spec.training.checkpoint", unchanged(Training, "checkpoint", "spec.training")),
    ]


def _tokens() -> Rule:
    """Checkpoints are kept under a key of the whole schedule, which runs to `tokens`: more of them start anew."""
    path = "spec.training.tokens"
    return Rule(
        rule=f"self.{path} >= oldSelf.{path} && (self.{path} == oldSelf.{path} || !({_started('Training')}))",
        message="`training.tokens` may only be raised, and only before training has started; "
        "to train on, create a job with `continueFrom`",
        field_path=f".{path}",
    )
