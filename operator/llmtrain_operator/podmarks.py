"""Labels and annotations by which others' machinery leaves the pods alone: sidecar injectors and autoscalers.

They are defaults. A key that the job sets in `spec.pod` is the user's decision, whichever of the two maps it stands in.
"""

from collections.abc import Mapping
from typing import Final

from llmtrain.api.plan import Disruption
from llmtrain.api.pod import PodFields

INJECTION_LABELS: Final[Mapping[str, str]] = {
    "sidecar.istio.io/inject": "false",
    "kuma.io/sidecar-injection": "disabled",
}
"""Meshes that read a label before, or instead of, an annotation."""

INJECTION_ANNOTATIONS: Final[Mapping[str, str]] = {
    "sidecar.istio.io/inject": "false",  # Istio before 1.12 reads only this
    "linkerd.io/inject": "disabled",
    "kuma.io/sidecar-injection": "disabled",  # Kuma before 2.0
    "consul.hashicorp.com/connect-inject": "false",
    "sidecar.opentelemetry.io/inject": "false",
}
"""A sidecar outlives the stage, is billed with it, and stands between the workers."""

NO_DISRUPTION: Final[Mapping[str, str]] = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}
"""A moved pod repeats what it did since its last checkpoint, and that is paid twice."""


def default_labels(fields: PodFields) -> dict[str, str]:
    """Labels of a pod without what the job says about them."""
    return _unset(INJECTION_LABELS, fields)


def default_annotations(fields: PodFields, disruption: Disruption) -> dict[str, str]:
    """Annotations of a pod without what the job says about them."""
    autoscalers = NO_DISRUPTION if disruption is Disruption.FORBID else {}
    return _unset({**INJECTION_ANNOTATIONS, **autoscalers}, fields)


def _unset(defaults: Mapping[str, str], fields: PodFields) -> dict[str, str]:
    """Without the keys that the job sets: an injector that reads both maps would see two answers."""
    return {key: value for key, value in defaults.items() if key not in fields.labels and key not in fields.annotations}
