"""Keys by which sidecar injectors are told to leave a pod alone.

A sidecar outlives what it stands beside: the pod would run, and be paid for, until somebody ends it.
"""

from collections.abc import Mapping
from typing import Final

OFF_LABELS: Final[Mapping[str, str]] = {
    "sidecar.istio.io/inject": "false",
    "kuma.io/sidecar-injection": "disabled",
}
"""Meshes that read a label before, or instead of, an annotation."""

OFF_ANNOTATIONS: Final[Mapping[str, str]] = {
    "sidecar.istio.io/inject": "false",  # Istio before 1.12 reads only this
    "linkerd.io/inject": "disabled",
    "kuma.io/sidecar-injection": "disabled",  # Kuma before 2.0
    "consul.hashicorp.com/connect-inject": "false",
    "sidecar.opentelemetry.io/inject": "false",
}
