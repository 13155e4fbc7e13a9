"""Jobs and plans for the commands about money: from files, or from the cluster through kubectl."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmtrain.api.admission import ManifestError
from llmtrain.api.job import JobSpec
from llmtrain.api.plan import PlanSpec
from llmtrain.api.status import JobStatus
from llmtrain.cli.complaints import read_text
from llmtrain.cli.kubectl import KubectlError, kubectl_json
from llmtrain.cost.errors import InputError
from llmtrain.pricing.inputs import Manifests, read_manifests, read_stored


@dataclass(frozen=True)
class Given:
    """A job, the plans that are known, and the job's status where it was read from the cluster."""

    name: str
    spec: JobSpec
    plans: Mapping[str, PlanSpec]
    status: JobStatus


def job_from_file(path: Path, plan_files: Sequence[Path]) -> Given:
    """The job of a file with the plans beside it; without any plan, those of the cluster."""
    name, spec, beside = only_job(path)
    plans: dict[str, PlanSpec] = dict(beside)
    for file in plan_files:
        plans |= manifests_of(file).plans
    return Given(name, spec, plans or cluster_plans(), JobStatus())


def only_job(path: Path) -> tuple[str, JobSpec, Mapping[str, PlanSpec]]:
    """Name and spec of the one job of a file, and the plans beside it."""
    read = manifests_of(path)
    if len(read.jobs) != 1:
        raise InputError(str(path), f"must hold one LLMTrainingJob, it holds {len(read.jobs)}")
    (name, spec), *_ = read.jobs.items()
    return name, spec, read.plans


def manifests_of(path: Path) -> Manifests:
    """Jobs and plans of one file; complaints name the file."""
    try:
        return read_manifests(read_text(path))
    except InputError as error:
        raise InputError(error.field, f"{error.message} (in {path})") from error
    except ManifestError as error:
        raise error.of(path) from error


def job_from_cluster(name: str, namespace: str, plan_files: Sequence[Path]) -> Given:
    """A job by name, with its status and the cluster's plans; plans of files go before them."""
    job = kubectl_json("get", "llmjob", name, "-n", namespace)
    read = read_stored([job])
    plans = dict(cluster_plans())
    for file in plan_files:
        plans |= manifests_of(file).plans
    return Given(name, read.jobs[name], plans, JobStatus.model_validate(job.get("status") or {}))


def cluster_plans() -> Mapping[str, PlanSpec]:
    """The cluster's ComputePlans."""
    try:
        return read_stored(kubectl_json("get", "computeplans")["items"]).plans
    except KubectlError as error:
        raise InputError("--plans", f"must be given where no cluster is in reach: {error}") from error
