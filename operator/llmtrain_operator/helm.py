"""Whether Helm is uninstalling this release: its own record says so, and nothing else does.

What `helm uninstall` runs before it takes the operator away is part of what `helm template` prints, so it can be applied
by hand as an ordinary Job, and would then suspend every job of the cluster. Nothing in the Job tells the two apart. Helm
keeps a record of each revision, a Secret (or by HELM_DRIVER a ConfigMap) in the release's namespace, and labels the
newest `status: uninstalling` before it runs these hooks (seen with 3.21.4 and 4.3.1).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from llmtrain_operator.client import Object

KINDS = ("api/v1/secrets", "api/v1/configmaps")
REVISIONS = 32
"""A rollback brings back an older revision's hooks under a newer number. As many as the hook's Role names."""
UNINSTALLING = "uninstalling"
Read = Callable[[str, str, str], Awaitable[Object | None]]
"""Metadata of an object by resource, namespace and name; None: it does not exist."""


@dataclass(frozen=True)
class Release:
    """What Helm calls what it has installed; `revision` is that which this hook was rendered for."""

    namespace: str
    name: str
    revision: int


async def refusal(read: Read, release: Release) -> str:
    """Why nothing may be taken down; empty where the newest record says that the release is being uninstalled.

    ApiError where a record cannot be read.
    """
    if not release.name:
        return "no release of Helm is named"
    status = await _newest_status(read, release)
    if status == UNINSTALLING:
        return ""
    which = f"release `{release.name}` in namespace `{release.namespace}`"
    return f"Helm has no record of a {which}" if status is None else f"{which} is {status!r} for Helm"


async def _newest_status(read: Read, release: Release) -> str | None:
    """A revision whose uninstallation failed keeps its status when the release is rolled back: the newest counts."""
    for revision in reversed(range(release.revision, release.revision + REVISIONS)):
        for kind in KINDS:
            record = await read(kind, release.namespace, f"sh.helm.release.v1.{release.name}.v{revision}")
            if record is not None:
                return str(record["metadata"].get("labels", {}).get("status", ""))
    return None
