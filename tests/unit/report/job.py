"""A finished job as the API has it, with amounts that were worked out by hand."""

from typing import Any


def entry(stage: str, role: str, plan: str, seconds: int, accelerators: int, micro: int) -> dict[str, Any]:
    return {"stage": stage, "role": role, "plan": plan, "tenure": "Rented", "pods": 1, "podSeconds": seconds,
            "billedSeconds": seconds, "split": {"starting": 20, "working": seconds - 20}, "energyJoules": 720000 * accelerators,
            "acceleratorSeconds": seconds * accelerators, "costMicroUsd": micro}  # fmt: skip


# 120 s x 2 GPUs x 3.99 USD/h = 0.266; 100 s of a CPU pod at 0.0489 USD/h = 0.001358 (half to even).
ENTRIES = [
    entry("Curation", "head", "cpu", 100, 0, 1358),
    entry("Training", "worker", "h100-rented", 120, 2, 266000),
]


def stage(name: str, **more: Any) -> dict[str, Any]:
    times = {"startTime": "2026-03-01T12:00:00Z", "completionTime": "2026-03-01T12:02:00Z"}
    return {"name": name, "state": "Succeeded", "attempt": 1, **times, **more}


def finished() -> dict[str, Any]:
    status = {
        "stage": "Evaluation",
        "state": "Succeeded",
        "stages": [
            stage("Preflight"),
            stage("Curation", artifact="c1", scores={"train_tokens": "4000"}),
            stage("Training", artifact="t1", scores={"loss": "2.5"}),
            stage("Evaluation", artifact="e1", scores={"held-out/bits_per_byte": "1.9"}),
        ],
        "ledger": {"entries": ENTRIES, "totalMicroUsd": 267358, "costUsd": "0.267358", "goodput": "0.833"},
        "estimate": {"usd": {"p10": "0.20", "p50": "0.31", "p90": "0.55"}},
        "forecast": {"usd": {"p10": "0.27", "p50": "0.29", "p90": "0.33"}},
        "comparison": [{"plan": "h100-owned", "tenure": "Owned", "usdPerAcceleratorHour": "1.80", "costUsd": "0.12"}],
        "conditions": [{"type": "Succeeded", "status": "True", "reason": "Completed", "message": "every stage is done",
                        "lastTransitionTime": "2026-03-01T12:10:00Z"}],
    }  # fmt: skip
    spec = {"seed": 1234, "storage": {"persistentVolumeClaim": {"claimName": "llm"}}, "budget": {"limitUsd": "40.00"}}
    metadata = {"name": "docs-gpt", "namespace": "team-a", "uid": "u1", "creationTimestamp": "2026-03-01T12:00:00Z"}
    return {"metadata": metadata, "spec": spec, "status": status}


def running() -> dict[str, Any]:
    """The same job in the middle of training."""
    job = finished()
    job["status"] |= {"stage": "Training", "state": "Running", "accelerators": 2, "etaSeconds": 200}
    progress = {"done": 600000, "total": 1000000, "unit": "tokens", "loss": "3.21", "tokensPerSecond": "2000"}
    training = {
        "name": "Training",
        "state": "Running",
        "attempt": 1,
        "startTime": "2026-03-01T12:02:00Z",
        "progress": progress,
    }
    job["status"]["stages"] = [*job["status"]["stages"][:2], training, {"name": "Evaluation", "state": "Pending"}]
    mark = {
        "uid": "p1",
        **{k: v for k, v in ENTRIES[1].items() if k != "pods"},
        "microUsdPerHour": 7980000,
        "aliveSeconds": 120,
    }
    job["status"]["ledger"] |= {"entries": ENTRIES[:1], "highWater": [mark], "burnMicroUsdPerHour": 7980000}
    job["status"]["conditions"] = []
    return job
