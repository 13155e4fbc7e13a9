"""The main job on the real node: every stage on a cluster of its own, a bill that is exact, a model that learnt."""

import json
import subprocess
import time
from datetime import datetime
from typing import Any

import pytest

from tests.e2e.jobs import job
from tests.e2e.kube import apply, kubectl, pods, stage, status, wait, wait_succeeded
from tests.e2e.recorder import Recorder, span

NAME = "golden"


@pytest.fixture(scope="module")
def finished(recorder: Recorder) -> dict[str, Any]:
    apply(job(NAME))
    wait_succeeded(NAME, 900)
    wait("last pod gone", lambda: not pods(NAME), 30)
    time.sleep(2)
    return status(NAME)


def test_every_stage_ran_once_on_a_cluster_of_its_own(finished: dict[str, Any], recorder: Recorder) -> None:
    assert [s["attempt"] for s in finished["stages"]] == [1, 1, 1, 1]
    assert NAME not in recorder.together
    gpus = [p for p in recorder.pods(NAME) if "nvidia.com/gpu" in p["spec"]["containers"][0]["resources"]["requests"]]
    assert len(gpus) == 3


def test_the_ledger_is_the_recorders_sum_to_the_microdollar(finished: dict[str, Any], recorder: Recorder) -> None:
    assert finished["ledger"]["totalMicroUsd"] == recorder.micro_usd(NAME) > 0
    assert sum(e["pods"] for e in finished["ledger"]["entries"]) == len(recorder.pods(NAME))
    assert finished["ledger"]["highWater"] == []


def test_the_counters_are_the_ledger(finished: dict[str, Any]) -> None:
    service = "/api/v1/namespaces/llmtrain-system/services/llmtrain-operator:metrics/proxy/metrics"
    text = kubectl("get", "--raw", service)
    mine = [
        line
        for line in text.splitlines()
        if line.startswith("llmtrain_job_cost_usd_total{") and f'name="{NAME}"' in line
    ]
    micro = sum(round(float(line.rsplit(" ", 1)[1]) * 1_000_000) for line in mine)
    assert micro == finished["ledger"]["totalMicroUsd"]


def test_pods_are_billed_for_what_the_container_runtime_saw(finished: dict[str, Any], recorder: Recorder) -> None:
    """The kubelet's finishedAt is the runtime's; the span may exceed the container's own run by its start alone."""
    for pod in recorder.pods(NAME):
        times = span(pod)
        assert times
        ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
        ran = datetime.fromisoformat(ended["finishedAt"]) - datetime.fromisoformat(ended["startedAt"])
        assert 0 <= (times[1] - times[0]).total_seconds() - ran.total_seconds() <= 5


def test_the_model_beats_a_unigram_model_on_held_out_text(finished: dict[str, Any]) -> None:
    scores = stage(NAME, "Evaluation")["scores"]
    assert float(scores["held-out/bits_per_byte"]) < float(scores["held-out/unigram_bits_per_byte"])
    assert 0 <= float(scores["choices/acc"]) <= 1


def test_nothing_is_left_but_the_job(finished: dict[str, Any]) -> None:
    selector = f"llmtrain.dev/job={NAME}"
    left = kubectl("get", "pods,services,secrets,configmaps", "-n", "llmtrain-e2e", "-l", selector, "-o", "name")
    assert left.split() == []


def test_the_command_line_shows_the_bill(finished: dict[str, Any]) -> None:
    done = subprocess.run(
        ["llmtrain", "status", NAME, "-n", "llmtrain-e2e"], capture_output=True, text=True, check=True
    )
    assert finished["ledger"]["costUsd"] in done.stdout
    assert "h100-owned" in done.stdout


def test_a_second_job_with_the_same_curation_pays_for_preflight_only(
    finished: dict[str, Any], recorder: Recorder
) -> None:
    apply(job("second", training__tokens=700000))
    wait("training of the second job", lambda: stage("second", "Training").get("attempt") == 1, 90)
    assert stage("second", "Curation")["reused"] is True
    stages = {p["metadata"]["labels"]["llmtrain.dev/stage"] for p in recorder.pods("second")} - {"Training"}
    assert stages == {"Preflight"}
    kubectl("delete", "llmjob", "second", "-n", "llmtrain-e2e", "--timeout=90s")
    text = json.loads(kubectl("get", "configmap", "llmtrain-ledger", "-n", "llmtrain-e2e", "-o", "json"))["data"][
        "ledger.json"
    ]
    booked = sum(total["costMicroUsd"] for total in json.loads(text)["totals"])
    assert booked == recorder.micro_usd("second")
