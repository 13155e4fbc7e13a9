"""`python -m llmtrain_operator.selftest`: what `helm test` runs. Are the resources served, may they be read, are numbers exported?

Environment: LLMTRAIN_METRICS_URL, LLMTRAIN_NAMESPACES.
"""

import asyncio
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from llmtrain.api import API_VERSION
from llmtrain_operator.client import ApiError, Cluster, connect

EXPECTED = ("llmtrain_operator_build_info", "llmtrain_operator_reconcile_total")
WAIT_SECONDS = 60.0
TIMEOUT_SECONDS = 5.0


async def check_resources(cluster: Cluster, namespaces: list[str]) -> list[str]:
    """Jobs can be listed where the operator watches; what was seen. ApiError names what is missing."""
    seen = []
    for space in namespaces or [""]:
        jobs = (await cluster.find(f"apis/{API_VERSION}/llmtrainingjobs", space, "")).items
        seen.append(f"{len(jobs)} jobs in {space or 'all namespaces'}")
    return seen


def check_metrics(text: str) -> list[str]:
    """Names of the expected families that an exposition lacks."""
    samples = {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}
    return [name for name in EXPECTED if name not in samples]


def fetch(url: str, seconds: float) -> str:
    """A page, waited for: the Service may be younger than its endpoints. The last error where none comes."""
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
                page: str = answer.read().decode()
                return page
        except (urllib.error.URLError, OSError):
            if time.monotonic() > end:
                raise
            time.sleep(1)


async def run(environment: Mapping[str, str]) -> None:
    """All checks; SystemExit with a message where one fails."""
    cluster = await connect()
    try:
        namespaces = [name for name in environment.get("LLMTRAIN_NAMESPACES", "").split(",") if name]
        print("; ".join(await check_resources(cluster, namespaces)))
    except ApiError as error:
        sys.exit(f"the operator's resources cannot be read: {error}; is crds.enabled true, rbac.create true?")
    finally:
        await cluster.close()
    url = environment["LLMTRAIN_METRICS_URL"]
    try:
        missing = check_metrics(fetch(url, WAIT_SECONDS))
    except OSError as error:
        sys.exit(f"{url} does not answer: {error}")
    if missing:
        sys.exit(f"{url} lacks {', '.join(missing)}")
    print(f"{url} exports {', '.join(EXPECTED)}")


def main() -> None:
    """Entry point."""
    asyncio.run(run(os.environ))


if __name__ == "__main__":
    main()
