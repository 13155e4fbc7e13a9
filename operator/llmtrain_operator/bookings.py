"""What the ledger keeps of a job, or of a pod whose job was gone: its bill as the last status has it."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from llmtrain.api.status import LedgerEntry, Split, StageStatus
from llmtrain.ledger.document import Booking, Row, own_labels
from llmtrain_operator.billing import format_time, parse_time
from llmtrain_operator.border import Kind, Rejections
from llmtrain_operator.observation import Job


def booking_of_job(job: Job, rejections: Rejections) -> Booking:
    """Of a job that is deleted and all of whose pods are settled."""
    meta, stages = job.raw["metadata"], {stage.name: stage for stage in job.status.stages}
    where = f"job {job.namespace}/{job.name} {job.uid}"
    found = [row_of(entry, stages.get(entry.stage), where, rejections) for entry in job.status.ledger.entries]
    return Booking(
        kind="Job",
        uid=job.uid,
        job=job.name,
        job_uid=job.uid,
        created=meta.get("creationTimestamp") or "",
        deleted=meta["deletionTimestamp"],
        labels=own_labels(meta.get("labels") or {}),
        rows=[row for row in found if row is not None],
    )


def booking_of_pod(raw: Mapping[str, Any], job: Job, entries: Sequence[LedgerEntry], rejections: Rejections) -> Booking:
    """Of a pod that is deleted and has ended, and whose `job` is gone."""
    meta = raw["metadata"]
    where = f"pod {meta['namespace']}/{meta['name']} {meta['uid']}"
    found = [row_of(entry, None, where, rejections) for entry in entries]
    return Booking(
        kind="Pod",
        uid=meta["uid"],
        job=job.name,
        job_uid=job.uid,
        created=meta.get("creationTimestamp") or "",
        deleted=meta["deletionTimestamp"],
        rows=[row for row in found if row is not None],
    )


def row_of(entry: LedgerEntry, stage: StageStatus | None, where: str, rejections: Rejections) -> Row | None:
    """One row; None, and told, where a status that somebody wrote by hand is out of all bounds."""
    amounts = entry.model_dump(mode="json", by_alias=True, exclude={"split", "cost_split"})
    times = {
        "startTime": _time(stage.start_time if stage else None),
        "endTime": _time(stage.completion_time if stage else None),
    }
    splits = {"split": _parts(entry.split), "costSplit": _parts(entry.cost_split)}
    try:
        return Row.model_validate(amounts | times | splits | {"stage": entry.stage})
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False)
        words = "; ".join(f"`{'.'.join(map(str, fault['loc']))}` {fault['msg']}" for fault in faults)
        rejections.note(Kind.JOB_STATUS, where, f"an entry of its ledger cannot be booked: {words}")
        return None


def _time(text: str | None) -> str:
    """A time as the ledger has it; empty for what is none: no bill is lost for that."""
    time = parse_time(text)
    return format_time(time) if time else ""


def _parts(split: Split) -> dict[str, int]:
    parts: dict[str, int] = split.model_dump(by_alias=True, exclude_defaults=True)
    return parts
