"""The operator's client against the real apiserver: the expectations that the fake cluster is built on."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from llmtrain_operator.client import ApiError, KubernetesCluster, connect, object_path
from llmtrain_operator.finalizers import add_finalizer, remove_finalizer
from llmtrain_operator.reconcile import JOBS

from tests.api.conftest import Api
from tests.api.test_manifests import changed
from tests.unit.operator.fake_cluster import as_added

PODS, CONFIG_MAPS = "api/v1/pods", "api/v1/configmaps"


@pytest.fixture
async def cluster(api: Api, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KubernetesCluster]:
    monkeypatch.setenv("KUBECONFIG", api.kubeconfig)
    cluster = await connect()
    yield cluster
    await cluster.close()


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"a": name}}, "data": data}


async def test_a_taken_name_is_409_and_a_missing_object_none(cluster: KubernetesCluster) -> None:
    await cluster.create(CONFIG_MAPS, "default", config_map("taken"))
    with pytest.raises(ApiError) as error:
        await cluster.create(CONFIG_MAPS, "default", config_map("taken"))
    assert error.value.code == 409
    assert await cluster.get(CONFIG_MAPS, "default", "none") is None
    assert [o["metadata"]["name"] for o in (await cluster.find(CONFIG_MAPS, "default", "a=taken")).items] == ["taken"]


async def test_an_old_resource_version_is_refused(cluster: KubernetesCluster) -> None:
    old = await cluster.create(CONFIG_MAPS, "default", config_map("versions"))
    await cluster.replace(CONFIG_MAPS, "default", "versions", {**old, "data": {"a": "1"}})
    with pytest.raises(ApiError) as error:
        await cluster.replace(CONFIG_MAPS, "default", "versions", {**old, "data": {"a": "2"}})
    assert error.value.code == 409


async def test_a_job_is_read_at_least_as_new_as_was_asked_for(
    cluster: KubernetesCluster, api: Api, demo_job: dict[str, Any]
) -> None:
    body = changed(demo_job, "metadata.name", "fresh")
    made = await cluster.create(JOBS, "default", body | {"apiVersion": "llmtrain.dev/v1alpha1"})
    for number in range(20):
        seed = {**made, "spec": {**made["spec"], "startDeadlineSeconds": 100 + number}}
        made = await cluster.replace(JOBS, "default", "fresh", seed)
        read = await cluster.get(JOBS, "default", "fresh", made["metadata"]["resourceVersion"])
        assert read is not None
        assert read["spec"]["startDeadlineSeconds"] == 100 + number
    with pytest.raises(ApiError, match=r"[Tt]oo large resource version"):
        await cluster.get(JOBS, "default", "fresh", "9" * 15)


async def test_a_list_since_a_write_has_it(cluster: KubernetesCluster) -> None:
    for number in range(20):
        made = await cluster.create(CONFIG_MAPS, "default", config_map("since", n=str(number)))
        found = await cluster.find_since(CONFIG_MAPS, "default", "a=since", made["metadata"]["resourceVersion"])
        assert [body["data"]["n"] for body in found.items] == [str(number)]
        await cluster.delete(CONFIG_MAPS, "default", "since", "", None)
    with pytest.raises(ApiError, match=r"[Tt]oo large resource version"):
        await cluster.find_since(CONFIG_MAPS, "default", "a=since", "9" * 15)


async def test_metadata_is_listed_page_by_page(cluster: KubernetesCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmtrain_operator.client.PAGE", 2)
    for number in range(5):
        await cluster.create(CONFIG_MAPS, "default", config_map(f"page-{number}") | {"data": {"a": "long"}})
    found = await cluster.list_metadata(CONFIG_MAPS, "default", "a")
    names = {body["metadata"]["name"] for body in found if body["metadata"]["name"].startswith("page-")}
    assert names == {f"page-{number}" for number in range(5)}
    assert all(set(body) == {"metadata"} and "managedFields" not in body["metadata"] for body in found)


async def test_a_delete_with_another_uid_deletes_nothing(cluster: KubernetesCluster) -> None:
    made = await cluster.create(CONFIG_MAPS, "default", config_map("uids"))
    await cluster.delete(CONFIG_MAPS, "default", "uids", "00000000-0000-0000-0000-000000000000", None)
    assert await cluster.get(CONFIG_MAPS, "default", "uids") is not None
    await cluster.delete(CONFIG_MAPS, "default", "uids", made["metadata"]["uid"], None)
    assert await cluster.get(CONFIG_MAPS, "default", "uids") is None


async def test_a_finalizer_holds_an_object_until_it_is_taken_off(cluster: KubernetesCluster) -> None:
    made = await cluster.create(CONFIG_MAPS, "default", config_map("held"))
    uid = made["metadata"]["uid"]
    await add_finalizer(cluster, CONFIG_MAPS, made, "llmtrain.dev/settle")
    await cluster.delete(CONFIG_MAPS, "default", "held", uid, None)
    held = await cluster.get(CONFIG_MAPS, "default", "held")
    assert held is not None
    assert "deletionTimestamp" in held["metadata"]
    await remove_finalizer(cluster, CONFIG_MAPS, held, "llmtrain.dev/settle")
    assert await cluster.get(CONFIG_MAPS, "default", "held") is None


async def test_finalizers_that_others_change_meanwhile_stay_as_they_left_them(
    cluster: KubernetesCluster, api: Api, demo_job: dict[str, Any]
) -> None:
    """In both directions, on a custom resource, which may have no list at all."""
    api.apply(demo_job | {"metadata": {"name": "shared", "namespace": "default"}})
    seen = await cluster.get(JOBS, "default", "shared")
    assert seen is not None
    await add_finalizer(cluster, JOBS, seen, "example.com/backup")
    ours = await add_finalizer(cluster, JOBS, seen, "llmtrain.dev/ledger")
    assert ours is not None
    assert ours["metadata"]["finalizers"] == ["example.com/backup", "llmtrain.dev/ledger"]
    await remove_finalizer(cluster, JOBS, ours, "example.com/backup")
    requests = sum(cluster.requests.values())
    left = await remove_finalizer(cluster, JOBS, ours, "llmtrain.dev/ledger")
    assert left is not None
    assert not left["metadata"].get("finalizers")
    assert sum(cluster.requests.values()) - requests == 3, "refused, read again, done"
    await cluster.delete(JOBS, "default", "shared", "", None)
    assert await remove_finalizer(cluster, JOBS, ours, "llmtrain.dev/ledger") is None


async def test_the_status_subresource_leaves_the_spec_alone(
    cluster: KubernetesCluster, api: Api, demo_job: dict[str, Any]
) -> None:
    api.apply(demo_job | {"metadata": {"name": "split", "namespace": "default"}})
    job = await cluster.get(JOBS, "default", "split")
    assert job is not None
    job["spec"]["seed"] = 5
    job["status"] = {"stage": "Training"}
    written = await cluster.replace(JOBS, "default", "split", job, "status")
    assert (written["spec"]["seed"], written["status"]["stage"]) == (1234, "Training")


async def test_a_conflict_about_an_object_that_is_there_is_not_taken_for_its_absence(
    cluster: KubernetesCluster,
) -> None:
    made = await cluster.create(CONFIG_MAPS, "default", config_map("there"))
    path = object_path(CONFIG_MAPS, "default", "there")
    assert await cluster._is_there(path, made["metadata"]["uid"])
    assert not await cluster._is_there(path, "00000000-0000-0000-0000-000000000000")


def bound_pod(name: str) -> dict[str, Any]:
    """On a node that is not there: nobody ends it."""
    spec = {
        "nodeName": "nowhere",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 60,
        "containers": [{"name": "stage", "image": "x"}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


@pytest.fixture
def account(api: Api) -> None:
    """No controller makes it here."""
    api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}})


@pytest.mark.usefixtures("account")
async def test_whoever_may_edit_a_pod_may_edit_when_its_status_was_told(cluster: KubernetesCluster, api: Api) -> None:
    await cluster.create(PODS, "default", bound_pod("edited"))
    api.set_status("pod", "edited", {"status": {"phase": "Running"}})
    pod = api.get("pod", "edited", "--show-managed-fields")
    told = [one for one in pod["metadata"]["managedFields"] if one.get("subresource") == "status"]
    assert told
    for one in told:
        one["time"] = "2000-01-01T00:00:00Z"
    # A change of nothing else than times is undone by the apiserver.
    pod["metadata"]["labels"] = {"any": "label"}
    done = api.run("replace", "-f", "-", body=pod)
    assert done.returncode == 0, done.stderr
    after = api.get("pod", "edited", "--show-managed-fields")["metadata"]["managedFields"]
    assert {one["time"] for one in after if one.get("subresource") == "status"} == {"2000-01-01T00:00:00Z"}


@pytest.mark.usefixtures("account")
async def test_a_grace_of_years_is_shortened_by_whoever_names_a_shorter_one(cluster: KubernetesCluster) -> None:
    made = await cluster.create(PODS, "default", bound_pod("patient"))
    graces = []
    for seconds in (365 * 86400, None, 60):
        await cluster.delete(PODS, "default", "patient", made["metadata"]["uid"], seconds)
        found = await cluster.get(PODS, "default", "patient")
        assert found is not None
        graces.append(found["metadata"]["deletionGracePeriodSeconds"])
    assert graces == [365 * 86400, 365 * 86400, 60]


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize("grace", [2**31, 3_000_000_000, 10**10, 2**62, 2**63 - 1])
async def test_a_grace_of_more_than_a_lifetime_turns_around_and_is_shortened_as_well(
    cluster: KubernetesCluster, grace: int
) -> None:
    """So the fake has it. When the end was asked for is what is left without the grace, whatever that is."""
    name = f"eternal-{grace}"
    made, begun = await cluster.create(PODS, "default", bound_pod(name)), datetime.now(UTC)
    for seconds in (grace, 60):
        await cluster.delete(PODS, "default", name, made["metadata"]["uid"], seconds)
        found = await cluster.get(PODS, "default", name)
        assert found is not None
        meta = found["metadata"]
        assert meta["deletionGracePeriodSeconds"] == seconds
        asked = datetime.fromisoformat(meta["deletionTimestamp"]) - as_added(seconds)
        assert abs((asked - begun).total_seconds()) < 10
