"""Pure builders of the objects of one attempt."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from llmtrain.api import API_VERSION, restricted
from llmtrain.api.cluster import Cluster, PodResources
from llmtrain.api.duringtraining import Evaluators
from llmtrain.api.job import JobSpec, Storage
from llmtrain.api.mounts import authority_mounts, authority_volumes
from llmtrain.api.plan import Placement
from llmtrain.api.pod import PodFields
from llmtrain.api.stageconfig import (
    CONFIG_PATH,
    CREDENTIALS_DIR,
    HTTP_PORT,
    RAY_PORT,
    STAGE_CONTAINER,
    STORAGE_MOUNT,
    TOKEN_PATH,
    StageConfig,
)
from llmtrain.api.status import RolePrice
from llmtrain_operator.endpointkeys import key_mounts, key_volumes
from llmtrain_operator.names import (
    EVALUATOR,
    FINALIZER_POD,
    HEAD,
    POWER_ANNOTATION,
    PRICE_ANNOTATION,
    WORKER,
    Attempt,
)
from llmtrain_operator.network import NO_POLICY, NetworkSettings, policy_spec
from llmtrain_operator.podmarks import default_annotations, default_labels
from llmtrain_operator.podtemplate import INDEX_VARIABLE, Templates, to_data, user_variables
from llmtrain_operator.pricing import Plan, Price, pod_price
from llmtrain_operator.roleprices import power_of, price_of, role_price

Object = dict[str, Any]
GRACE_SECONDS = 60
SHARED_MEMORY = "512Mi"


@dataclass(frozen=True)
class EvaluatorGroup:
    """Evaluators beside a training: how large each is, and what it is paid by."""

    size: Evaluators
    plan: Plan

    @property
    def price(self) -> Price:
        """Of one of them."""
        return pod_price(self.plan, self.size.cpu, self.size.memory, self.size.accelerators_per_worker)


@dataclass(frozen=True)
class Blueprint:
    """Everything that the objects of one attempt are built from."""

    attempt: Attempt
    spec: JobSpec
    cluster: Cluster
    plan: Plan
    image: str
    config: StageConfig
    network: NetworkSettings = NO_POLICY
    evaluators: EvaluatorGroup | None = None
    prices: Mapping[str, RolePrice] = field(default_factory=dict)
    """What the attempt fixed, by role; a role that it says nothing of costs what the plan says now."""

    @cached_property
    def templates(self) -> Templates:
        """Of the attempt's pods."""
        return build_templates(self)


def build_token(blueprint: Blueprint) -> Object:
    """The Secret with Ray's token; it is never read back."""
    return _object(blueprint, "Secret", blueprint.attempt.token) | {
        "type": "Opaque",
        "immutable": True,
        "stringData": {"token": secrets.token_hex(32)},
    }


def build_config(blueprint: Blueprint) -> Object:
    """The ConfigMap with the stage's config, and the templates of its pods."""
    text = json.dumps(blueprint.config.to_dict(), sort_keys=True)
    return _object(blueprint, "ConfigMap", blueprint.attempt.config) | {
        "immutable": True,
        "data": to_data(blueprint.templates, text),
    }


def build_service(blueprint: Blueprint) -> Object:
    """The headless Service by which workers find the head, also before it is ready."""
    ports = [{"name": "gcs", "port": RAY_PORT}, {"name": "metrics", "port": HTTP_PORT}]
    return _object(blueprint, "Service", blueprint.attempt.head) | {
        "spec": {
            "clusterIP": "None",
            # Where the Services' first family is not the pods', the head would have no address under its name.
            "ipFamilyPolicy": "PreferDualStack",
            "publishNotReadyAddresses": True,
            "selector": blueprint.attempt.labels(HEAD),
            "ports": ports,
        }
    }


def build_network_policy(blueprint: Blueprint) -> Object:
    """Only the attempt's own pods reach its Ray."""
    spec = policy_spec(blueprint.attempt.labels(), blueprint.spec, blueprint.network)
    return _object(blueprint, "NetworkPolicy", blueprint.attempt.policy, "networking.k8s.io/v1") | {"spec": spec}


def build_templates(blueprint: Blueprint) -> Templates:
    """Templates of the attempt's pods, by role. The head requests no accelerator; evaluators have a plan of their own."""
    cluster, group = blueprint.cluster, blueprint.evaluators
    pods = {HEAD: _template(blueprint, HEAD, cluster.head, 0)}
    if blueprint.config.workers:
        pods[WORKER] = _template(blueprint, WORKER, cluster.workers, cluster.workers.accelerators_per_worker)
    if group is not None:
        beside = replace(blueprint, plan=group.plan)
        pods[EVALUATOR] = _template(beside, EVALUATOR, group.size, group.size.accelerators_per_worker)
    return Templates(pods)


def _object(blueprint: Blueprint, kind: str, name: str, api_version: str = "v1") -> Object:
    attempt = blueprint.attempt
    metadata = {
        "name": name,
        "namespace": attempt.namespace,
        "labels": attempt.labels(),
        "ownerReferences": [owner_reference(attempt)],
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


def owner_reference(attempt: Attempt) -> Object:
    """The job as controller; blockOwnerDeletion is left out, it would need rights on the job's finalizers."""
    return {
        "apiVersion": API_VERSION,
        "kind": "LLMTrainingJob",
        "name": attempt.job,
        "uid": attempt.uid,
        "controller": True,
    }


def _template(blueprint: Blueprint, role: str, size: PodResources, accelerators: int) -> Object:
    fixed = blueprint.prices.get(role) or role_price(role, blueprint.plan, size, accelerators)
    pod, attempt = _object(blueprint, "Pod", ""), blueprint.attempt
    pod["metadata"] = {
        "namespace": attempt.namespace,
        "ownerReferences": pod["metadata"]["ownerReferences"],
        "labels": default_labels(blueprint.spec.pod) | dict(blueprint.spec.pod.labels) | attempt.labels(),
        "annotations": default_annotations(blueprint.spec.pod, blueprint.plan.spec.placement.disruption)
        | dict(blueprint.spec.pod.annotations)
        | {
            PRICE_ANNOTATION: price_of(fixed).to_json(),
            POWER_ANNOTATION: power_of(fixed).to_json(),
        },
        "finalizers": [FINALIZER_POD],
    }
    container = _container(blueprint, role) | {"resources": _resources(blueprint.plan, size, accelerators)}
    container["volumeMounts"] += key_mounts(blueprint.spec, attempt.stage, role)
    pod["spec"] = _pod_spec(blueprint) | {"containers": [container]}
    pod["spec"]["volumes"] += key_volumes(blueprint.spec, attempt.stage, role)
    return pod


def _pod_spec(blueprint: Blueprint) -> Object:
    return {
        "restartPolicy": "Never",
        **restricted.IDENTITY,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": restricted.POD,
        "volumes": _volumes(blueprint),
        **_user_fields(blueprint.spec.pod),
        **_placement(blueprint.plan.spec.placement),
    }


def _user_fields(fields: PodFields) -> Object:
    own: Object = {}
    if fields.priority_class_name:
        own["priorityClassName"] = fields.priority_class_name
    if fields.image_pull_secrets:
        own["imagePullSecrets"] = [{"name": secret.name} for secret in fields.image_pull_secrets]
    return own


def _placement(placement: Placement) -> Object:
    where: Object = {}
    if placement.node_selector:
        where["nodeSelector"] = dict(placement.node_selector)
    if placement.tolerations:
        tolerations = [toleration.to_dict() for toleration in placement.tolerations]
        where["tolerations"] = [{key: value for key, value in t.items() if value} for t in tolerations]
    return where


def _container(blueprint: Blueprint, role: str) -> Object:
    return {
        "name": STAGE_CONTAINER,
        "image": blueprint.image,
        "imagePullPolicy": "IfNotPresent",
        "terminationMessagePolicy": "File",
        "env": [*_variables(blueprint.spec.pod), *_environment(role)],
        "ports": [{"name": "metrics", "containerPort": HTTP_PORT}],
        "securityContext": restricted.CONTAINER,
        "volumeMounts": _mounts(blueprint.spec.storage),
    }


def _variables(fields: PodFields) -> list[Object]:
    return user_variables([variable.to_dict() for variable in fields.env])


def _environment(role: str) -> list[Object]:
    values = {
        "LLMTRAIN_ROLE": role,
        INDEX_VARIABLE: "0",
        "HOME": "/tmp",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": TOKEN_PATH,
        "RAY_USAGE_STATS_ENABLED": "0",
        # A minute, Ray's default, is too short where pods of a busy node start torch all at once.
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "180",
    }
    fixed: list[Object] = [{"name": name, "value": value} for name, value in values.items()]
    return [*fixed, {"name": "LLMTRAIN_POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]


def _resources(plan: Plan, size: PodResources, accelerators: int) -> Object:
    requests: Object = {"cpu": size.cpu, "memory": size.memory}
    limits: Object = {"memory": size.memory}
    if accelerators and plan.spec.accelerator:
        requests[plan.spec.accelerator.resource_name] = str(accelerators)
        limits[plan.spec.accelerator.resource_name] = str(accelerators)
    return {"requests": requests, "limits": limits}


def _mounts(storage: Storage) -> list[Object]:
    mounts: list[Object] = [
        {"name": "config", "mountPath": CONFIG_PATH.rsplit("/", 1)[0], "readOnly": True},
        {"name": "token", "mountPath": TOKEN_PATH.rsplit("/", 1)[0], "readOnly": True},
        {"name": "scratch", "mountPath": "/tmp"},
        {"name": "shared-memory", "mountPath": "/dev/shm"},
    ]
    if storage.persistent_volume_claim:
        claim = storage.persistent_volume_claim
        mount = {"name": "storage", "mountPath": STORAGE_MOUNT}
        mounts.append(mount | ({"subPath": claim.sub_path} if claim.sub_path else {}))
    if storage.s3 and storage.s3.credentials_secret_ref:
        mounts.append({"name": "credentials", "mountPath": CREDENTIALS_DIR, "readOnly": True})
    return mounts + authority_mounts(storage)


def _volumes(blueprint: Blueprint) -> list[Object]:
    storage = blueprint.spec.storage
    volumes: list[Object] = [
        {"name": "config", "configMap": {"name": blueprint.attempt.config}},
        {"name": "token", "secret": {"secretName": blueprint.attempt.token, "defaultMode": 0o440}},
        {"name": "scratch", "emptyDir": {}},
        {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": SHARED_MEMORY}},
    ]
    if storage.persistent_volume_claim:
        claim = storage.persistent_volume_claim.claim_name
        volumes.append({"name": "storage", "persistentVolumeClaim": {"claimName": claim}})
    if storage.s3 and storage.s3.credentials_secret_ref:
        secret = storage.s3.credentials_secret_ref.name
        volumes.append({"name": "credentials", "secret": {"secretName": secret, "defaultMode": 0o440}})
    return volumes + authority_volumes(storage)
