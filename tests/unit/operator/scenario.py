"""A job in the fake cluster, driven turn by turn."""

import json
from typing import Any

from llmtrain_operator.client import ApiError
from llmtrain_operator.memory import Memory
from llmtrain_operator.network import NO_POLICY
from llmtrain_operator.recent import PLANS
from llmtrain_operator.reconcile import JOBS, Outlook, Reconciler

from llmtrain.api.stageconfig import Result
from llmtrain.api.status import JobStatus, Stage
from tests.unit.operator.fake_cluster import Crash, FakeCluster, clone

CPU_PLAN = {"tenure": "Rented", "rented": {"cpuHourUsd": "0.031611", "memoryGibHourUsd": "0.004237"}}
GPU_PLAN = {
    "tenure": "Rented",
    "accelerator": {"product": "H100"},
    "rented": {"acceleratorHourUsd": "3.99", "minimumSeconds": 60},
}
ARTIFACTS = {Stage.CURATION: "c1", Stage.TRAINING: "t1", Stage.EVALUATION: "e1"}


def cluster(plan: str, workers: int, accelerators: int = 0) -> dict[str, Any]:
    group = {"replicas": workers, "acceleratorsPerWorker": accelerators, "cpu": "1", "memory": "4Gi"}
    return {"planRef": {"name": plan}, "head": {"cpu": "1", "memory": "2Gi"}, "workers": group}


def job_spec() -> dict[str, Any]:
    return {
        "storage": {"persistentVolumeClaim": {"claimName": "llm"}},
        "comparePlans": ["gpu"],
        "curation": {"cluster": cluster("cpu", 1), "sources": [{"name": "docs", "path": "docs/*.jsonl"}]},
        "model": {"preset": "tiny", "contextLength": 128},
        "training": {"cluster": cluster("gpu", 2, 1), "tokens": 1000000, "globalBatchTokens": 4096},
        "evaluation": {"cluster": cluster("gpu", 1, 1), "tasks": [{"name": "held-out", "perplexity": {}}]},
    }


class Scenario:
    def __init__(self, **spec: Any) -> None:
        self.cluster = FakeCluster()
        self.cluster.add(PLANS, {"metadata": {"name": "cpu"}, "spec": CPU_PLAN})
        self.cluster.add(PLANS, {"metadata": {"name": "gpu"}, "spec": GPU_PLAN})
        body = {"apiVersion": "llmtrain.dev/v1alpha1", "kind": "LLMTrainingJob", "spec": job_spec() | spec}
        self.cluster.add(JOBS, body | {"metadata": {"name": "gpt", "namespace": "team-a"}})
        ready = [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]
        self.cluster.add("api/v1/nodes", {"metadata": {"name": "node-1"}, "status": {"conditions": ready}})
        self.memory = Memory()
        self.left: dict[str, Any] = clone(self.job)
        """The job as the last turn left it; empty where it is gone."""
        self.network = NO_POLICY
        self.crashes = 0

    @property
    def job(self) -> dict[str, Any]:
        return self.cluster.objects[(JOBS, "team-a", "gpt")]

    @property
    def status(self) -> JobStatus:
        return JobStatus.model_validate(self.job.get("status") or {})

    @property
    def pods(self) -> list[str]:
        return sorted(pod["metadata"]["name"] for pod in self.cluster.of("api/v1/pods"))

    async def turn(self, times: int = 1) -> Outlook:
        """Turns of the operator; a crash restarts it with an empty memory."""
        outlook = Outlook(0)
        for _ in range(times):
            self._tell_of_job()
            reconciler = Reconciler(self.cluster, self.cluster.clock, "jobs:1", self.network)
            try:
                outlook = await reconciler.turn("team-a", "gpt", self.memory)
            except Crash:
                self.cluster.crash_at, self.cluster.crashed = None, False
                self.memory, self.crashes = Memory(), self.crashes + 1
            except ApiError as error:
                if error.code != 409:
                    raise
            finally:
                self.left = clone(self.cluster.objects.get((JOBS, "team-a", "gpt"), {}))
        return outlook

    def _tell_of_job(self) -> None:
        """As the watch does of what a test has changed."""
        job = self.cluster.objects.get((JOBS, "team-a", "gpt"))
        if job is not None and job != self.left:
            if self.left and job["spec"] != self.left["spec"]:
                job["metadata"]["generation"] += 1
            job["metadata"]["resourceVersion"] = version = str(next(self.cluster._numbers))
            self.memory.job.hear(version, clone(job))
            self.memory.job.has_news()

    async def until_pods(self) -> None:
        """Turns, a second apart, until the current stage has pods."""
        while not self.pods:
            await self.turn()
            self.cluster.tick(1)

    async def run_pods(self) -> None:
        """The current stage has its pods, and they run."""
        await self.until_pods()
        await self.turn(2)
        for name in self.pods:
            self.cluster.run_pod(name)
        await self.turn(2)

    async def run_stage(self, seconds: int = 100) -> None:
        """Let the current stage start, work and end well, and its cluster go."""
        await self.run_pods()
        self.cluster.tick(seconds)
        self.end_head()
        await self.drain()

    async def until_training(self) -> None:
        """Preflight and curation end well; the training has its pods, and nobody has placed them."""
        await self.run_stage()
        await self.run_stage()
        await self.until_pods()
        await self.turn(2)

    async def run_training(self, seconds: int) -> None:
        """The same, and its pods have run for so long."""
        await self.until_training()
        for name in self.pods:
            self.cluster.run_pod(name)
        await self.turn(2)
        self.cluster.tick(seconds)
        await self.turn()

    def end_head(self) -> None:
        head = next(name for name in self.pods if name.endswith("head"))
        stage = Stage(self.cluster.pod(head)["metadata"]["labels"]["llmtrain.dev/stage"])
        result = Result(outcome="Succeeded", artifact=ARTIFACTS.get(stage, ""), working_seconds=50)
        self.cluster.end_pod(head, 0, json.dumps(result.to_dict()))

    async def drain(self) -> None:
        """Turns, and a kubelet that ends pods a second after they are asked to stop."""
        for _ in range(40):
            await self.drain_step()
            if not self.pods and self.status.state != "Stopping":
                return

    async def drain_step(self) -> None:
        """One turn and one second."""
        await self.turn()
        self.cluster.tick(1)
        for pod in self.cluster.of("api/v1/pods"):
            if "deletionTimestamp" in pod["metadata"] and pod["status"].get("phase") == "Running":
                self.cluster.end_pod(pod["metadata"]["name"], 75)


def recorded_micro_usd(cluster: FakeCluster) -> int:
    """What all pods cost, by the rule in its own few lines: scheduled to finished, increment, minimum, price of the annotation."""
    from datetime import datetime
    from fractions import Fraction

    total = 0
    for pod in cluster.final_pods.values():
        price = json.loads(pod["metadata"]["annotations"]["llmtrain.dev/price"])
        conditions = [c for c in pod["status"].get("conditions", []) if c["type"] == "PodScheduled"]
        if not conditions or conditions[0].get("status") != "True":
            continue
        begin = datetime.fromisoformat(conditions[0]["lastTransitionTime"])
        told = [*pod["status"].get("initContainerStatuses", []), *pod["status"]["containerStatuses"]]
        end = max(datetime.fromisoformat(one["state"]["terminated"]["finishedAt"]) for one in told)
        seconds = int((end - begin).total_seconds())
        whole = -(-seconds // price["incrementSeconds"]) * price["incrementSeconds"]
        billed = max(whole, price["minimumSeconds"]) if seconds else 0
        total += round(Fraction(billed * price["microUsdPerHour"], 3600))
    return total
