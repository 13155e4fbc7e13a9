"""`python -m pytest tests/e2e/record_replays.py --timeout 3600`: twelve runs on the one-node cluster, recorded for the replays of forecasts.

Not part of any suite: it writes `tests/unit/operator/recordings`. What is run is fixed here, before anybody knows how it ends. A sample
is taken every two seconds of each job, its pods and the node, less what no forecast reads.
"""

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import tool
from tests.e2e.jobs import cluster, job
from tests.e2e.kube import NAMESPACE, apply, kubectl, pods, stage, status, wait
from tests.e2e.test_faults import kill_container
from tests.unit.operator.recorded import FOLDER, difference

Json = dict[str, Any]
EVERY_SECONDS = 2.0
AT_ONCE = 2
LONGEST_SECONDS = 900
MOST_MISSED = 5
NODE = "node-1"
"""What the node is called in recordings."""
CHOICES = {"task": "arc_easy", "dataFile": "benchmarks/choices.jsonl"}
SPOT = {
    "apiVersion": "llmtrain.dev/v1alpha1",
    "kind": "ComputePlan",
    "metadata": {"name": "h100-spot"},
    "spec": {
        "tenure": "Rented",
        "accelerator": {"product": "H100-SXM-80GB", "resourceName": "nvidia.com/gpu", "perNode": 8},
        "rented": {"commitment": "Spot", "acceleratorHourUsd": "1.60", "preemptionsPerAcceleratorHour": "0.5"},
        "placement": {"nodeSelector": {"accelerator": "h100"}, "disruption": "Allow"},
    },
}


def nothing(name: str) -> None:
    """The run is left alone."""


@dataclass(frozen=True)
class Run:
    """`changes` of the golden job; None takes a part of it away. `act`: what befalls it. `finds`: the run that curated its data."""

    name: str
    changes: Json
    act: Callable[[str], None] = nothing
    finds: str = ""

    def body(self) -> Json:
        """Its manifest. Workers ask for half a core: two jobs at once have so much on two cores."""
        given = {path: value for path, value in self.changes.items() if value is not None}
        found = job(self.name, training__optimizer=RATE, **given)
        for path in self.changes.keys() - given.keys():
            del found["spec"][path]
        for part in ("curation", "training", "evaluation"):
            if part in found["spec"]:
                found["spec"][part]["cluster"]["workers"]["cpu"] = "500m"
        return found


def trained(name: str) -> None:
    """Wait for the first steps."""
    wait(f"steps of {name}", lambda: (stage(name, "Training").get("progress") or {}).get("unit") == "tokens", 600)


def saved(name: str) -> None:
    """Wait for the first complete checkpoint that the operator knows."""
    wait(f"a checkpoint of {name}", lambda: stage(name, "Training").get("checkpoint"), 600)


def patch(name: str, spec: Json) -> None:
    kubectl("patch", "llmjob", name, "-n", NAMESPACE, "--type=merge", "-p", json.dumps({"spec": spec}))


def pod_named(name: str, part: str) -> Json:
    return next(one for one in pods(name) if part in one["metadata"]["name"])


def suspend_and_resume(name: str) -> None:
    saved(name)
    patch(name, {"suspend": True})
    wait(f"suspension of {name}", lambda: status(name).get("state") == "Suspended" and not pods(name), 180)
    time.sleep(10)
    patch(name, {"suspend": False})


def shrink_and_grow(name: str) -> None:
    """Two workers, then one, then two again."""
    trained(name)
    patch(name, {"training": {"cluster": {"workers": {"replicas": 1}}}})
    wait(f"a group of one in {name}", lambda: (stage(name, "Training").get("progress") or {}).get("group") == "0", 180)
    time.sleep(15)
    patch(name, {"training": {"cluster": {"workers": {"replicas": 2}}}})


def lose_a_worker(name: str) -> None:
    saved(name)
    kill_container(pod_named(name, "-w1-1"))


def lose_the_head(name: str) -> None:
    saved(name)
    kill_container(pod_named(name, "-head"))


def take_a_worker_back(name: str) -> None:
    """As the provider of a spot machine does, through the eviction API."""
    saved(name)
    pod = pod_named(name, "-w0-1")["metadata"]["name"]
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": NAMESPACE}}
    kubectl("create", "--raw", f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction", "-f", "-", text=json.dumps(body))


def lose_the_node(name: str) -> None:
    """Its kubelet and the job's containers die at once, and it is back once the operator has given the attempt up."""
    saved(name)
    found, attempt = pods(name), stage(name, "Training")["attempt"]
    record = Path(tool("hack/cluster", "kubeconfig").strip()).with_name("pids") / "kubelet.json"
    os.kill(json.loads(record.read_text())["pid"], signal.SIGKILL)
    for pod in found:
        with contextlib.suppress(subprocess.CalledProcessError):  # It may have ended of another's end.
            kill_container(pod)

    def given_up() -> bool:
        now = stage(name, "Training")
        return bool(now["state"] == "Stopping" or now["attempt"] != attempt)

    wait(f"the operator gives up the attempt of {name}", given_up, 400)
    tool("hack/cluster", "up")


TASKS = [
    {"name": "held-out", "perplexity": {}},
    *({"name": f"choices-{number}", **CHOICES, "seed": number, "limit": 60} for number in range(1, 6)),
]
DURING = {
    "everyTokens": 24_000,
    "planRef": {"name": "cpu"},
    "evaluators": {"cpu": "200m", "memory": "2Gi"},
    "tasks": ["held-out"],
}
RATE = {"peakLearningRate": "3e-3", "warmupTokens": 16_000}
OFTEN = {"interval": {"seconds": 8}}
ELASTIC = cluster("h100-rented", 2, 1)
ELASTIC["workers"] |= {"minReplicas": 1, "elasticWaitSeconds": 10}
RUNS = [
    Run("whole", {"training__tokens": 80_000}),
    Run(
        "curation",
        {
            "curation__tokenizer": {"train": {"vocabularySize": 6144}},
            "curation__cluster": cluster("cpu", 1),
            "training__tokens": 24_000,
            "evaluation": None,
        },
    ),
    Run(
        "owned",
        {
            "curation__tokenizer": {"train": {"vocabularySize": 3072}},
            "training__cluster": cluster("h100-owned", 2, 1),
            "training__tokens": 64_000,
            "evaluation__cluster": cluster("h100-owned", 1, 1),
        },
    ),
    Run("scored", {"training__tokens": 88_000, "evaluation__duringTraining": DURING}, finds="whole"),
    Run(
        "on-cpus",
        {"training__cluster": cluster("cpu", 2), "training__tokens": 96_000, "evaluation": None},
        finds="whole",
    ),
    Run("evaluation", {"training__tokens": 80_000, "evaluation__tasks": TASKS}, finds="whole"),
    Run("suspended", {"training__tokens": 96_000, "training__checkpoint": OFTEN}, suspend_and_resume, "whole"),
    Run(
        "elastic",
        {
            "training__cluster": ELASTIC,
            "training__tokens": 136_000,
            "training__checkpoint": OFTEN,
            "evaluation": None,
        },
        shrink_and_grow,
        "whole",
    ),
    Run("lost-worker", {"training__tokens": 108_000, "training__checkpoint": OFTEN}, lose_a_worker, "whole"),
    Run(
        "retried",
        {"training__tokens": 116_000, "training__checkpoint": OFTEN, "evaluation": None},
        lose_the_head,
        "whole",
    ),
    Run(
        "spot",
        {
            "training__cluster": cluster("h100-spot", 2, 1),
            "training__tokens": 124_000,
            "training__checkpoint": OFTEN,
            "evaluation": None,
        },
        take_a_worker_back,
        "whole",
    ),
]
ALONE = Run("lost-node", {"training__tokens": 92_000, "training__checkpoint": OFTEN}, lose_the_node, "whole")
"""Without others, whose node it is as well."""


@dataclass
class Sampler:
    """Looks at all jobs at once, and keeps what has changed of each."""

    samples: dict[str, list[tuple[str, Json]]] = field(default_factory=dict)
    missed: int = 0
    """Looks that the apiserver did not answer."""
    _end: threading.Event = field(default_factory=threading.Event)

    def follow(self) -> None:
        """Until it is closed."""
        began = time.monotonic()
        while not self._end.wait(max(0.0, began + EVERY_SECONDS - time.monotonic())):
            began = time.monotonic()
            try:
                self.look()
            except (AssertionError, subprocess.TimeoutExpired):
                self.missed += 1

    def look(self) -> None:
        """The time is that of the answer."""
        found = json.loads(kubectl("get", "llmjob,pods,nodes", "-n", NAMESPACE, "-o", "json"))["items"]
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        of_kind = {kind: [one for one in found if one["kind"] == kind] for kind in ("LLMTrainingJob", "Pod", "Node")}
        node = of_kind["Node"][0]
        for one in of_kind["LLMTrainingJob"]:
            name = one["metadata"]["name"]
            mine = [pod for pod in of_kind["Pod"] if pod["metadata"].get("labels", {}).get("llmtrain.dev/job") == name]
            seen = {
                "job": kept_job(one),
                "pods": {p["metadata"]["name"]: kept_pod(p) for p in mine},
                "node": kept_node(node),
            }
            self.samples.setdefault(name, []).append((now, seen))

    def close(self) -> None:
        self._end.set()


def some(body: Json, *keys: str) -> Json:
    """Those keys that it has."""
    return {key: body[key] for key in keys if key in body}


def kept_node(node: Json) -> Json:
    ready = next(one for one in node["status"]["conditions"] if one["type"] == "Ready")
    return {"ready": ready["status"] == "True", "since": ready["lastTransitionTime"]}


def kept_pod(pod: Json) -> Json:
    meta, told = pod["metadata"], pod.get("status", {})
    owners = [some(one, "uid", "controller") for one in meta.get("ownerReferences", [])]
    price = some(meta.get("annotations", {}), "llmtrain.dev/price")
    conditions = [some(one, "type", "status", "reason", "lastTransitionTime") for one in told.get("conditions", [])]
    bound = {"nodeName": NODE} if pod["spec"].get("nodeName") else {}
    return {
        "metadata": {
            **some(meta, "name", "namespace", "uid", "finalizers", "creationTimestamp"),
            **some(meta, "deletionTimestamp", "deletionGracePeriodSeconds"),
            "labels": {key: value for key, value in meta["labels"].items() if key.startswith("llmtrain.dev/")},
            "annotations": price,
            "ownerReferences": owners,
        },
        "spec": {**some(pod["spec"], "terminationGracePeriodSeconds"), **bound},
        "status": {
            **some(told, "phase", "reason", "startTime"),
            "conditions": conditions,
            "containerStatuses": [kept_container(one) for one in told.get("containerStatuses", [])],
        },
    }


def kept_container(told: Json) -> Json:
    state = {kind: some(how, "exitCode", "reason", "startedAt", "finishedAt") for kind, how in told["state"].items()}
    return {"name": told["name"], "ready": told["ready"], "state": state}


def kept_job(one: Json) -> Json:
    told, meta = one.get("status", {}), one["metadata"]
    ledger = told.get("ledger", {})
    marks = {mark["uid"]: mark for mark in ledger.get("highWater", [])}
    entries = [
        {key: value for key, value in entry.items() if key not in ("split", "costSplit")}
        for entry in ledger.get("entries", [])
    ]
    return {
        "metadata": some(meta, "name", "namespace", "uid", "generation", "creationTimestamp", "finalizers"),
        "spec": one["spec"],
        "status": {
            **some(told, "state", "observedGeneration", "completionTime"),
            "forecast": some(told.get("forecast", {}), "usd", "remainingHours"),
            "ledger": {
                **some(ledger, "settled", "totalMicroUsd", "costNowMicroUsd"),
                "entries": entries,
                "highWater": marks,
            },
            "stages": {stage["name"]: kept_stage(stage) for stage in told.get("stages", [])},
        },
    }


def kept_stage(told: Json) -> Json:
    said = some(told.get("progress", {}), "done", "total", "unit", "share", "tokensPerSecond", "workingSeconds",
                "redoneSeconds", "checkpointSeconds", "group")  # fmt: skip
    slots: Json = {
        key: [some(slot, "index", "incarnation") for slot in told[key]]
        for key in ("workers", "evaluators")
        if key in told
    }
    return {
        **some(told, "name", "state", "attempt", "failures", "infrastructureFailures", "workerFailures", "runSeconds"),
        **some(told, "share", "pace", "workedSeconds", "phases", "prices", "reused", "startTime", "attemptTime"),
        **some(told, "completionTime"),
        **slots,
        **({"progress": said} if "progress" in told else {}),
        **({"outcome": some(told["outcome"], "state", "reason", "retry")} if "outcome" in told else {}),
    }


def done(name: str) -> bool:
    """It is over, and every pod is billed."""
    told = status(name)
    return bool(told.get("completionTime")) and not pods(name) and not told.get("ledger", {}).get("highWater")


def carry_out(run: Run, others: dict[str, threading.Event]) -> None:
    """The run from its manifest to its bill."""
    try:
        assert not run.finds or others[run.finds].wait(LONGEST_SECONDS)
        apply(run.body())
        run.act(run.name)
        wait(f"end of {run.name}", lambda: done(run.name), LONGEST_SECONDS, 2.0)
        time.sleep(2 * EVERY_SECONDS)
    finally:
        others[run.name].set()


def write(run: Run, samples: list[tuple[str, Json]], plans: Json) -> None:
    """One line a look, what has changed since the one before."""
    before: Json = {}
    lines = []
    for now, seen in samples:
        lines.append(json.dumps([now, difference(before, seen)], separators=(",", ":"), sort_keys=True))
        before = seen
    while lines[-1].endswith(",{}]"):
        lines.pop()
    wanted = {name: plan for name, plan in plans.items() if f'"{name}"' in json.dumps(run.body())}
    head = json.dumps({"name": run.name, "plans": wanted}, separators=(",", ":"), sort_keys=True)
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{run.name}.jsonl").write_text("\n".join([head, *lines]) + "\n")


@pytest.fixture
def sampler(namespace: None) -> Iterator[Sampler]:
    one = Sampler()
    thread = threading.Thread(target=one.follow)
    thread.start()
    yield one
    one.close()
    thread.join(130)


def test_record(sampler: Sampler) -> None:
    apply(SPOT)
    found = json.loads(kubectl("get", "computeplans", "-o", "json"))["items"]
    plans = {
        one["metadata"]["name"]: {"metadata": some(one["metadata"], "name", "resourceVersion"), "spec": one["spec"]}
        for one in found
    }
    ends = {run.name: threading.Event() for run in [*RUNS, ALONE]}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = [pool.submit(carry_out, run, ends) for run in RUNS]
    for run in (one for one in RUNS if one.name in sampler.samples):
        write(run, sampler.samples[run.name], plans)
    carry_out(ALONE, ends)
    write(ALONE, sampler.samples[ALONE.name], plans)
    assert [one.exception() for one in waiting if one.exception()] == []
    assert sampler.missed <= MOST_MISSED
