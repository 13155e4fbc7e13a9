"""What the ledger keeps of a job, or of a pod whose job was gone: its bill as the last status has it."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from llmtrain.api.status import CauseWaste, Ledger, LedgerEntry, NodeWaste, Split, StageStatus
from llmtrain.ledger.document import Booking, Cause, Lost, Name, Row, own_labels
from llmtrain_operator.billing import format_time, parse_time
from llmtrain_operator.border import Kind, Rejections
from llmtrain_operator.observation import Job

_NODE: TypeAdapter[tuple[str, Lost]] = TypeAdapter(tuple[Name, Lost])
_CAUSE: TypeAdapter[tuple[str, Lost]] = TypeAdapter(tuple[Cause, Lost])


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
        waste_by_node=_by_node(job.status.ledger.waste_by_node),
        waste_by_cause=_by_cause(job.status.ledger.waste_by_cause),
    )


def booking_of_pod(raw: Mapping[str, Any], job: Job, ledger: Ledger, rejections: Rejections) -> Booking:
    """Of a pod that is deleted and has ended, and whose `job` is gone; `ledger` is of this pod alone."""
    meta = raw["metadata"]
    where = f"pod {meta['namespace']}/{meta['name']} {meta['uid']}"
    found = [row_of(entry, None, where, rejections) for entry in ledger.entries]
    return Booking(
        kind="Pod",
        uid=meta["uid"],
        job=job.name,
        job_uid=job.uid,
        created=meta.get("creationTimestamp") or "",
        deleted=meta["deletionTimestamp"],
        rows=[row for row in found if row is not None],
        waste_by_node=_by_node(ledger.waste_by_node),
        waste_by_cause=_by_cause(ledger.waste_by_cause),
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


def _by_node(rows: Iterable[NodeWaste]) -> dict[str, Lost]:
    return _sums(_NODE, ((row.node, (row.billed_seconds, row.cost_micro_usd)) for row in rows))


def _by_cause(rows: Iterable[CauseWaste]) -> dict[str, Lost]:
    return _sums(_CAUSE, ((row.cause, (row.billed_seconds, row.cost_micro_usd)) for row in rows))


def _sums(form: TypeAdapter[tuple[str, Lost]], rows: Iterable[tuple[str, Lost]]) -> dict[str, Lost]:
    """By name. A row that somebody wrote by hand and that is out of all bounds is left out: the rows' splits have the sum."""
    sums: dict[str, Lost] = {}
    for row in rows:
        try:
            name, (seconds, micro) = form.validate_python(row, strict=True)
        except ValidationError:
            continue
        before = sums.get(name, (0, 0))
        sums[name] = before[0] + seconds, before[1] + micro
    return sums
