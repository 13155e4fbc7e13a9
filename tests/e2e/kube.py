"""kubectl as the tests use it."""

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

NAMESPACE = "llmtrain-e2e"


def kubectl(*arguments: str, text: str | None = None) -> str:
    done = subprocess.run(["kubectl", *arguments], input=text, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def refused(body: dict[str, Any]) -> str:
    """What kubectl says of a manifest that is refused."""
    done = subprocess.run(
        ["kubectl", "apply", "-f", "-"], input=json.dumps(body), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode != 0, "the manifest was accepted"
    return done.stderr


def apply(body: dict[str, Any]) -> None:
    kubectl("apply", "-f", "-", text=json.dumps(body))


def get(kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(kubectl("get", kind, name, "-n", NAMESPACE, "-o", "json"))
    return found


def status(name: str) -> dict[str, Any]:
    found: dict[str, Any] = get("llmjob", name).get("status", {})
    return found


def pods(name: str) -> list[dict[str, Any]]:
    text = kubectl("get", "pods", "-n", NAMESPACE, "-l", f"llmtrain.dev/job={name}", "-o", "json")
    items: list[dict[str, Any]] = json.loads(text)["items"]
    return items


def condition(name: str, kind: str) -> dict[str, Any]:
    return next((c for c in status(name).get("conditions", []) if c["type"] == kind), {})


def stage(name: str, which: str) -> dict[str, Any]:
    return next((s for s in status(name).get("stages", []) if s["name"] == which), {})


def wait(what: str, check: Callable[[], Any], seconds: float, every: float = 1.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = check()
        if answer:
            return answer
        time.sleep(every)
    raise AssertionError(f"{what} did not happen within {seconds} s")


def ended(name: str) -> bool:
    return status(name).get("state") in ("Succeeded", "Failed")


def wait_succeeded(name: str, seconds: float) -> None:
    wait(f"end of {name}", lambda: ended(name), seconds)
    assert status(name)["state"] == "Succeeded", json.dumps(status(name)["conditions"], indent=1)
