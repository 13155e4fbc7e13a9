"""Labels and annotations by which others' machinery leaves the pods alone: sidecar injectors and autoscalers.

They are defaults. A key that the job sets in `spec.pod` is the user's decision, whichever of the two maps it stands in.
"""

from collections.abc import Mapping
from typing import Final

from llmtrain.api.injection import OFF_ANNOTATIONS, OFF_LABELS
from llmtrain.api.plan import Disruption
from llmtrain.api.pod import PodFields

NO_DISRUPTION: Final[Mapping[str, str]] = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}
"""A moved pod repeats what it did since its last checkpoint, and that is paid twice."""


def default_labels(fields: PodFields) -> dict[str, str]:
    """Labels of a pod without what the job says about them."""
    return _unset(OFF_LABELS, fields)


def default_annotations(fields: PodFields, disruption: Disruption) -> dict[str, str]:
    """Annotations of a pod without what the job says about them."""
    autoscalers = NO_DISRUPTION if disruption is Disruption.FORBID else {}
    return _unset({**OFF_ANNOTATIONS, **autoscalers}, fields)


def _unset(defaults: Mapping[str, str], fields: PodFields) -> dict[str, str]:
    """Without the keys that the job sets: an injector that reads both maps would see two answers."""
    return {key: value for key, value in defaults.items() if key not in fields.labels and key not in fields.annotations}
