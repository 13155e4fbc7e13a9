"""What passes between the operator and the stage pods: the config file, the result, the progress.

The operator writes `StageConfig` as one JSON file into a ConfigMap that every pod of the attempt mounts; the head's
entrypoint answers with `Result` as its termination message (at most 4 KiB) and serves `Progress` while it runs.
"""

from pydantic import Field

from llmtrain.api.base import Model
from llmtrain.api.failure import EXIT_CODES, ExitCode, FailureClass
from llmtrain.api.job import JobSpec
from llmtrain.api.status import Stage

CONFIG_PATH = "/etc/llmtrain/config.json"
TOKEN_PATH = "/etc/llmtrain-token/token"  # a file's path, not a secret
CREDENTIALS_DIR = "/etc/llmtrain-credentials"
CA_FILE = "/etc/llmtrain-ca/ca.crt"
ENDPOINT_KEYS_DIR = "/etc/llmtrain-endpoint-keys"
STORAGE_MOUNT = "/mnt/storage"
SCRATCH = "/tmp"  # an emptyDir of the pod
HTTP_PORT = 8090
RAY_PORT = 6379
STAGE_CONTAINER = "stage"
"""The container that is the stage; whatever else runs in its pod, somebody put there."""


WORKERS_MISSING = "WorkersMissing"
"""Reason of a head that has waited for its workers in vain."""


class StageConfig(Model):
    """Everything a pod of one attempt needs to know."""

    job: str
    namespace: str
    job_uid: str
    stage: Stage
    attempt: int
    workers: int = Field(description="Worker pods that the head waits for.")
    head_address: str = Field(description="DNS name of the head, resolvable before the pod is ready.")
    spec: JobSpec
    artifacts: dict[Stage, str] = Field({}, description="Keys of the artifacts that earlier stages made or found.")
    peak_tflops: str | None = Field(None, description="Peak of one accelerator of the plan, for the MFU.")
    training_accelerator: str | None = Field(None, description="Product that training's plan is for, for preflight.")
    wait_for_workers_seconds: int = Field(
        600,
        description="How long pods wait for each other. Longer than the operator does: it gives them back, uncounted.",
    )
    spent_usd: str = Field("", description="What the job had cost when this attempt began, US dollars.")
    micro_usd_per_hour: int = Field(0, description="Price of all pods of this attempt, microdollars per hour.")
    evaluator_micro_usd_per_hour: int = Field(0, description="Of one evaluator pod.")


class Result(Model):
    """Termination message of the head."""

    outcome: str = Field(description="Succeeded or Failed.")
    failure_class: FailureClass | None = None
    reason: str = ""
    message: str = Field("", max_length=1024)
    artifact: str = Field("", description="Key of the artifact that this stage completed.")
    existing: dict[Stage, str] = Field({}, description="Preflight: keys of complete artifacts by stage.")
    checkpoint: str = Field("", description="Training: newest complete checkpoint.")
    scores: dict[str, str] = Field({}, description="Numbers for people: kept tokens, bits per byte, accuracy.")
    working_seconds: float = Field(0.0, description="Seconds that moved the stage forward.")
    redone_seconds: float = Field(0.0, description="Training: seconds of steps that an earlier try had done already.")
    checkpoint_seconds: float = Field(0.0, description="Training: seconds that the steps stood still for checkpoints.")


__all__ = ["EXIT_CODES", "ExitCode", "FailureClass", "Result", "StageConfig"]
