"""What every pod of ours sets so that a namespace that enforces the Restricted Pod Security Standard admits it."""

from typing import Any, Final

USER: Final = 1000

POD: Final[dict[str, Any]] = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""`spec.securityContext`. A volume whose root has the group already is not walked file by file at every start of a pod."""

CONTAINER: Final[dict[str, Any]] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
"""`spec.containers[].securityContext`; the read-only root is our own addition."""

IDENTITY: Final[dict[str, Any]] = {"automountServiceAccountToken": False, "enableServiceLinks": False}
"""Fields of `spec`: no token, and no other Service's address in the environment."""
