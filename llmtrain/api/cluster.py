"""The Ray cluster of one stage: which plan pays for it, how large its pods are."""

from typing import Annotated

from pydantic import Field

from llmtrain.api.base import SUBDOMAIN_PATTERN, Model, Name, Quantity, Rule, cel

OBJECT_NAME = Rule(
    rule=f"self.matches('{SUBDOMAIN_PATTERN}')",
    message="must be the name of an object, a DNS-1123 subdomain: lower-case letters, digits, '-' and '.'; "
    "each part between dots begins and ends with a letter or digit",
)
"""Of references that were read by a looser pattern: objects that are stored keep theirs."""


class NamedRef(Model):
    """Reference to an object by name, in the job's own namespace or cluster-scoped."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)] = Field(
        description="Name of the object.", json_schema_extra=cel(OBJECT_NAME)
    )


class PodResources(Model):
    """What the head pod requests; requests equal limits for memory, so that nobody else's work evicts it."""

    cpu: Quantity = Field("1", description="CPU cores that the pod requests.")
    memory: Quantity = Field("2Gi", description="Memory that the pod requests and may not exceed.")


class Workers(PodResources):
    """The worker group."""

    replicas: int = Field(1, ge=1, le=4096, description="Number of worker pods.")
    accelerators_per_worker: int = Field(0, ge=0, le=64, description="Accelerators that each worker requests.")


class ElasticWorkers(Workers):
    """Training's worker group: it may go on with fewer workers than are wanted."""

    min_replicas: int = Field(
        0,
        ge=0,
        le=4096,
        description="Elastic: workers that training goes on with at the least, whole replicas of the model. It uses as many "
        "as there are, up to `replicas`, and grows again when more come. 0: all of `replicas`, always.",
    )
    elastic_wait_seconds: int = Field(
        60,
        ge=0,
        le=3600,
        description="Elastic: seconds that enough workers wait for others that are missing, at the start and after one was "
        "lost without notice, before they go on without them.",
    )

    @property
    def least(self) -> int:
        """Workers without which training does not run."""
        return self.min_replicas or self.replicas

    model_config = Model.model_config | {
        "json_schema_extra": cel(
            Rule(
                rule="self.minReplicas <= self.replicas",
                message="`minReplicas` must be from 1 to `replicas`, or 0: not elastic",
                field_path=".minReplicas",
            )
        )
    }


class Cluster(Model):
    """A stage's cluster: a head that coordinates and workers that work."""

    plan_ref: NamedRef = Field(description="ComputePlan that prices this cluster's pods and says where they run.")
    head: PodResources = Field(PodResources(), description="The head pod; it never requests accelerators.")
    workers: Workers = Field(Workers(), description="The worker pods.")
    run_deadline_seconds: int = Field(
        0,
        ge=0,
        le=315360000,
        description="Seconds that the stage may hold clusters, all attempts together; then it saves and fails. "
        "0: no deadline.",
    )


class TrainingCluster(Cluster):
    """Training's cluster, whose worker group may be elastic."""

    workers: ElasticWorkers = Field(ElasticWorkers(), description="The worker pods.")


class PreflightCluster(Model):
    """The one pod of preflight: a head without workers."""

    plan_ref: NamedRef | None = Field(None, description="ComputePlan of the pod. Default: curation's, else training's.")
    head: PodResources = Field(PodResources(cpu="250m", memory="512Mi"), description="The pod's size.")


__all__ = [
    "Cluster",
    "ElasticWorkers",
    "Name",
    "NamedRef",
    "PodResources",
    "PreflightCluster",
    "TrainingCluster",
    "Workers",
]
