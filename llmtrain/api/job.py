"""`LLMTrainingJob`: the spec."""

import re
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field

from llmtrain.api.base import DecimalString, Model, ObjectName, Rule, Text, Wire, cel, exactly_one, one_line
from llmtrain.api.cluster import Cluster, NamedRef
from llmtrain.api.curation import Curation
from llmtrain.api.evaluation import Evaluation
from llmtrain.api.model import ModelSpec
from llmtrain.api.pod import PodFields
from llmtrain.api.preflight import Preflight
from llmtrain.api.retry import Retry
from llmtrain.api.training import Training
from llmtrain.api.urls import SHAPE, URL, http_rule


class KeyRef(NamedRef):
    """A key of an object in the job's namespace."""

    key: Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)] = Field(
        "ca.crt", description="Key that holds the PEM file."
    )


class CaBundle(Model):
    """Certificates of authorities, PEM."""

    config_map_key_ref: KeyRef | None = Field(None, description="A ConfigMap's key.")
    secret_key_ref: KeyRef | None = Field(None, description="A Secret's key.")

    model_config = Model.model_config | {"json_schema_extra": cel(exactly_one("configMapKeyRef", "secretKeyRef"))}


class S3Storage(Model):
    """An S3-compatible bucket."""

    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", max_length=63)] = Field(
        description="Bucket."
    )
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_./-]*$", max_length=512)] = Field("", description="Key prefix.")
    endpoint_url: Annotated[str, Field(pattern=r"^(https?://[^ ]+)?$", max_length=512), URL] = Field(
        "", description="Endpoint of an S3-compatible server, with the path that it may have; empty: AWS."
    )
    region: Annotated[str, Field(max_length=64)] = Field("us-east-1", description="Region.")
    credentials_secret_ref: NamedRef | None = Field(
        None, description="Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, in the job's namespace."
    )
    ca_bundle: CaBundle | None = Field(
        None,
        description="Authorities that sign the endpoint's certificate. All pods of the job trust them beside those of "
        "their image, also for `evaluation.judge` and `evaluation.reference`.",
    )

    model_config = Model.model_config | {
        "json_schema_extra": cel(
            Rule(
                rule=http_rule("endpointUrl"),
                message=f"`endpointUrl` must be {SHAPE}, or empty for AWS",
                field_path=".endpointUrl",
            )
        )
    }


class VolumeStorage(Model):
    """A shared volume."""

    claim_name: ObjectName = Field(description="PersistentVolumeClaim, mountable by all pods at once.")
    sub_path: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_./-]*$|^$", max_length=512)] = Field(
        "", description="Folder within the volume."
    )

    model_config = Model.model_config | {
        "json_schema_extra": cel(
            Rule(
                rule="!self.subPath.split('/').exists(part, part == '..')",
                message="`subPath` must not contain '..'",
                field_path=".subPath",
            )
        )
    }


class Storage(Model):
    """Where artifacts and checkpoints live."""

    s3: S3Storage | None = Field(None, description="An S3-compatible bucket.")
    persistent_volume_claim: VolumeStorage | None = Field(None, description="A shared volume.")

    model_config = Model.model_config | {"json_schema_extra": cel(exactly_one("s3", "persistentVolumeClaim"))}


class OnBreach(StrEnum):
    """What a breached budget does."""

    SUSPEND = "Suspend"
    FAIL = "Fail"
    WARN = "Warn"


class Budget(Model):
    """Upper bound of what the whole job may cost."""

    limit_usd: DecimalString = Field(description="US dollars.")
    warn_at_share: Annotated[list[DecimalString], Field(max_length=8)] = Field(
        [], description="Shares of the limit, 0 to 1, at which an event warns."
    )
    on_breach: OnBreach = Field(OnBreach.SUSPEND, description="What happens when the bill reaches the limit.")


class OnDelete(StrEnum):
    """How a running job is taken down when it is deleted."""

    SAVE_CHECKPOINT = "SaveCheckpoint"
    IMMEDIATELY = "Immediately"


def _spec_rules() -> dict[str, Any]:
    return cel(
        Rule(
            rule="self.training.tokens == oldSelf.training.tokens || has(self.model.sizeFor) || "
            "!has(self.model.preset) || self.model.preset != 'auto'",
            message="with `model.preset: auto` the model's size follows `training.tokens`, which may not change; "
            "set `model.sizeFor` in a new job",
            field_path=".training",
        ),
        Rule(
            rule="self.training.globalBatchTokens % "
            "(self.model.contextLength * self.training.cluster.workers.replicas) == 0",
            message="`training.globalBatchTokens` must be a multiple of `model.contextLength` times "
            "`training.cluster.workers.replicas`",
            field_path=".training.globalBatchTokens",
        ),
    )


class JobSpec(Model):
    """The five steps of one run."""

    suspend: bool = Field(False, description="Save and release everything; false resumes.")
    seed: int = Field(1234, ge=0, le=2**31 - 1, description="Seed of everything random.")
    image: Annotated[str, Field(max_length=512)] = Field(
        "", description="Image of the stage pods; empty: the operator's default."
    )
    pod: PodFields = Field(PodFields(), description="Additions to every pod.")
    storage: Storage = Field(description="Where artifacts and checkpoints live.")
    budget: Budget | None = Field(None, description="Upper bound of the job's cost.")
    compare_plans: Annotated[list[ObjectName], Field(max_length=16)] = Field(
        [], description="ComputePlans that the training cluster is compared with."
    )
    retry: Retry = Field(Retry(), description="How often a stage is tried again.")
    start_deadline_seconds: int = Field(
        1800,
        ge=10,
        le=604800,
        description="Seconds that placed pods may stand idle, as others of their cluster have no node, before they are given "
        "back, which counts as no failure; and that a placed pod may take to start, before the attempt fails. With no pod "
        "placed a job waits without end and without cost.",
    )
    run_deadline_seconds: int = Field(
        0,
        ge=0,
        le=315360000,
        description="Seconds that the job may hold placed pods, all attempts together; suspension, pauses and waiting "
        "for a first node do not count. Then it saves and fails. 0: no deadline.",
    )
    stall_deadline_seconds: int = Field(
        3600,
        ge=0,
        le=604800,
        description="Seconds that a paid cluster may report no progress before it is given up and tried again. "
        "0: no deadline.",
    )
    max_pod_lifetime_seconds: int = Field(
        86400,
        ge=60,
        le=31536000,
        description="activeDeadlineSeconds of every pod, less where a budget pays for less: none bills for ever without "
        "an operator, nor above a limit.",
    )
    ttl_seconds_after_finished: int = Field(
        0, ge=0, le=315360000, description="Seconds after its end that the job is deleted; 0: it is kept."
    )
    on_delete: OnDelete = Field(OnDelete.SAVE_CHECKPOINT, description="How deletion takes a running job down.")
    preflight: Preflight = Field(Preflight(), description="The check before anything is paid for.")
    curation: Curation = Field(description="Step 2: data.")
    model: ModelSpec = Field(description="Step 3: architecture.")
    training: Training = Field(description="Step 4: training.")
    evaluation: Evaluation | None = Field(None, description="Step 5: evaluation.")

    model_config = Model.model_config | {"json_schema_extra": _spec_rules()}


def reason_word(value: Any) -> Any:
    """A word that is allowed as a condition's reason, of whatever a scheduler, a kubelet or a pod gave as one."""
    if not isinstance(value, str) or re.fullmatch(r"[A-Za-z][A-Za-z0-9]{0,127}", value):
        return value
    word = re.sub(r"^[^A-Za-z]+|[^A-Za-z0-9]", "", value)
    return word[:128] or "Unknown"


class Condition(Wire):
    """metav1.Condition."""

    type: Annotated[str, Field(max_length=64)] = Field(description="Name of the condition.")
    status: Annotated[str, Field(pattern="^(True|False|Unknown)$", max_length=8)] = Field(
        description="True, False or Unknown."
    )
    reason: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9]*$", max_length=128), BeforeValidator(reason_word)] = (
        Field(description="Why, in one word.")
    )
    message: Annotated[str, Field(max_length=4096), one_line(4096)] = Field("", description="Why, for people.")
    last_transition_time: Annotated[str, Field(max_length=32)] = Field(description="When `status` last changed.")
    observed_generation: int = Field(0, ge=0, description="Generation that the condition speaks of.")

    model_config = ConfigDict(extra="allow")


__all__ = ["Budget", "Cluster", "Condition", "JobSpec", "OnBreach", "OnDelete", "Retry", "Storage", "Text"]
