"""The commands as a person uses them, over a kubectl that says what it is told to say."""

import io
import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from llmtrain.api.status import JobStatus
from llmtrain.cli import inside, jobs
from llmtrain.cli.live import View, draw, span, view_of
from llmtrain.cli.main import app
from tests.unit.report.job import finished, running

NOW = datetime(2026, 3, 1, 12, 5, tzinfo=UTC)


class Kubectl:
    """A program of that name on the PATH; it logs its arguments and answers from files, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        script = f"""#!/bin/sh
echo "$@" >> {folder}/calls
n=$(wc -l < {folder}/calls | tr -d ' ')
[ -f {folder}/error ] && {{ cat {folder}/error >&2; exit 1; }}
[ -f {folder}/answer-$n ] && cat {folder}/answer-$n || cat {folder}/answer
"""
        (folder / "kubectl").write_text(script)
        (folder / "kubectl").chmod(0o755)

    def says(self, body: Any, call: int | None = None) -> None:
        name = "answer" if call is None else f"answer-{call}"
        (self.folder / name).write_text(body if isinstance(body, str) else json.dumps(body))

    def fails(self, text: str) -> None:
        (self.folder / "error").write_text(text)

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kubectl:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(jobs, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(inside, "LOOK_SECONDS", 0.0)
    return Kubectl(tmp_path)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def test_submit_applies_and_says_how_to_follow(kubectl: Kubectl, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(
        "kind: ComputePlan\nmetadata: {name: p}\n---\nkind: LLMTrainingJob\nmetadata: {name: docs-gpt, namespace: team-a}\n"
    )
    kubectl.says("llmtrainingjob.llmtrain.dev/docs-gpt created\n")
    done = run("submit", str(file))
    assert done.exit_code == 0
    assert "llmtrain watch docs-gpt -n team-a" in done.stdout
    assert kubectl.calls == [f"apply -f {file}"]


def test_what_kubectl_refuses_is_one_line_and_an_exit_code(kubectl: Kubectl, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("kind: LLMTrainingJob\nmetadata: {name: a}\n")
    kubectl.fails("spec.training.tokens: Invalid value: 0")
    done = run("submit", str(file))
    assert (done.exit_code, done.stderr) == (1, "error: spec.training.tokens: Invalid value: 0\n")


def test_a_manifest_that_is_no_yaml_is_named(kubectl: Kubectl, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("kind: [")
    done = run("submit", str(file))
    assert done.exit_code == 1
    assert f"{file} is no YAML" in done.stderr


def test_without_kubectl_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run("status", "docs-gpt")
    assert done.exit_code == 1
    assert "kubectl is not on the PATH" in done.stderr


def test_list_shows_stage_cost_and_budget(kubectl: Kubectl) -> None:
    kubectl.says({"items": [finished(), running()]})
    done = run("list", "-A")
    assert re.search(r"team-a +docs-gpt +Training +Running +2 +\$0.267358 +\$0.267358 +\$0.29 +\$40.00", done.stdout)
    kubectl.says({"items": []})
    assert "no jobs" in run("list").stdout


def test_watch_into_a_pipe_writes_a_line_a_change_and_ends_with_the_bill(kubectl: Kubectl) -> None:
    kubectl.says(running(), 1)
    kubectl.says(running(), 2)
    kubectl.says(finished())
    done = run("watch", "docs-gpt", "-n", "team-a")
    assert done.exit_code == 0
    assert done.stdout.count("600000/1000000 tokens") == 1
    assert "0.267358" in done.stdout
    assert set(kubectl.calls) == {"get llmjob docs-gpt -n team-a -o json"}


def test_watch_says_by_its_exit_code_how_the_job_ended(kubectl: Kubectl) -> None:
    failed = finished()
    failed["status"]["state"] = "Failed"
    kubectl.says(failed)
    assert run("watch", "docs-gpt").exit_code == 1
    kubectl.says(running())
    done = run("watch", "docs-gpt", "--timeout", "0")
    assert (done.exit_code, "did not end within 0 s" in done.stderr) == (2, True)


def test_suspend_and_resume_patch_the_spec(kubectl: Kubectl) -> None:
    kubectl.says("patched")
    assert "pods go" in run("suspend", "docs-gpt", "-n", "a").stdout
    assert "goes on" in run("resume", "docs-gpt", "-n", "a").stdout
    assert kubectl.calls == [
        f'patch llmjob docs-gpt -n a --type=merge -p {{"spec": {{"suspend": {value}}}}}' for value in ("true", "false")
    ]


def test_logs_are_the_newest_head_of_the_current_stage(kubectl: Kubectl) -> None:
    pods = [
        {"metadata": {"name": f"docs-gpt-trn-{n}-head", "creationTimestamp": f"2026-03-01T12:0{n}:00Z"}} for n in (1, 2)
    ]
    kubectl.says(running(), 1)
    kubectl.says({"items": pods}, 2)
    kubectl.says("a line of the log\n")
    assert run("logs", "docs-gpt", "-n", "team-a").exit_code == 0
    assert "llmtrain.dev/stage=Training,llmtrain.dev/role=head" in kubectl.calls[1]
    assert kubectl.calls[2] == "logs docs-gpt-trn-2-head -c stage -n team-a"


def test_logs_of_pods_that_are_gone_say_where_to_look(kubectl: Kubectl) -> None:
    kubectl.says({"items": []})
    done = run("logs", "docs-gpt", "--stage", "Curation", "--worker", "1")
    assert done.exit_code == 1
    assert "llmtrain status docs-gpt" in done.stderr
    assert "role=worker,llmtrain.dev/index=1" in kubectl.calls[0]


def test_a_stage_is_known_however_it_is_written_and_another_is_refused(kubectl: Kubectl) -> None:
    kubectl.says({"items": []})
    run("logs", "docs-gpt", "--stage", "curation")
    assert "llmtrain.dev/stage=Curation" in kubectl.calls[0]
    done = run("logs", "docs-gpt", "--stage", "train")
    assert (done.exit_code, len(kubectl.calls)) == (1, 1)
    assert "`train` is no stage; there are: Preflight, Curation, Training, Evaluation" in done.stderr


def test_report_writes_the_page(kubectl: Kubectl, tmp_path: Path) -> None:
    kubectl.says(finished())
    out = tmp_path / "page.html"
    done = run("report", "docs-gpt", "-o", str(out), "--artifacts", str(tmp_path))
    assert done.exit_code == 0, done.output
    assert "$0.267358" in out.read_text()


NAMED = {"metadata": {"name": "docs-gpt-report-x1"}}
ARTIFACTS = {
    "losses": [{"step": n, "tokens": n, "loss": 4.5 / n} for n in (1, 2)],
    "documents": {"read": 3},
    "counts": {},
    "record": {},
    "missing": [],
}


def of_report_pod(kubectl: Kubectl, code: int, logs: str) -> None:
    """Its container ends; a proxy that somebody put beside it runs on, so that the pod's phase stays Running."""
    job = finished()
    job["status"]["stages"][-1]["image"] = "llmtrain/jobs:7"
    proxy = {"name": "istio-proxy", "state": {"running": {}}}
    own = {"name": "report", "state": {"terminated": {"exitCode": code}}}
    ended = {"phase": "Running", "containerStatuses": [proxy, own]}
    for call, body in enumerate((job, NAMED, {"status": {"phase": "Pending"}}, {"status": ended}, logs), start=1):
        kubectl.says(body, call)
    kubectl.says("deleted")
    kubectl.says({"items": []}, 7)


def test_a_pod_beside_the_storage_reads_what_this_machine_cannot_and_is_gone_afterwards(
    kubectl: Kubectl, tmp_path: Path
) -> None:
    of_report_pod(kubectl, 0, f"trying again in 2 s\n{json.dumps(ARTIFACTS)}\n")
    out = tmp_path / "page.html"
    done = run("report", "docs-gpt", "-n", "team-a", "-o", str(out), "--artifacts", "pod")
    assert done.exit_code == 0, done.output
    assert "last loss 2.2500" in out.read_text()
    assert kubectl.calls[1] == "create -f - -o json -n team-a"
    assert kubectl.calls[5] == "delete pod docs-gpt-report-x1 -n team-a --wait=false --ignore-not-found"
    assert kubectl.calls[6:] == ["get llmjob -l llmtrain.dev/ladder=docs-gpt -n team-a -o json"]


def test_a_report_pod_that_fails_says_its_own_words_and_is_gone(kubectl: Kubectl, tmp_path: Path) -> None:
    of_report_pod(kubectl, 1, "spec.storage.s3.bucket `llm`: denied")
    done = run("report", "docs-gpt", "-o", str(tmp_path / "page.html"), "--artifacts", "pod")
    assert done.exit_code == 1
    assert "bucket `llm`: denied" in done.stderr
    assert kubectl.calls[-1].startswith("delete pod")
    assert not (tmp_path / "page.html").exists()


def test_a_report_pod_is_restricted_and_reads_only() -> None:
    body = inside.pod(finished(), JobStatus.model_validate(finished()["status"]), "llmtrain/jobs:7")["spec"]
    container = body["containers"][0]
    assert (body["securityContext"]["runAsNonRoot"], container["securityContext"]["capabilities"]) == (
        True,
        {"drop": ["ALL"]},
    )
    storage = next(mount for mount in container["volumeMounts"] if mount["name"] == "storage")
    assert storage["readOnly"] is True
    assert body["automountServiceAccountToken"] is False
    assert body["activeDeadlineSeconds"] == 300


def test_no_sidecar_keeps_a_report_pod_from_ending() -> None:
    metadata = inside.pod(finished(), JobStatus.model_validate(finished()["status"]), "llmtrain/jobs:7")["metadata"]
    assert metadata["labels"]["sidecar.istio.io/inject"] == "false"
    assert metadata["annotations"]["linkerd.io/inject"] == "disabled"


def test_why_a_report_pod_does_not_start_is_told() -> None:
    waiting = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    unplaced = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}
    told = inside.why_not({"containerStatuses": [waiting], "conditions": [unplaced]})
    assert "ImagePullBackOff: no such image" in told
    assert "0/1 nodes are available" in told


def test_every_command_has_an_example_in_its_help() -> None:
    for command in ("submit", "list", "status", "watch", "logs", "suspend", "resume", "report", "corpus"):
        text = run(command, "--help").stdout
        assert f"llmtrain {command}" in text, command


def test_the_shell_completes_names_of_jobs(kubectl: Kubectl) -> None:
    kubectl.says({"items": [finished()]})
    assert jobs.names_that_begin_with("do", "llmjob") == ["docs-gpt"]
    assert jobs.names_that_begin_with("x", "llmjob") == []
    kubectl.fails("no cluster")
    assert jobs.names_that_begin_with("do", "llmjob") == []


def drawn(job: dict[str, Any], now: datetime = NOW) -> str:
    return drawn_view(view_of(job, now, None), now)


def drawn_view(view: View, now: datetime = NOW) -> str:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(draw(view, now))
    return console.export_text()


def test_a_frame_shows_progress_cost_and_the_time_left() -> None:
    frame = drawn(running())
    money = "cost $0.2674 of $40.00, cost now $0.2674, forecast $0.29  $7.98/h"
    assert f"team-a/docs-gpt  {money}  2 GPUs  stage done in 3m20s" in frame
    assert re.search(r"Training +Running +[━╸╺ ]+ +600,000/1,000,000 tokens +3m00s +\$0.2660", frame)
    assert "Training: loss 3.21  tok/s 2000" in frame
    assert re.search(r"Curation +Succeeded", frame)


def test_a_frame_says_what_is_waited_for_and_what_it_costs() -> None:
    job = running()
    job["status"]["waiting"] = {"reason": "Unschedulable", "message": "Insufficient nvidia.com/gpu", "since": "2026-03-01T12:00:00Z",
                                "heldMicroUsd": 1500000}  # fmt: skip
    assert "waiting: Unschedulable: Insufficient nvidia.com/gpu, $1.5000 for pods held" in drawn(job)


def test_cost_now_ticks_between_two_writes_and_says_why_it_falls() -> None:
    """Training's worker: 266,000 microdollars in 120 s, so 2,216.67 a second. The cost does not tick, so it never falls."""
    first = view_of(running(), NOW, None)
    assert first.cost_now(NOW) == 267358
    same = view_of(running(), NOW + timedelta(seconds=10), first)
    assert same.cost_now(NOW + timedelta(seconds=12)) == 267358 + 26600
    later = running()
    later["status"]["ledger"]["totalMicroUsd"] += 20000
    third = view_of(later, NOW + timedelta(seconds=14), same)
    assert third.cost_now(NOW + timedelta(seconds=14)) == 287358
    assert third.correction == "0.0110 USD less: pods had ended before this was counted"
    assert third.correction in drawn_view(third)
    over = view_of(finished(), NOW + timedelta(seconds=20), third)
    assert over.cost_now(NOW + timedelta(hours=1)) == 267358


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "5s"), (200, "3m20s"), (7500, "2h05m"), (270000, "3d3h"), (-1, "0s")]
)
def test_durations_are_short(seconds: int, text: str) -> None:
    assert span(seconds) == text
