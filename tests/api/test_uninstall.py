"""What `helm uninstall` runs first, by real Helm on the real apiserver, with the rights that the chart gives it.

There is no kubelet here: the test runs the hook's command itself, as the hook's account, and says that its Job is done.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.api.conftest import Api
from tests.api.programs import CHART, folder, run
from tests.unit.operator.scenario import job_spec

pytestmark = pytest.mark.timeout(180)


def values(namespace: str) -> list[str]:
    """This release looks after its own namespace alone: other tests have jobs on the same apiserver."""
    return ["--set", "crds.enabled=false", "--set", f"watchNamespaces={{{namespace}}}"]


def operator(namespace: str) -> str:
    """Name of the Deployment; releases are called as their namespaces are."""
    return f"{namespace}-operator"


def hook_of(namespace: str) -> str:
    """Name of the hook's Job and account."""
    return f"{namespace}-operator-uninstall"


def apply_all(api: Api, rendered: str) -> None:
    """What a user pipes into kubectl, less the chart's test, whose Pod nobody runs."""
    items = [body for body in yaml.safe_load_all(rendered) if body and body["kind"] != "Pod"]
    api.apply({"apiVersion": "v1", "kind": "List", "items": items})


def a_job(api: Api, namespace: str) -> None:
    """One that its operator holds."""
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    metadata = {"name": "held", "namespace": namespace, "finalizers": ["llmtrain.dev/ledger"]}
    api.apply(
        {"apiVersion": "llmtrain.dev/v1alpha1", "kind": "LLMTrainingJob", "metadata": metadata, "spec": job_spec()}
    )


def state(api: Api, namespace: str) -> tuple[bool, bool, int]:
    """Suspended, held by its finalizer; replicas of the operator."""
    job = api.get("llmjob", "held", "-n", namespace)
    replicas = int(api.get("deployment", operator(namespace), "-n", namespace)["spec"]["replicas"])
    return bool(job["spec"].get("suspend")), bool(job["metadata"].get("finalizers")), replicas


UNTOUCHED, TAKEN_DOWN = (False, True, 1), (True, False, 0)


def hook(api: Api, namespace: str, where: Path) -> "subprocess.CompletedProcess[str]":
    """The command of the hook's Job with its environment, as its account."""
    (container,) = api.get("job", hook_of(namespace), "-n", namespace)["spec"]["template"]["spec"]["containers"]
    token = api.run("create", "token", hook_of(namespace), "-n", namespace).stdout.strip()
    config: dict[str, Any] = yaml.safe_load(Path(api.kubeconfig).read_text())
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    file = where / "hook.kubeconfig"
    file.write_text(json.dumps(config))
    said = {each["name"]: each.get("value", "") for each in container["env"]}
    command = [sys.executable, *container["command"][1:]]
    environment = os.environ | said | {"KUBECONFIG": str(file)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_the_chart_applied_by_hand_takes_nothing_down(api: Api, tmp_path: Path) -> None:
    """`helm template | kubectl apply`: the hook becomes an ordinary Job with all its rights."""
    namespace = "by-hand"
    a_job(api, namespace)
    parts = ["-s", "templates/uninstall.yaml", "-s", "templates/deployment.yaml"]
    apply_all(api, run("helm", "template", namespace, str(CHART), "-n", namespace, *parts, *values(namespace)).stdout)
    done = hook(api, namespace, tmp_path)
    assert done.returncode == 1
    assert "no record of a release `by-hand` in namespace `by-hand`" in done.stderr, done.stderr
    assert state(api, namespace) == UNTOUCHED


def test_helm_takes_it_down_and_nobody_else_does(api: Api, tmp_path: Path) -> None:
    """By Helm 3; tests/e2e does it with Helm 4, where a kubelet runs the hook."""
    namespace, helm = "by-helm", "helm3"
    a_job(api, namespace)
    space = ["-n", namespace, "--kubeconfig", api.kubeconfig]
    done = run(helm, "install", namespace, str(CHART), *values(namespace), *space)
    assert done.returncode == 0, done.stderr
    command = [os.path.join(folder(), helm), "uninstall", namespace, *space, "--timeout", "60s"]
    apply_all(api, run(helm, "get", "hooks", namespace, *space).stdout)
    refused = hook(api, namespace, tmp_path)
    assert refused.returncode == 1
    assert f"release `{namespace}` in namespace" in refused.stderr
    assert "is 'deployed' for Helm" in refused.stderr
    assert state(api, namespace) == UNTOUCHED
    api.run("delete", "job", hook_of(namespace), "-n", namespace)

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as uninstalling:
        end = time.monotonic() + 30
        while api.run("get", "job", hook_of(namespace), "-n", namespace).returncode and time.monotonic() < end:
            time.sleep(0.1)
        taken = hook(api, namespace, tmp_path)
        assert taken.returncode == 0, taken.stderr
        assert state(api, namespace) == TAKEN_DOWN
        completed(api, namespace)
        words, _ = uninstalling.communicate(timeout=60)
    assert uninstalling.returncode == 0, words
    assert api.run("get", "deployment", operator(namespace), "-n", namespace).returncode == 1
    left = api.get("serviceaccount,role,rolebinding", "-n", namespace)["items"]
    assert [body["metadata"]["name"] for body in left if body["metadata"]["name"].startswith(namespace)] == []


def completed(api: Api, namespace: str) -> None:
    """What the Job's controller would say."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    both = [{"type": kind, "status": "True", "lastTransitionTime": now} for kind in ("SuccessCriteriaMet", "Complete")]
    status = {"status": {"startTime": now, "completionTime": now, "succeeded": 1, "conditions": both}}
    done = api.run(
        "patch",
        "job",
        hook_of(namespace),
        "-n",
        namespace,
        "--subresource=status",
        "--type=merge",
        "-p",
        json.dumps(status),
    )
    assert done.returncode == 0, done.stderr
