"""A small pod beside a job's storage that reads what the report needs, for whoever cannot reach the storage otherwise.

It runs with the rights of the user of kubectl, reads only, is gone afterwards, and is not on the job's bill.
"""

import json
import time
from collections.abc import Mapping
from typing import Any

from llmtrain.api import restricted
from llmtrain.api.injection import OFF_ANNOTATIONS, OFF_LABELS
from llmtrain.api.job import Storage
from llmtrain.api.mounts import authority_mounts, authority_volumes
from llmtrain.api.stageconfig import CREDENTIALS_DIR, STORAGE_MOUNT
from llmtrain.api.status import JobStatus
from llmtrain.cli.kubectl import KubectlError, kubectl, kubectl_json
from llmtrain.report.artifacts import Artifacts, from_json, keys_of

Object = dict[str, Any]
DEADLINE_SECONDS = 300
LOOK_SECONDS = 1.0
CONTAINER = "report"
"""What a webhook puts beside it may run on for ever."""
RESOURCES = {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}}


def read_inside(job: Mapping[str, Any], image: str) -> Artifacts:
    """What the pod read. KubectlError says why it could not."""
    status = JobStatus.model_validate(job.get("status") or {})
    image = image or next((stage.image for stage in reversed(status.stages) if stage.image), "")
    if not image:
        raise KubectlError("the job does not say which image its pods had; give one with --image")
    body = pod(job, status, image)
    space = ["-n", job["metadata"]["namespace"]]
    made = json.loads(kubectl("create", "-f", "-", "-o", "json", *space, text=json.dumps(body)))
    name = made["metadata"]["name"]
    try:
        _until_done(name, space)
        # What waits for the storage says so in the log; the answer is the last line.
        return from_json(kubectl("logs", name, "-c", CONTAINER, *space).strip().rpartition("\n")[2])
    except (ValueError, RecursionError) as error:
        raise KubectlError(f"pod {name} ({image}) did not print what was asked of it: {error}") from error
    finally:
        kubectl("delete", "pod", name, *space, "--wait=false", "--ignore-not-found")


def _until_done(name: str, space: list[str]) -> None:
    """Until the pod's own container has ended well; KubectlError with its words, or with why it does not start."""
    end = time.monotonic() + DEADLINE_SECONDS
    said = ""
    while time.monotonic() < end:
        status = kubectl_json("get", "pod", name, *space)["status"]
        code = exit_code(status)
        if code == 0:
            return
        if code is not None or status.get("phase") == "Failed":
            words = kubectl("logs", name, "-c", CONTAINER, *space).strip()[-500:] if code is not None else ""
            raise KubectlError(f"pod {name} failed: {words or status}")
        said = why_not(status)
        time.sleep(LOOK_SECONDS)
    raise KubectlError(f"pod {name} did not end within {DEADLINE_SECONDS} s: {said or 'it ran all the time'}")


def exit_code(status: Mapping[str, Any]) -> int | None:
    """Of the pod's own container, once it has ended."""
    own: Mapping[str, Any] = next(
        (one for one in status.get("containerStatuses", []) if one.get("name") == CONTAINER), {}
    )
    code = own.get("state", {}).get("terminated", {}).get("exitCode")
    return None if code is None else int(code)


def why_not(status: Mapping[str, Any]) -> str:
    """What a pod waits for, in Kubernetes' words."""
    told = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    waiting = [one["state"]["waiting"] for one in told if "waiting" in one.get("state", {})]
    conditions = [c for c in status.get("conditions", []) if c["status"] == "False" and c.get("message")]
    return "; ".join(f"{each.get('reason', '')}: {each.get('message', '')}" for each in [*waiting, *conditions])


def pod(job: Mapping[str, Any], status: JobStatus, image: str) -> Object:
    """The pod: storage read-only, no rights, restricted."""
    keys = {stage.value: key for stage, key in keys_of(status).items()}
    asked = json.dumps({"storage": job["spec"]["storage"], "artifacts": keys})
    volumes, mounts = _volumes(Storage.model_validate(job["spec"]["storage"]))
    container = {
        "name": CONTAINER,
        "image": image,
        "command": ["python", "-m", "llmtrain.report.inside", asked],
        "resources": RESOURCES,
        "securityContext": restricted.CONTAINER,
        "volumeMounts": mounts,
    }
    body = {
        "restartPolicy": "Never",
        **restricted.IDENTITY,
        "activeDeadlineSeconds": DEADLINE_SECONDS,
        "terminationGracePeriodSeconds": 1,
        "imagePullSecrets": (job["spec"].get("pod") or {}).get("imagePullSecrets", []),
        "securityContext": restricted.POD,
        "containers": [container],
        "volumes": volumes,
    }
    labels = {"app.kubernetes.io/name": "llmtrain-report", "app.kubernetes.io/managed-by": "llmtrain", **OFF_LABELS}
    name = f"{job['metadata']['name']}-report-"
    metadata = {"generateName": name, "labels": labels, "annotations": dict(OFF_ANNOTATIONS)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body}


def _volumes(storage: Storage) -> tuple[list[Object], list[Object]]:
    volumes: list[Object] = [{"name": "scratch", "emptyDir": {}}]
    mounts: list[Object] = [{"name": "scratch", "mountPath": "/tmp"}]
    if storage.persistent_volume_claim:
        claim = storage.persistent_volume_claim
        volumes.append({"name": "storage", "persistentVolumeClaim": {"claimName": claim.claim_name, "readOnly": True}})
        mount = {"name": "storage", "mountPath": STORAGE_MOUNT, "readOnly": True}
        mounts.append(mount | ({"subPath": claim.sub_path} if claim.sub_path else {}))
    if storage.s3 and storage.s3.credentials_secret_ref:
        secret = {"secretName": storage.s3.credentials_secret_ref.name, "defaultMode": 0o440}
        volumes.append({"name": "credentials", "secret": secret})
        mounts.append({"name": "credentials", "mountPath": CREDENTIALS_DIR, "readOnly": True})
    return volumes + authority_volumes(storage), mounts + authority_mounts(storage)
