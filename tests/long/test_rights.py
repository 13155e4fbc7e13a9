"""Each right that is taken away is missed: the operator is forbidden something that its work needs."""

import asyncio
from pathlib import Path

import pytest

from tests.api.account import EVERYTHING, Use, audit_size, audited, give_rights, kubeconfig, operator
from tests.api.conftest import Api
from tests.api.conftest import api as api
from tests.api.test_rights import NAMESPACE, kubelet, prepare, scenario, until


@pytest.fixture
def prepared(api: Api) -> Api:
    """Plans are new each time: the status of one that the last operator looked at needs no write any more."""
    api.run("delete", "computeplans", "--all")
    prepare(api)
    return api


@pytest.mark.timeout(300)
@pytest.mark.parametrize("missing", sorted(EVERYTHING), ids=lambda use: "-".join(part or "core" for part in use))
async def test_a_right_that_is_taken_away_is_missed(
    missing: Use, prepared: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = prepared
    give_rights(api, EVERYTHING - {missing})
    since = audit_size(api)
    async with kubelet(api, monkeypatch):
        with operator(kubeconfig(api, tmp_path), tmp_path / "operator.log"):
            life = asyncio.create_task(scenario(api, 240))
            await until(f"{missing} is forbidden", lambda: missing in audited(api, allowed=False, since=since), 200)
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
    clean(api)


def clean(api: Api) -> None:
    """Everything of the scenario goes, finalizers first."""
    for kind in ("pods", "llmjob"):
        for item in api.get(kind, "-n", NAMESPACE)["items"]:
            name = item["metadata"]["name"]
            api.run("patch", kind, name, "-n", NAMESPACE, "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    for kind in ("llmjob", "pods", "secrets", "services", "configmaps", "networkpolicies"):
        api.run("delete", kind, "--all", "-n", NAMESPACE, "--force", "--grace-period=0", "--wait=false")
