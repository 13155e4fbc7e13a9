"""Requests straight to the apiserver: what `kubectl apply --dry-run=server` sends, without a process for each."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import urllib3

GROUP = "/apis/llmtrain.dev/v1alpha1"
PLURALS = {
    "LLMTrainingJob": "namespaces/{namespace}/llmtrainingjobs",
    "TrainingBudget": "namespaces/{namespace}/trainingbudgets",
    "ComputePlan": "computeplans",
}


class Direct:
    """One connection by the client certificate of a kubeconfig in JSON."""

    def __init__(self, kubeconfig: str) -> None:
        config = json.loads(Path(kubeconfig).read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._server = cluster["server"]
        self._pool = urllib3.PoolManager(
            ca_certs=cluster["certificate-authority"],
            cert_file=user["client-certificate"],
            key_file=user["client-key"],
            retries=False,
        )

    def refusal(self, body: dict[str, Any]) -> str:
        """What the apiserver says against an object of ours, created or in place of the one of its name; or nothing."""
        metadata = body["metadata"]
        path = f"{GROUP}/{PLURALS[body['kind']].format(namespace=metadata.get('namespace', 'default'))}"
        code, answer = self._send("POST", path, body)
        if code == 409:
            name = f"{path}/{metadata['name']}"
            _, stored = self._send("GET", name)
            version = {"resourceVersion": stored["metadata"]["resourceVersion"]}
            code, answer = self._send("PUT", name, body | {"metadata": metadata | version})
        assert code < 300 or code in (400, 422), answer
        return "" if code < 300 else str(answer["message"])

    def _send(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        query = "" if method == "GET" else "?dryRun=All&fieldValidation=Strict"
        answer = self._pool.request(method, f"{self._server}{path}{query}", json=body, timeout=30)
        return answer.status, answer.json()

    def events(self, path: str, version: str, seconds: int) -> Iterator[dict[str, Any]]:
        """What changed under a path after a resource version, for as long as said or until the apiserver ends it."""
        query = f"?watch=true&resourceVersion={version}&timeoutSeconds={seconds}"
        answer = self._pool.request("GET", f"{self._server}{path}{query}", preload_content=False, timeout=30 + seconds)
        assert answer.status == 200, answer.read()
        yield from map(json.loads, answer)
        answer.release_conn()

    def close(self) -> None:
        self._pool.clear()
