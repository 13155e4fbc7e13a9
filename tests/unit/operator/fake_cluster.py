"""A fake apiserver and kubelet in memory: resourceVersions, uids, finalizers, graceful deletion; a clock that is set.

It fakes only what the operator leans on; `tests/api` holds the same expectations against a real apiserver.
"""

import itertools
import json
import pickle
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from llmtrain_operator.client import ApiError, Found, Object

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def stamp(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


Json = TypeVar("Json")


def clone(body: Json) -> Json:
    """A deep copy of JSON."""
    copy: Json = pickle.loads(pickle.dumps(body))
    return copy


def selects(selector: str, labels: Mapping[str, str]) -> bool:
    """Whether all of `key`, `key=value` and `key in (a,b)` hold, with commas between them."""
    for term in re.split(r",(?![^(]*\))", selector) if selector else ():
        key, among, values = term.partition(" in ")
        key, equal, value = key.partition("=")
        if key not in labels or (equal and labels[key] != value):
            return False
        if among and labels[key] not in values.strip("()").split(","):
            return False
    return True


def as_added(seconds: int) -> timedelta:
    """So many seconds as the apiserver adds them to a time: nanoseconds in 64 bits, signed."""
    wrapped = int.from_bytes((seconds * 10**9).to_bytes(16, "little")[:8], "little", signed=True)
    return timedelta(seconds=wrapped // 10**9)


class Crash(Exception):
    """The operator was killed here."""


class FakeCluster:
    def __init__(self) -> None:
        self.now = START
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.pods_created: list[str] = []
        self.final_pods: dict[str, Object] = {}
        self.writes = 0
        self.crash_at: tuple[int, str] | None = None
        self.crashed = False
        """A dead operator writes nothing more, whatever it had under way."""
        self.refuse: Callable[[str, Object], ApiError | None] = lambda resource, body: None
        self.injects: dict[str, str] = {}
        """Containers that a webhook puts into every pod: name and "container", "init" or "sidecar"."""
        self.injected_code = 0
        """Exit code with which they end."""
        self._numbers = itertools.count(1)
        for name in ("team-a", "team-b", "default"):
            meta = {"name": name, "uid": f"uid-of-{name}", "resourceVersion": "0"}
            self.objects[("api/v1/namespaces", "", name)] = {"metadata": meta}

    def clock(self) -> datetime:
        return self.now

    def tick(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    def add(self, resource: str, body: Object) -> Object:
        body = clone(body)
        meta = body["metadata"]
        body["metadata"] = {
            **meta,
            "uid": f"uid-{next(self._numbers)}",
            "resourceVersion": str(next(self._numbers)),
            "creationTimestamp": stamp(self.now),
            "generation": 1,
        }
        self.objects[(resource, meta.get("namespace", ""), meta["name"])] = body
        return clone(body)

    def of(self, resource: str) -> list[Object]:
        return [body for (kind, _, _), body in self.objects.items() if kind == resource]

    async def get(self, resource: str, namespace: str, name: str, not_before: str = "") -> Object | None:
        return clone(self.objects.get((resource, namespace, name)))

    async def find(self, resource: str, namespace: str, selector: str, not_before: str = "") -> Found:
        found = [b for (kind, space, _), b in self.objects.items() if kind == resource and namespace in ("", space)]
        return Found([clone(b) for b in found if selects(selector, b["metadata"].get("labels", {}))])

    async def find_since(self, resource: str, namespace: str, selector: str, version: str) -> Found:
        return await self.find(resource, namespace, selector, version)

    async def list_metadata(self, resource: str, namespace: str, selector: str) -> list[Object]:
        bodies = [b for (kind, space, _), b in self.objects.items() if kind == resource and namespace in ("", space)]
        found = [clone({"metadata": body["metadata"]}) for body in bodies]
        return [body for body in found if selects(selector, body["metadata"].get("labels", {}))]

    async def create(self, resource: str, namespace: str, body: Object) -> Object:
        def write() -> Object:
            if error := self.refuse(resource, body):
                raise error
            if (resource, namespace, body["metadata"]["name"]) in self.objects:
                raise ApiError(409, "AlreadyExists", "exists")
            if resource == "api/v1/pods":
                self.pods_created.append(body["metadata"]["name"])
                return self.add(resource, {**self._injected(body), "status": {"phase": "Pending"}})
            return self.add(resource, body)

        made: Object = self.add(resource, body) if resource == "api/v1/events" else self._write(write)
        return made

    async def delete(self, resource: str, namespace: str, name: str, uid: str, grace_seconds: int | None) -> None:
        def write() -> None:
            body = self.objects.get((resource, namespace, name))
            if body is None or (uid and body["metadata"]["uid"] != uid):
                return
            grace = 60 if grace_seconds is None else grace_seconds
            over = body.get("status", {}).get("phase") in ("Succeeded", "Failed")
            if resource == "api/v1/pods" and (over or not body["spec"].get("nodeName")):
                grace = 0
            self._mark_deleted(body["metadata"], grace)
            self._collect(resource, namespace, name)

        self._write(write)

    def _mark_deleted(self, meta: Object, grace: int) -> None:
        """A shorter grace counts from the first deletion; none at all from now. So apiserver 1.36 does."""
        asked, before = self.now, meta.get("deletionGracePeriodSeconds", grace + 1)
        if grace >= before:
            return
        if grace and "deletionTimestamp" in meta:
            asked = datetime.fromisoformat(meta["deletionTimestamp"]) - as_added(before)
        meta |= {"deletionTimestamp": stamp(asked + as_added(grace)), "deletionGracePeriodSeconds": grace}
        meta["resourceVersion"] = str(next(self._numbers))

    async def replace(self, resource: str, namespace: str, name: str, body: Object, subresource: str = "") -> Object:
        def write() -> Object:
            there = self.objects.get((resource, namespace, name))
            if there is None:
                raise ApiError(404, "NotFound", "gone")
            if subresource == "scale":
                there["spec"]["replicas"] = body["spec"]["replicas"]
                return clone(body)
            if there["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
                raise ApiError(409, "Conflict", "newer")
            new = {**there, "status": json.loads(json.dumps(body["status"]))} if subresource else clone(body)
            new["metadata"] = {**there["metadata"], "resourceVersion": str(next(self._numbers))}
            self.objects[(resource, namespace, name)] = new
            return clone(new)

        answer: Object = self._write(write)
        return answer

    async def replace_finalizers(self, resource: str, seen: Mapping[str, Any], after: list[str]) -> Object | None:
        key = (resource, seen["metadata"].get("namespace", ""), seen["metadata"]["name"])
        before = clone(seen["metadata"])

        def write() -> Object | None:
            if (body := self.objects.get(key)) is None:
                return None
            meta = body["metadata"]
            if meta["uid"] != before["uid"] or (meta.get("finalizers") or None) != (before.get("finalizers") or None):
                raise ApiError(422, "", "testing value /metadata/finalizers failed: test failed")
            if "deletionTimestamp" in meta and set(after) - set(before.get("finalizers") or ()):
                raise ApiError(422, "Invalid", "no new finalizers can be added if the object is being deleted")
            meta |= {"finalizers": list(after), "resourceVersion": str(next(self._numbers))}
            self._collect(*key)
            return clone(body)

        answer: Object | None = self._write(write)
        return answer

    async def shorten_pod(self, namespace: str, name: str, uid: str, seconds: int) -> None:
        def write() -> None:
            body = self.objects.get(("api/v1/pods", namespace, name))
            if body is None or body["metadata"]["uid"] != uid:
                return
            if seconds > body["spec"].get("activeDeadlineSeconds", seconds):
                raise ApiError(422, "Invalid", "must be less than or equal to previous value")
            body["spec"]["activeDeadlineSeconds"] = seconds
            body["metadata"]["resourceVersion"] = str(next(self._numbers))

        self._write(write)

    async def label_pod(self, namespace: str, name: str, uid: str, labels: Mapping[str, str]) -> None:
        def write() -> None:
            body = self.objects.get(("api/v1/pods", namespace, name))
            if body is not None and body["metadata"]["uid"] == uid:
                body["metadata"]["labels"] = {**(body["metadata"].get("labels") or {}), **labels}
                body["metadata"]["resourceVersion"] = str(next(self._numbers))

        self._write(write)

    def _write(self, write: Callable[[], Any]) -> Any:
        self.crashed = self.crashed and self.crash_at is not None
        if self.crashed:
            raise Crash
        self.writes += 1
        self.crashed = self.crash_at == (self.writes, "before")
        if self.crashed:
            raise Crash
        answer = write()
        self.crashed = self.crash_at == (self.writes, "after")
        if self.crashed:
            raise Crash
        return answer

    def _collect(self, resource: str, namespace: str, name: str) -> None:
        """An object goes once it is deleted, has no finalizer and, a pod, does not run."""
        body = self.objects[(resource, namespace, name)]
        status = body.get("status", {})
        told = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
        running = any("running" in s["state"] for s in told)
        if resource == "api/v1/pods":
            self.final_pods[body["metadata"]["uid"]] = clone(body)
        forced = body["metadata"].get("deletionGracePeriodSeconds") == 0
        held = body["metadata"].get("finalizers") or (running and not forced)
        if "deletionTimestamp" in body["metadata"] and not held:
            del self.objects[(resource, namespace, name)]

    # the kubelet

    def pod(self, name: str) -> Object:
        return self.objects[("api/v1/pods", "team-a", name)]

    def _injected(self, body: Object) -> Object:
        spec = clone(body["spec"])
        for name, shape in self.injects.items():
            again = {"restartPolicy": "Always"} if shape == "sidecar" else {}
            spec.setdefault("containers" if shape == "container" else "initContainers", []).append(
                {"name": name, "image": f"{name}:1"} | again
            )
        return {**body, "spec": spec}

    def place_pod(self, name: str) -> None:
        """A node has taken it; nothing runs yet but what has to run before the stage."""
        body, now = self.pod(name), stamp(self.now)
        body["spec"]["nodeName"] = "node-1"
        body["status"] = {
            "phase": "Pending",
            "podIP": "10.0.0.1",
            "startTime": now,
            "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": now}],
            "containerStatuses": [
                {"name": name, "state": {"waiting": {"reason": "PodInitializing"}}} for name in self._names(body)
            ],
        }
        self._tell_init(body)

    def _tell_init(self, body: Object) -> None:
        """Init containers end at once, native sidecars run; they are told in the order of the spec."""
        run = {"startedAt": stamp(self.now)}
        done = {"terminated": {**run, "exitCode": 0, "finishedAt": stamp(self.now), "reason": "Completed"}}
        inits = [
            {"name": one["name"], "state": {"running": run} if "restartPolicy" in one else done}
            for one in body["spec"].get("initContainers", [])
        ]
        body["status"] |= {"initContainerStatuses": inits} if inits else {}

    @staticmethod
    def _names(body: Object) -> list[str]:
        """A kubelet sorts them."""
        return sorted(one["name"] for one in body["spec"]["containers"])

    def run_pod(self, name: str) -> None:
        body = self.pod(name)
        if body["status"]["phase"] == "Pending" and not body["status"].get("initContainerStatuses"):
            self.place_pod(name)
        running = {"running": {"startedAt": stamp(self.now)}}
        body["status"] |= {
            "phase": "Running",
            "containerStatuses": [{"name": name, "state": clone(running)} for name in self._names(body)],
        }

    def end_pod(self, name: str, code: int = 0, message: str = "", reason: str = "Completed") -> None:
        """Its stage ends, and native sidecars with it; a container beside it runs on until the pod is told to end."""
        body = self.pod(name)
        status, deleted = body["status"], "deletionTimestamp" in body["metadata"]
        status.setdefault("containerStatuses", [{"name": "stage", "state": {}}])
        for one in status["containerStatuses"]:
            if one["name"] == "stage":
                self._end(one, code, message, reason)
            elif deleted:
                self._end(one, self.injected_code, "", "Error")
        if any("running" in one["state"] for one in status["containerStatuses"]):
            return
        for one in status.get("initContainerStatuses", []):
            self._end(one, self.injected_code, "", "Completed")
        codes = [one["state"]["terminated"]["exitCode"] for one in status["containerStatuses"]]
        status["phase"] = "Failed" if any(codes) else "Succeeded"
        if deleted:
            self._mark_deleted(body["metadata"], 0)
        self._collect("api/v1/pods", "team-a", name)

    def _end(self, one: Object, code: int, message: str, reason: str) -> None:
        """An end is told once."""
        if "terminated" in one["state"]:
            return
        ended = {"exitCode": code, "finishedAt": stamp(self.now), "message": message, "reason": reason}
        started = one["state"].get("running", {}).get("startedAt")
        one["state"] = {"terminated": ended | ({"startedAt": started} if started else {})}
