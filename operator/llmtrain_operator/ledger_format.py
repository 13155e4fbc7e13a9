"""Which format the ledger is in: a ConfigMap of the operator's namespace says so. An operator that knows only older ones must not start.

It would book where the newer one does not look, or write pages anew without what it does not know.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from pathlib import Path

from llmtrain.ledger.document import FORMAT, FORMAT_CONFIG_MAP, LABEL_KIND
from llmtrain_operator.client import ApiError, Cluster
from llmtrain_operator.takeover import CONFIG_MAPS

log = logging.getLogger("llmtrain.operator")
KEY, WRITTEN_BY = "formatVersion", "writtenBy"
AGAIN_SECONDS = 2.0
OLDER = tuple(str(number) for number in range(1, FORMAT))
"""Formats whose documents this version reads, and adds to in its own."""
ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
REFUSALS = range(400, 500)


class NewerLedgerError(Exception):
    """The ledger is of a format that this version does not know; the message says what to do."""


def home_of(environment: Mapping[str, str], file: Path = ACCOUNT_NAMESPACE) -> str:
    """The operator's namespace: as it was told, else the one of its account, else `default`."""
    told = environment.get("LLMTRAIN_OPERATOR_NAMESPACE", "")
    return told or (file.read_text().strip() if file.exists() else "") or "default"


async def check_format(cluster: Cluster, home: str, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
    """Return once the ledger may be written by this version; NewerLedgerError where it may not.

    An apiserver that does not answer is asked again. Where the operator may not look, it says so and goes on: pods are being
    paid for, and what it cannot book is told job by job.
    """
    while True:
        try:
            await _check(cluster, home)
        except ApiError as error:
            if error.code in REFUSALS and error.code not in (409, 429):
                log.error(
                    "ConfigMap %s/%s, which says what format the ledger is in: %s", home, FORMAT_CONFIG_MAP, error
                )
                return
            log.warning("the ledger's format: %s", error)
            await pause(AGAIN_SECONDS)
        else:
            return


async def _check(cluster: Cluster, home: str) -> None:
    found = await cluster.get(CONFIG_MAPS, home, FORMAT_CONFIG_MAP)
    if found is None:
        labels = {LABEL_KIND: "Format", "app.kubernetes.io/managed-by": "llmtrain-operator"}
        metadata = {"name": FORMAT_CONFIG_MAP, "namespace": home, "labels": labels}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": _written()}
        await cluster.create(CONFIG_MAPS, home, body)
        return
    data = found.get("data") or {}
    if data.get(KEY) in OLDER:
        # From here on an older version refuses to start: it could not read what this one adds.
        await cluster.replace(CONFIG_MAPS, home, FORMAT_CONFIG_MAP, {**found, "data": {**data, **_written()}})
    elif data.get(KEY) != str(FORMAT):
        raise NewerLedgerError(
            f"the ledger in namespace {home} is of format {str(data.get(KEY))[:40]!r}, written by llmtrain "
            f"{str(data.get(WRITTEN_BY))[:40]}; this is llmtrain {version('llmtrain')}, which knows formats up to {FORMAT}. "
            "Nothing was changed and jobs go on as they are: install the newer version again with `helm upgrade`"
        )


def _written() -> dict[str, str]:
    return {KEY: str(FORMAT), WRITTEN_BY: version("llmtrain")}
