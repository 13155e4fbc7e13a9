"""What the operator asks of the apiserver: raw JSON in, dicts out.

Every request passes one semaphore, honours Retry-After a bounded number of times, and is counted by verb and code.
"""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode

import aiohttp
from pydantic_core import from_json, to_json

from llmtrain.api import API_VERSION
from llmtrain.text import plain
from llmtrain_operator import connection
from llmtrain_operator.connection import Connection

Object = dict[str, Any]
Answer = tuple[int, Mapping[str, str], bytes]
"""Status, headers and body."""
TRIES = 5
REQUEST_TIMEOUT_SECONDS = 30
REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_SECONDS)
LONGEST_RETRY_AFTER = 30.0
PATIENCE_SECONDS = 15.0
"""For which one request waits in all before it is tried again; who is to wait longer is told, and told when to come back."""
NO_ANSWER = 0
RETRIED = {429, 503}
RETRIED_READS = RETRIED | {500, 502, 504}
"""A read may be repeated whatever became of it; a write that failed half-way is looked at again by the next turn."""
JSON = "application/json"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
IDENTITY = {"name", "namespace", "uid", "resourceVersion"}
LONG = {"managedFields", "annotations", "ownerReferences"}
"""Parts of an object's metadata that are most of its size."""
PAGE = 100
"""A page of 500 jobs took a busy apiserver 1.4 s, and everybody else waited."""
AHEAD = "Too large resource version"
"""The apiserver's words; it has waited for three seconds by then."""
STALE = "StaleList"
REMEMBERED_WRITES = 10_000
WATCH_SECONDS = 300
SILENT_SECONDS = 90
"""The apiserver sends a bookmark every minute; a watch that is silent for longer has lost its connection."""
SEGMENT = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._:-]*[A-Za-z0-9])?")
"""What may stand between two slashes of a path: no slash, no dots alone, nothing that is decoded to one."""


class ApiError(Exception):
    """The apiserver refused, or did not answer (code 0)."""

    def __init__(self, code: int, reason: str, message: str, retry_after: float = 0.0) -> None:
        """Code of HTTP, reason and message of metav1.Status; seconds for which the server wants to be left alone."""
        super().__init__(f"{code} {reason}: {message}")
        self.code, self.reason, self.message, self.retry_after = code, reason, message, retry_after


@dataclass(frozen=True)
class Found:
    """A list as it was read, and the resourceVersion that it was read at."""

    items: list[Object]
    version: str = ""


class Cluster(Protocol):
    """What the reconciler needs of a cluster. `resource` is a path such as `api/v1/pods`."""

    async def get(self, resource: str, namespace: str, name: str, not_before: str = "") -> Object | None:
        """The object, or None: as it is now, or at least as new as resourceVersion `not_before`, which costs a third."""

    async def find(self, resource: str, namespace: str, selector: str, not_before: str = "") -> "Found":
        """All objects that match, read live; ApiError 0 for a list older than the list of version `not_before`."""

    async def find_since(self, resource: str, namespace: str, selector: str, version: str) -> "Found":
        """The same out of the apiserver's cache, at least as new as `version`: a live list waits for it to catch up."""

    async def list_metadata(self, resource: str, namespace: str, selector: str) -> list[Object]:
        """The metadata of all objects that match, in all namespaces where none is given, less what is long and names nobody."""

    async def create(self, resource: str, namespace: str, body: Object) -> Object:
        """Create; ApiError 409 where the name is taken."""

    async def delete(self, resource: str, namespace: str, name: str, uid: str, grace_seconds: int | None) -> None:
        """Delete the object with this uid (any, where empty); gone already is fine."""

    async def replace(self, resource: str, namespace: str, name: str, body: Object, subresource: str = "") -> Object:
        """Replace; ApiError 409 where `metadata.resourceVersion` is not the newest."""

    async def replace_finalizers(self, resource: str, seen: Mapping[str, Any], after: list[str]) -> Object | None:
        """Replace the finalizers that an object was seen with; the object then, None where it is gone.

        ApiError 422 where it is another object by now, or somebody has changed them since; see finalizers.py.
        """

    async def shorten_pod(self, namespace: str, name: str, uid: str, seconds: int) -> None:
        """Lower `activeDeadlineSeconds` of the pod with this uid; gone already is fine, raising is refused (422)."""

    async def label_pod(self, namespace: str, name: str, uid: str, labels: Mapping[str, str]) -> None:
        """Set these labels of the pod with this uid; gone already is fine."""


def object_path(resource: str, namespace: str, name: str = "", subresource: str = "") -> str:
    """URL path of an object or, without a name, of the collection. ApiError for a segment that would lead elsewhere."""
    for segment in (namespace, name):
        if segment and not SEGMENT.fullmatch(segment):
            raise ApiError(400, "InvalidName", f"{segment!r} is no name of an object")
    group, kind = resource.rsplit("/", 1)
    parts = [group] + (["namespaces", namespace] if namespace else []) + [kind]
    return "/" + "/".join(parts + [part for part in (name, subresource) if part])


def is_older(version: str, than: str) -> bool:
    """Whether a resourceVersion is older than another; those of one resource compare as numbers (KEP-5504)."""
    return version.isdecimal() and than.isdecimal() and int(version) < int(than)


def newer(one: str, other: str) -> str:
    """The newer of two resourceVersions; the other where nobody can say."""
    return one if is_older(other, one) or not other else other


def includes(read: str, version: str) -> bool:
    """Whether what was read at one resourceVersion has the change that made another; False where nobody can say."""
    return read.isdecimal() and version.isdecimal() and int(version) <= int(read)


class KubernetesCluster:
    """`Cluster` over the real API."""

    def __init__(
        self, connection: Connection, concurrency: int = 50, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """At most `concurrency` requests are under way at once; `clock` tells seconds."""
        self._connection, self._clock = connection, clock
        self._put_off: dict[tuple[str, str], tuple[float, ApiError]] = {}
        """Until when which requests are not to be repeated, and what was said then."""
        self._gate = asyncio.Semaphore(concurrency)
        self.requests: Counter[tuple[str, str]] = Counter()
        self.waiting = self.in_flight = 0
        self.answering = False
        """The last request was answered, whatever the answer."""
        self._own_versions: dict[str, None] = {}

    async def get(self, resource: str, namespace: str, name: str, not_before: str = "") -> Object | None:
        """See Cluster."""
        query = f"?{urlencode({'resourceVersion': not_before})}" if not_before else ""
        found = await self._or_none(self._send("GET", object_path(resource, namespace, name) + query))
        if found is not None:
            _metadata_of(found)
        return found

    async def get_metadata(self, resource: str, namespace: str, name: str) -> Object | None:
        """The object's metadata alone, its content stays where it is; None where it does not exist."""
        return await self._or_none(self._send("GET", object_path(resource, namespace, name), accept=METADATA))

    async def find(self, resource: str, namespace: str, selector: str, not_before: str = "") -> "Found":
        """See Cluster."""
        return await self._find(resource, namespace, {"labelSelector": selector} if selector else {}, not_before)

    async def find_since(self, resource: str, namespace: str, selector: str, version: str) -> "Found":
        """See Cluster."""
        query = {"labelSelector": selector, "resourceVersion": version, "resourceVersionMatch": "NotOlderThan"}
        return await self._find(resource, namespace, query, version)

    async def _find(self, resource: str, namespace: str, query: Mapping[str, str], not_before: str) -> "Found":
        """A stale list could make a settled pod look gone, and its bill be booked twice."""
        answer = await self._send("GET", f"{object_path(resource, namespace)}{'?' if query else ''}{urlencode(query)}")
        version = str(_metadata_of(answer).get("resourceVersion", ""))
        if not version:
            # A list of nothing from whoever answers in the apiserver's stead would be believed: all pods are gone.
            raise ApiError(NO_ANSWER, "NoAnswer", f"a list of {resource} that does not say of when it is")
        if is_older(version, not_before):
            raise ApiError(NO_ANSWER, STALE, f"a list of {resource} is older than the one before it")
        return Found(answer.get("items") or [], version)

    async def list_metadata(self, resource: str, namespace: str, selector: str) -> list[Object]:
        """See Cluster. In pages: that of eight thousand pods at once took 130 MB."""
        query = {"limit": str(PAGE)} | ({"labelSelector": selector} if selector else {})
        items: list[Object] = []
        while True:
            path = f"{object_path(resource, namespace)}?{urlencode(query)}"
            answer = await self._send("GET", path, accept=METADATA_LIST)
            for item in answer.get("items") or []:
                items.append({"metadata": {key: part for key, part in item["metadata"].items() if key not in LONG}})
            if not answer["metadata"].get("continue"):
                return items
            query["continue"] = answer["metadata"]["continue"]

    async def newest_version(self, resource: str, namespace: str) -> str:
        """The resourceVersion of a collection now."""
        answer = await self._send("GET", object_path(resource, namespace) + "?limit=1", accept=METADATA_LIST)
        return str(answer["metadata"]["resourceVersion"])

    async def watch_metadata(
        self, resource: str, namespace: str, selector: str, version: str
    ) -> AsyncIterator[tuple[str, Object]]:
        """Type and metadata of every change after `version`, bookmarks too, until the server ends the watch.

        ApiError 410 where `version` is too old to go on from.
        """
        query = {"watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": str(WATCH_SECONDS)}
        query |= {"labelSelector": selector, "resourceVersion": version}
        path = f"{object_path(resource, namespace)}?{urlencode(query)}"
        timeout = aiohttp.ClientTimeout(sock_connect=REQUEST_TIMEOUT_SECONDS, sock_read=SILENT_SECONDS)
        try:
            async with await self._connection.request("GET", path, None, METADATA, timeout) as answer:
                if answer.status != 200:
                    raise _error(answer.status, await answer.read())
                async for line in answer.content:
                    event = from_json(line)
                    if event["type"] == "ERROR":
                        raise _error(event["object"].get("code", 500), to_json(event["object"]))
                    yield event["type"], event["object"]["metadata"]
        except (OSError, TimeoutError, aiohttp.ClientError, ValueError, LookupError, TypeError) as error:
            # The last two: a line that is no event of a watch.
            raise ApiError(NO_ANSWER, "NoAnswer", f"{type(error).__name__} {error}") from error

    def is_own(self, version: str) -> bool:
        """Whether one of the last thousands of writes of this client made this resourceVersion."""
        return version in self._own_versions

    def forget_own(self) -> None:
        """etcd was restored from a backup: it gives the same versions to others' writes."""
        self._own_versions.clear()

    async def ping(self) -> bool:
        """Whether the apiserver answers at all; everybody may ask for its version."""
        try:
            await self._send("GET", "/version")
        except ApiError:
            return False
        return True

    async def create(self, resource: str, namespace: str, body: Object) -> Object:
        """See Cluster."""
        return await self._send("POST", object_path(resource, namespace), body)

    async def delete(self, resource: str, namespace: str, name: str, uid: str, grace_seconds: int | None) -> None:
        """See Cluster."""
        options: Object = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            **({"preconditions": {"uid": uid}} if uid else {}),
        }
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        path = object_path(resource, namespace, name)
        await self._unless_gone(self._send("DELETE", path, options), path, uid)

    async def replace(self, resource: str, namespace: str, name: str, body: Object, subresource: str = "") -> Object:
        """See Cluster."""
        custom = resource.startswith(f"apis/{API_VERSION}/")
        sent = _status_alone(body) if custom and subresource == "status" else body
        return await self._send("PUT", object_path(resource, namespace, name, subresource), sent)

    async def replace_finalizers(self, resource: str, seen: Mapping[str, Any], after: list[str]) -> Object | None:
        """See Cluster. The list itself is tested, not the resourceVersion: kubelets write statuses of pods meanwhile."""
        meta = seen["metadata"]
        path = object_path(resource, meta.get("namespace", ""), meta["name"])
        tests = {"/metadata/uid": meta["uid"], "/metadata/finalizers": meta.get("finalizers") or None}
        patch = [{"op": "test", "path": where, "value": value} for where, value in tests.items()]
        patch.append({"op": "add", "path": "/metadata/finalizers", "value": after})
        return await self._or_none(self._send("PATCH", path, patch))

    async def shorten_pod(self, namespace: str, name: str, uid: str, seconds: int) -> None:
        """See Cluster."""
        path = object_path("api/v1/pods", namespace, name)
        body = {"metadata": {"uid": uid}, "spec": {"activeDeadlineSeconds": seconds}}
        await self._unless_gone(self._send("PATCH", path, body), path, uid)

    async def label_pod(self, namespace: str, name: str, uid: str, labels: Mapping[str, str]) -> None:
        """See Cluster."""
        path = object_path("api/v1/pods", namespace, name)
        body = {"metadata": {"uid": uid, "labels": dict(labels)}}
        await self._unless_gone(self._send("PATCH", path, body), path, uid)

    async def close(self) -> None:
        """Close the connections."""
        await self._connection.close()

    async def _or_none(self, request: Any) -> Object | None:
        try:
            answer: Object = await request
        except ApiError as error:
            if error.code == 404:
                return None
            raise
        return answer

    async def _unless_gone(self, request: Any, path: str, uid: str) -> None:
        """What is gone needs nothing done. A 409 says that as well, where another object has taken the name."""
        try:
            await request
        except ApiError as error:
            if error.code != 404 and (error.code != 409 or not uid or await self._is_there(path, uid)):
                raise

    async def _is_there(self, path: str, uid: str) -> bool:
        found = await self._or_none(self._send("GET", path))
        return found is not None and found["metadata"]["uid"] == uid

    async def _send(
        self, method: str, path: str, body: Object | Sequence[Object] | None = None, accept: str = JSON
    ) -> Object:
        self._refuse_if_put_off(method, path)
        text, waited, pause = None if body is None else to_json(body), 0.0, 0.0
        for attempt in range(1, TRIES + 1):
            async with self._turn():
                status, headers, data = await self._once(method, path, text, accept)
            self.answering = status != NO_ANSWER and status < 500
            self.requests[(method, str(status))] += 1
            if status not in (RETRIED_READS if method == "GET" else RETRIED) or AHEAD.encode() in data:
                break
            pause = retry_after(headers, attempt)
            if attempt == TRIES or waited + pause > PATIENCE_SECONDS:
                break
            waited += pause
            await asyncio.sleep(pause)
        if 200 <= status < 300:
            answer = _object_of(data)
            if method != "GET":
                self._remember(answer.get("metadata", {}))
            return answer
        error = _error(status, data, pause if status in RETRIED else 0.0)
        if error.retry_after > PATIENCE_SECONDS:
            self._put_off[(method, path)] = self._clock() + error.retry_after, error
        raise error

    def _refuse_if_put_off(self, method: str, path: str) -> None:
        """Whoever asks sooner than the server wants has its answer of before."""
        if not self._put_off:
            return
        now = self._clock()
        self._put_off = {key: entry for key, entry in self._put_off.items() if now < entry[0]}
        if found := self._put_off.get((method, path)):
            until, error = found
            raise ApiError(error.code, error.reason, error.message, until - now)

    def _remember(self, metadata: Object) -> None:
        """A deletion that has no grace is left out: nobody else will change that object before we do."""
        if metadata.get("deletionGracePeriodSeconds") != 0:
            self._own_versions[str(metadata.get("resourceVersion", ""))] = None
        if len(self._own_versions) > REMEMBERED_WRITES:
            del self._own_versions[next(iter(self._own_versions))]

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """One of the requests that may be under way at once."""
        self.waiting += 1
        try:
            await self._gate.acquire()
        finally:
            self.waiting -= 1
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1
            self._gate.release()

    async def _once(self, method: str, path: str, body: bytes | None, accept: str) -> Answer:
        try:
            async with await self._connection.request(method, path, body, accept, REQUEST_TIMEOUT) as response:
                return response.status, response.headers, await response.read()
        except (OSError, TimeoutError, aiohttp.ClientError) as error:
            text = {"reason": "NoAnswer", "message": f"{type(error).__name__} {error}"}
            return NO_ANSWER, {}, to_json(text)


def is_ahead(error: ApiError) -> bool:
    """Whether a read asked for a resourceVersion that the apiserver does not have: not yet, or not any more."""
    return error.code == 504 and AHEAD in error.message


def retry_after(headers: Mapping[str, str], attempt: int) -> float:
    """Seconds until the next try: what the server asks for, else doubling from a quarter of a second; at most 30."""
    asked = {name.lower(): value for name, value in headers.items()}.get("retry-after", "")
    return min(float(asked) if asked.isdecimal() else 0.25 * 2 ** (attempt - 1), LONGEST_RETRY_AFTER)


def _status_alone(body: Object) -> Object:
    """What the apiserver reads of a custom resource whose status is written; the rest it takes from its own copy."""
    metadata = {key: value for key, value in body["metadata"].items() if key in IDENTITY}
    return {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": metadata, "status": body["status"]}


def _error(status: int, data: bytes, retry_after: float = 0.0) -> ApiError:
    """What an apiserver says against it, or whoever answers in its stead: a page, a word, nothing."""
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        answer = None
    told = answer if isinstance(answer, dict) else {}
    message = told.get("message") or plain(data[:200].decode(errors="replace"))
    return ApiError(status, str(told.get("reason") or ""), str(message), retry_after)


def _object_of(data: bytes) -> Object:
    """The object in an answer that says that all is well; ApiError 0 where there is none: somebody else has answered."""
    try:
        answer = from_json(data) if data else {}
    except ValueError:
        answer = None
    if isinstance(answer, dict):
        return answer
    raise ApiError(NO_ANSWER, "NoAnswer", f"the answer is no object: {plain(data[:200].decode(errors='replace'))}")


def _metadata_of(answer: Object) -> Object:
    """ApiError 0 where it has none, as all that an apiserver has."""
    found = answer.get("metadata")
    if isinstance(found, dict):
        return found
    raise ApiError(NO_ANSWER, "NoAnswer", f"the answer is no object: {plain(str(answer), 200)}")


async def connect() -> KubernetesCluster:
    """Client of the cluster that the operator runs in, else of the kubeconfig."""
    return KubernetesCluster(await connection.connect())
