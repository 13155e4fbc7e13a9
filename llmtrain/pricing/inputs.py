"""Jobs and plans that a person hands in, with messages that name the field."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

from llmtrain.api.admission import OURS, admitted
from llmtrain.api.job import JobSpec
from llmtrain.api.plan import PlanSpec
from llmtrain.pricing.parsed import objects, validated, yaml_documents

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Manifests:
    """Jobs and plans by name, as they were read."""

    jobs: Mapping[str, JobSpec]
    plans: Mapping[str, PlanSpec]


def read_manifests(text: str) -> Manifests:
    """All LLMTrainingJobs and ComputePlans of a YAML or JSON text; other kinds are passed over.

    ManifestError where the apiserver would refuse one of ours, InputError where kubectl could not read the text.
    """
    found = [doc for document in yaml_documents(text) for doc in objects(document)]
    return read_stored([admitted(body) for body in found if str(body.get("kind")) in OURS])


def read_stored(bodies: Sequence[Mapping[str, Any]]) -> Manifests:
    """Objects of ours as a cluster has them: what it has let in is read, whichever rules have come since."""
    return Manifests(_of_kind(bodies, "LLMTrainingJob", JobSpec), _of_kind(bodies, "ComputePlan", PlanSpec))


def _of_kind(bodies: Sequence[Mapping[str, Any]], kind: str, model: type[M]) -> dict[str, M]:
    found: dict[str, M] = {}
    for body in bodies:
        if body.get("kind") == kind:
            name = body["metadata"].get("name") or body["metadata"].get("generateName", "")
            found[name] = validated(model, body.get("spec"), f"{kind} `{name}`, spec")
    return found
