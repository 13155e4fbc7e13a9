"""What a person does with jobs: submit, list, status, watch, logs, suspend, resume, report."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.live import Live

from llmtrain.api.job import Storage
from llmtrain.api.kubeyaml import documents
from llmtrain.api.stageconfig import STAGE_CONTAINER
from llmtrain.api.status import ENDED_STATES, JobStatus, Stage
from llmtrain.cli.inputs import cluster_plans
from llmtrain.cli.inside import read_inside
from llmtrain.cli.kubectl import KubectlError, kubectl, kubectl_json, or_exit
from llmtrain.cli.live import View, draw, utc_now, view_of
from llmtrain.cli.tables import job_table, line, report
from llmtrain.cost.errors import InputError
from llmtrain.ladder.foretold import Foretold, foretold
from llmtrain.ladder.manifests import LADDER
from llmtrain.pricing.parsed import objects
from llmtrain.report.artifacts import Artifacts, keys_of, read_artifacts
from llmtrain.report.facts import facts_of
from llmtrain.report.page import now_text, render
from llmtrain.storage.errors import StorageError
from llmtrain.storage.store import Store, open_store
from llmtrain.text import lines, plain


def complete_namespace(incomplete: str) -> list[str]:
    """Namespaces for the shell."""
    return names_that_begin_with(incomplete, "namespaces")


def complete_job(context: typer.Context, incomplete: str) -> list[str]:
    """Names of jobs for the shell, of the namespace that is typed before."""
    return names_that_begin_with(incomplete, "llmjob", *of_namespace(context.params.get("namespace") or ""))


def complete_stage(incomplete: str) -> list[str]:
    """Stages for the shell."""
    return [stage.value for stage in Stage if stage.value.startswith(incomplete)]


def names_that_begin_with(incomplete: str, *what: str) -> list[str]:
    """Names of objects; none where the cluster does not answer."""
    try:
        found = kubectl_json("get", *what)["items"]
    except KubectlError:
        return []
    return [each["metadata"]["name"] for each in found if each["metadata"]["name"].startswith(incomplete)]


Namespace = Annotated[
    str,
    typer.Option(
        "--namespace",
        "-n",
        help="Namespace of the job; default: kubectl's current one.",
        autocompletion=complete_namespace,
    ),
]


Name = Annotated[str, typer.Argument(help="Name of the job.", autocompletion=complete_job)]
ArtifactsFrom = Annotated[
    str,
    typer.Option(
        "--artifacts",
        help="How to read a job's storage, for curves and data: `pod` (a small pod in the cluster reads it), `s3` (the spec's "
        "bucket, from here), or a folder where it is mounted.",
    ),
]
ReaderImage = Annotated[str, typer.Option("--image", help="Image of that pod; default: that of the job's own pods.")]
INSIDE = "pod"
LOOK_SECONDS = 2.0
FRAMES_PER_SECOND = 2
WIDE = 240
LABEL = "llmtrain.dev"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (submit, status, watch, logs, suspend, resume, report_page):
        app.command(name="report" if command is report_page else None)(command)
    app.command(name="list")(list_jobs)


def submit(
    file: Annotated[
        Path, typer.Argument(help="Manifest: a job, and whatever else the file holds.", exists=True, dir_okay=False)
    ],
    namespace: Namespace = "",
    follow: Annotated[bool, typer.Option("--watch", "-w", help="Follow the job to its end.")] = False,
) -> None:
    """Apply a manifest and say how to follow it.

    Example: `llmtrain submit job.yaml -n team-a --watch`
    """
    names = job_names(file)
    with explained():
        typer.echo(lines(kubectl("apply", "-f", str(file), *of_namespace(namespace)).rstrip()))
    for name, own in names:
        space = own or namespace
        typer.echo(f"follow it:  llmtrain watch {name}{f' -n {space}' if space else ''}")
    if follow and names:
        name, own = names[0]
        watch(name, own or namespace)


def list_jobs(
    namespace: Namespace = "",
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Jobs of all namespaces.")] = False,
) -> None:
    """Jobs with their stage, cost and budget.

    Example: `llmtrain list -A`
    """
    with explained():
        found = kubectl_json("get", "llmjob", *(["-A"] if everywhere else of_namespace(namespace)))
    if not found["items"]:
        typer.echo("no jobs")
        return
    # As kubectl's tables: a narrow terminal wraps, nothing is shortened.
    Console(width=WIDE, soft_wrap=True, markup=False, emoji=False).print(job_table(found["items"], utc_now()))


def status(name: Name, namespace: Namespace = "") -> None:
    """Stages, cost, comparison and scores of a job.

    Example: `llmtrain status docs-gpt -n team-a`
    """
    typer.echo(report(read(name, namespace)))


def watch(
    name: Name,
    namespace: Namespace = "",
    timeout: Annotated[int, typer.Option(help="Seconds to wait for the end.")] = 86400,
) -> None:
    """Follow a job until it ends: 0 succeeded, 1 failed, 2 not within the time.

    On a terminal it draws progress, cost and the time left; into a pipe it writes a line for each change.

    Example: `llmtrain watch docs-gpt -n team-a`
    """
    looks = look(name, namespace, timeout)
    last = follow_live(looks) if sys.stdout.isatty() else follow_lines(looks)
    if last is None or last.status.state not in ENDED_STATES:
        typer.echo(f"{name} did not end within {timeout} s", err=True)
        raise typer.Exit(2)
    typer.echo(report(last.status))
    raise typer.Exit(0 if last.status.state == "Succeeded" else 1)


def look(name: str, namespace: str, timeout: float) -> Iterator[View]:
    """Views of the job, one every few seconds, until it ends or time is up. A cluster that is away for a moment is no end."""
    end, view = time.monotonic() + timeout, None
    while time.monotonic() < end:
        try:
            view = view_of(fetch(name, namespace), utc_now(), view)
        except KubectlError as error:
            if view is None or "NotFound" in str(error):
                raise or_exit(error) from error
            typer.echo(f"{plain(str(error))}; trying again", err=True)
        else:
            yield view
            if view.status.state in ENDED_STATES:
                return
        time.sleep(LOOK_SECONDS)


def follow_live(looks: Iterator[View]) -> View | None:
    """Draw until the end; the cost ticks between two looks."""
    view = next(looks, None)
    if view is None:
        return None
    shown = [view]
    with Live(get_renderable=lambda: draw(shown[0], utc_now()), refresh_per_second=FRAMES_PER_SECOND) as live:
        for view in looks:
            shown[0] = view
            live.refresh()
    return shown[0]


def follow_lines(looks: Iterator[View]) -> View | None:
    """A line for each change."""
    last, corrected, view = "", "", None
    for view in looks:
        now = line(view.status)
        if now != last:
            typer.echo(now)
            last = now
        if view.correction != corrected:
            typer.echo(plain(f"cost now was corrected: {view.correction}"))
            corrected = view.correction
    return view


def logs(
    name: Name,
    namespace: Namespace = "",
    stage: Annotated[
        str,
        typer.Option(
            help="Preflight, Curation, Training or Evaluation; default: the current one.", autocompletion=complete_stage
        ),
    ] = "",
    worker: Annotated[int | None, typer.Option(help="Index of a worker; default: the head.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it is written.")] = False,
) -> None:
    """The log of a job's head, or of one of its workers.

    A stage's pods are gone once it is done; what they said last is in the job's status.

    Example: `llmtrain logs docs-gpt -n team-a -f`
    """
    with explained():
        wanted = stage_named(stage) if stage else read(name, namespace).stage
        role = "role=head" if worker is None else f"role=worker,{LABEL}/index={worker}"
        selector = f"{LABEL}/job={name},{LABEL}/stage={wanted},{LABEL}/{role}"
        pods = kubectl_json("get", "pods", "-l", selector, *of_namespace(namespace))["items"]
    if not pods:
        typer.echo(
            f"no pod of {name} in {wanted or 'any stage'}; `llmtrain status {name}` says where it stands", err=True
        )
        raise typer.Exit(1)
    newest = max(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
    container = ["-c", STAGE_CONTAINER]  # a mesh may have put others beside it
    where = [newest["metadata"]["name"], *container, *of_namespace(namespace)]
    command = ["kubectl", "logs", *where, *(["-f"] if follow else [])]
    raise typer.Exit(subprocess.run(command, check=False).returncode)


def stage_named(text: str) -> str:
    """A stage in whichever case it is written. KubectlError says which there are."""
    found = next((stage.value for stage in Stage if stage.value.lower() == text.lower()), None)
    if found is None:
        raise KubectlError(f"--stage: `{text}` is no stage; there are: {', '.join(stage.value for stage in Stage)}")
    return found


def suspend(name: Name, namespace: Namespace = "") -> None:
    """Save a checkpoint and release every pod. A suspended job costs nothing.

    Example: `llmtrain suspend docs-gpt -n team-a`
    """
    _set_suspend(name, namespace, value=True)


def resume(name: Name, namespace: Namespace = "") -> None:
    """Go on from the last complete checkpoint.

    Example: `llmtrain resume docs-gpt -n team-a`
    """
    _set_suspend(name, namespace, value=False)


def report_page(
    name: Name,
    namespace: Namespace = "",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write; default: NAME.html.")] = None,
    artifacts: ArtifactsFrom = "",
    image: ReaderImage = "",
) -> None:
    """One self-contained HTML page of a run: data, curves, scores, bill, reproducibility record.

    Without `--artifacts` the page holds what the cluster knows: bill, scores, stages. Credentials of `--artifacts s3` are
    AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the environment.

    Example: `llmtrain report docs-gpt -n team-a --artifacts pod -o docs-gpt.html`
    """
    with explained():
        job = fetch(name, namespace)
        found = read_storage(job, artifacts, image)
    page = render(facts_of(job, found, foretold_of(job)), now_text(utc_now()))
    file = out or Path(f"{name}.html")
    file.write_text(page)
    typer.echo(f"{file} ({len(page) // 1024 + 1} KiB)")


def foretold_of(job: dict[str, Any]) -> Foretold | None:
    """What the job's ladder has said, where it had one; without it the page stands as well."""
    meta = job["metadata"]
    space = of_namespace(meta.get("namespace", ""))
    try:
        rungs = kubectl_json("get", "llmjob", "-l", f"{LADDER}={meta['name']}", *space).get("items", [])
        return foretold(job, rungs, cluster_plans()) if rungs else None
    except (KubectlError, InputError) as error:
        typer.echo(f"not on the page: what the job's ladder has foretold: {plain(str(error))}", err=True)
        return None


def read_storage(job: dict[str, Any], artifacts: str, image: str) -> Artifacts | None:
    """What the job's storage holds of it; None where it is not said how to read it. KubectlError where a pod is to, and cannot."""
    return read_inside(job, image) if artifacts == INSIDE else _read_from_here(artifacts, job)


def _read_from_here(artifacts: str, job: dict[str, Any]) -> Artifacts | None:
    store = store_at(artifacts, job)
    if store is None:
        return None
    return read_artifacts(store, keys_of(JobStatus.model_validate(job.get("status") or {})))


def store_at(artifacts: str, job: dict[str, Any]) -> Store | None:
    """The job's storage as this machine reaches it; None where it is not given."""
    if not artifacts:
        return None
    storage = Storage.model_validate(job["spec"]["storage"])
    if artifacts != "s3":
        sub_path = storage.persistent_volume_claim.sub_path if storage.persistent_volume_claim else ""
        volume = Storage.model_validate({"persistentVolumeClaim": {"claimName": "local"}})
        folder = Path(artifacts, sub_path)
        return open_store(volume, str(folder if folder.is_dir() else artifacts), {})
    credentials = {key: os.environ[key] for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") if key in os.environ}
    try:
        return open_store(storage, "", credentials, patience_seconds=10)
    except StorageError as error:
        raise or_exit(KubectlError(error.message)) from error


def _set_suspend(name: str, namespace: str, *, value: bool) -> None:
    body = json.dumps({"spec": {"suspend": value}})
    with explained():
        kubectl("patch", "llmjob", name, *of_namespace(namespace), "--type=merge", "-p", body)
    what = "is being suspended; its pods go once a checkpoint is saved" if value else "goes on"
    typer.echo(f"{name} {what}")


def fetch(name: str, namespace: str) -> dict[str, Any]:
    """A job as the API has it."""
    return kubectl_json("get", "llmjob", name, *of_namespace(namespace))


def read(name: str, namespace: str) -> JobStatus:
    """A job's status."""
    with explained():
        return JobStatus.model_validate(fetch(name, namespace).get("status") or {})


def of_namespace(namespace: str) -> list[str]:
    """kubectl's option; its own default where none is given."""
    return ["-n", namespace] if namespace else []


def job_names(file: Path) -> list[tuple[str, str]]:
    """Name and namespace of the jobs in a manifest; an exit that names the file where it is no YAML."""
    try:
        bodies = [body for document in documents(file.read_text()) for body in objects(document)]
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise or_exit(KubectlError(f"{file} is no YAML: {error}")) from error
    jobs = [body.get("metadata") or {} for body in bodies if body.get("kind") == "LLMTrainingJob"]
    return [(meta.get("name", ""), meta.get("namespace", "")) for meta in jobs]


@contextmanager
def explained() -> Iterator[None]:
    """Turn kubectl's failure into one line and an exit code."""
    try:
        yield
    except KubectlError as error:
        raise or_exit(error) from error
