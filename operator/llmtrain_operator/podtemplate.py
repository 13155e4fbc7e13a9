"""The pods of one attempt, fixed when it begins: one template a role, from which every pod of the attempt is made.

A successor equals the pod it replaces, whatever has become of the manifest, the plan or the operator meanwhile. The status
keeps a digest. The templates themselves lie in the attempt's immutable ConfigMap, without which no pod of it can start, beside
the config: they are read back only where the present manifest does not give the same ones. What tells one pod from another is
no part of them: name, index and incarnation, lifetime, nodes that are left out.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from llmtrain_operator.digest import digest_of
from llmtrain_operator.names import HEAD, Attempt

Object = dict[str, Any]
CONFIG_KEY, PODS_KEY = "config.json", "pods.json"
INDEX_VARIABLE = "LLMTRAIN_INDEX"
DIGEST_DIGITS = 20


@dataclass(frozen=True)
class Lifetimes:
    """Seconds after which the kubelet ends a pod, by role."""

    head: int
    worker: int


@dataclass(frozen=True)
class Templates:
    """Templates by role; none, and so no digest that any status has, where they are lost."""

    pods: Mapping[str, Object]

    @cached_property
    def digest(self) -> str:
        """Of all of them."""
        return digest_of(self.pods, DIGEST_DIGITS)


LOST = Templates({})


@dataclass(frozen=True)
class PodSource:
    """Everything that a pod of an attempt is made from."""

    attempt: Attempt
    templates: Templates
    lifetimes: Lifetimes
    excluded_nodes: tuple[str, ...] = ()
    """Nodes that cost this stage pods before."""

    def pod(self, role: str, index: int = 0, incarnation: int = 1) -> Object:
        """The pod of this role and slot. KeyError for a role that the attempt does not have."""
        template, attempt = self.templates.pods[role], self.attempt
        metadata, spec = template["metadata"], template["spec"]
        seconds = self.lifetimes.head if role == HEAD else self.lifetimes.worker
        name = {"name": attempt.pod(role, index, incarnation)}
        labels = metadata["labels"] | attempt.labels(role, index, incarnation)
        containers = [_indexed(spec["containers"][0], index), *spec["containers"][1:]]
        own = {"activeDeadlineSeconds": seconds, "containers": containers, **_avoid(self.excluded_nodes)}
        return {**template, "metadata": name | metadata | {"labels": labels}, "spec": spec | own}


def to_data(templates: Templates, config: str) -> dict[str, str]:
    """The ConfigMap's data. What a user may write much of stands in the config already, and once is enough."""
    user = _user_parts(config)
    return {
        CONFIG_KEY: config,
        PODS_KEY: json.dumps({r: _without(t, *user) for r, t in templates.pods.items()}, sort_keys=True),
    }


def from_data(data: Mapping[str, str]) -> Templates:
    """What `to_data` wrote; LOST for anything else: whoever may write ConfigMaps may have put another one there."""
    try:
        user = _user_parts(data[CONFIG_KEY])
        return Templates({role: _with(template, *user) for role, template in json.loads(data[PODS_KEY]).items()})
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError):
        return LOST


def _user_parts(config: str) -> tuple[Object, list[Object]]:
    """Annotations and environment that the manifest adds to each pod."""
    fields = json.loads(config)["spec"].get("pod") or {}
    return fields.get("annotations") or {}, user_variables(fields.get("env") or [])


def user_variables(env: list[Object]) -> list[Object]:
    """`$(NAME)` stays as it is: it could otherwise carry our own values elsewhere."""
    return [{"name": one["name"], "value": one.get("value", "").replace("$", "$$")} for one in env]


def _without(template: Object, annotations: Object, variables: list[Object]) -> Object:
    metadata, stage = template["metadata"], template["spec"]["containers"][0]
    kept = {key: value for key, value in metadata["annotations"].items() if key not in annotations}
    return _replaced(template, kept, stage["env"][len(variables) :])


def _with(template: Object, annotations: Object, variables: list[Object]) -> Object:
    metadata, stage = template["metadata"], template["spec"]["containers"][0]
    return _replaced(template, annotations | metadata["annotations"], variables + stage["env"])


def _replaced(template: Object, annotations: Object, env: list[Object]) -> Object:
    metadata, spec = template["metadata"], template["spec"]
    containers = [spec["containers"][0] | {"env": env}, *spec["containers"][1:]]
    return template | {"metadata": metadata | {"annotations": annotations}, "spec": spec | {"containers": containers}}


def _indexed(container: Object, index: int) -> Object:
    own = {"name": INDEX_VARIABLE, "value": str(index)}
    return container | {"env": [own if one["name"] == INDEX_VARIABLE else one for one in container["env"]]}


def _avoid(nodes: tuple[str, ...]) -> Object:
    """Node affinity by name; matchFields takes one value an expression."""
    if not nodes:
        return {}
    fields = [{"key": "metadata.name", "operator": "NotIn", "values": [node]} for node in nodes]
    required = {"nodeSelectorTerms": [{"matchFields": fields}]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}}
