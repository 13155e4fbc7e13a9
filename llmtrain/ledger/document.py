"""The ledger of what deleted jobs cost, as it is stored: JSON documents in ConfigMaps of the operator's namespace.

One document a namespace (by its uid), calendar month (UTC) and page. A page lists what was booked in that month: a job, once,
with a row for each stage, role, plan and tenure; or a pod whose job had gone before it. Amounts are whole seconds and
microdollars. A page that is full says so before the next one is begun, so there is one place at a time where anything
is added. What earlier operators had kept in the namespaces themselves, where everybody there may write, is one document
more a namespace: carried over, and unverified.

Both sides read these documents by the same bounded models; nothing unknown is let through, for whoever adds to a page
writes the whole of it again. So every change of the form is a new FORMAT.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import from_json

from llmtrain.api import GROUP
from llmtrain.api.status import Stage

FORMAT: Final = 2
"""Of what this version writes, and the newest that it reads."""
KEY = "ledger.json"
LARGEST_BYTES = 256 * 1024
"""Of a page: it is written whole each time that something is added."""
LONGEST_READ = 512 * 1024
MOST = 2**53 - 1
"""Of any amount: nine billion dollars; every reader of JSON has it exactly."""

AMOUNTS = ("pod_seconds", "billed_seconds", "accelerator_seconds", "cost_micro_usd")
"""What a pod owes, settled or not."""
COUNTS = ("pods", *AMOUNTS, "energy_joules")
"""What rows have more, and is added up where they are."""

FORMAT_CONFIG_MAP = "llmtrain-ledger-format"
LABEL_KIND = f"{GROUP}/ledger"
LABEL_NAMESPACE = f"{GROUP}/namespace"
LABEL_NAMESPACE_UID = f"{GROUP}/namespace-uid"
LABEL_MONTH = f"{GROUP}/ledger-month"
LABEL_PAGE = f"{GROUP}/ledger-page"
MOST_LABELS = 32
"""Of a job, that are kept."""
CARRIED = "carried-over"
"""In place of the month of what was carried over."""

Uid = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][-A-Za-z0-9]*$")]
Name = Annotated[str, Field(max_length=253, pattern=r"^([a-z0-9]([-.a-z0-9]*[a-z0-9])?)?$")]
Word = Annotated[str, Field(max_length=32, pattern=r"^[A-Za-z]*$")]
Time = Annotated[str, Field(max_length=20, pattern=r"^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z)?$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
YearMonth = Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]
Amount = Annotated[int, Field(ge=0, le=MOST)]
Change = Annotated[int, Field(ge=-MOST, le=MOST)]
"""A correction may be negative."""
Cause = Annotated[str, Field(max_length=253)]
Lost = tuple[Amount, Amount]
"""Billed seconds and microdollars that were not work."""
Changes = Annotated[dict[Annotated[str, Field(max_length=32, pattern=r"^[A-Za-z]+$")], Change], Field(max_length=16)]
Parts = Annotated[dict[Annotated[str, Field(max_length=32, pattern=r"^[A-Za-z]+$")], Amount], Field(max_length=16)]
Labels = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=317)], Annotated[str, Field(max_length=63)]],
    Field(max_length=MOST_LABELS),
]


class DocumentError(ValueError):
    """A ConfigMap that holds no document of this format; the message says what is wrong."""


class Part(BaseModel):
    """Base: camelCase, nothing unknown, nothing converted."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, strict=True, allow_inf_nan=False
    )


class Row(Part):
    """What pods of one stage, role, plan and tenure cost in one month, all settled."""

    stage: Stage
    role: Literal["head", "worker", "evaluator"]
    plan: Name = ""
    tenure: Word = ""
    pods: Amount = 0
    pod_seconds: Amount = 0
    billed_seconds: Amount = 0
    accelerator_seconds: Amount = 0
    cost_micro_usd: Amount = 0
    energy_joules: Amount = 0
    split: Parts = {}
    """Billed seconds by what they were spent on."""
    cost_split: Parts = {}
    """Microdollars, the same way."""
    start_time: Time = ""
    """When the stage's first attempt started."""
    end_time: Time = ""
    """When its last pod was gone."""
    month: YearMonth | Literal[""] = ""
    """In which this accrued; empty: a version that kept format 1 settled it, and did not say."""


class Booking(Part):
    """What is booked under one uid, once."""

    kind: Literal["Job", "Pod"]
    """A job, or a pod whose job was gone before it."""
    uid: Uid
    """Of the job, or of the pod."""
    job: Name
    job_uid: Uid
    created: Time = ""
    deleted: Time
    """Whose month this is booked in: the object's own `deletionTimestamp`. A job's never changes, a pod's moves back by its grace."""
    labels: Labels = {}
    """The job's own, by which costs may be grouped."""
    rows: Annotated[list[Row], Field(max_length=1024)]
    waste_by_node: Annotated[dict[Name, Lost], Field(max_length=65)] = {}
    """What of the rows was not work, the dearest nodes apart, and as much of the rest as was known under an empty name."""
    waste_by_cause: Annotated[dict[Cause, Lost], Field(max_length=33)] = {}
    """The same by what it came of. Versions that did not book these leave them out."""


class MonthPage(Part):
    """A page of a namespace's month."""

    format_version: Literal[1, 2] = FORMAT
    kind: Literal["Month"] = "Month"
    namespace: Name
    namespace_uid: Uid
    month: YearMonth
    page: Annotated[int, Field(ge=1, le=10**6)]
    full: bool = False
    """Nothing is added any more; the next page may begin."""
    bookings: Annotated[list[Booking], Field(max_length=10_000)] = []


class CarriedOver(Part):
    """What earlier operators had booked in the namespace itself. Its tenants could have edited it."""

    format_version: Literal[1, 2] = FORMAT
    kind: Literal["CarriedOver"] = "CarriedOver"
    namespace: Name
    namespace_uid: Uid
    taken_over: Time
    rows: Annotated[list[Row], Field(max_length=1024)] = []
    booked_uids: Annotated[list[Uid], Field(max_length=4096)] = []
    """Jobs and pods that are in the rows and were deleted before this was taken over."""
    rejected: Annotated[str, Field(max_length=1024)] = ""
    """Why nothing was taken over, if there was anything; empty otherwise."""


class ClosedRow(Part):
    """A line of a month that is closed: what a job's pods of one stage, role, plan and tenure cost in a month, or a correction of that."""

    job: Name
    uid: Uid | Literal[""] = ""
    """Of the job; empty for what was carried over, which names none."""
    stage: Stage
    role: Literal["head", "worker", "evaluator"]
    plan: Name = ""
    tenure: Word = ""
    month: YearMonth
    """In which it accrued. One before the page's own: a correction of that, found once it was closed."""
    unverified: bool = False
    start_time: Time = ""
    pods: Change = 0
    pod_seconds: Change = 0
    billed_seconds: Change = 0
    accelerator_seconds: Change = 0
    cost_micro_usd: Change = 0
    energy_joules: Change = 0
    split: Changes = {}
    """Billed seconds by what they were spent on."""
    commitment: Word = ""
    """OnDemand, Reserved or Spot, as the plan was when the month was closed."""
    accelerator: Annotated[str, Field(max_length=253)] = ""
    labels: Labels = {}
    """The job's own, as they were when the month was closed."""


class ClosedPage(Part):
    """A page of a namespace's month that is closed. Nothing is ever added: what is found later is a correction in a later month."""

    format_version: Literal[1, 2] = FORMAT
    kind: Literal["Closed"] = "Closed"
    namespace: Name
    month: YearMonth
    page: Annotated[int, Field(ge=1, le=10**6)]
    closed: Time
    """When."""
    others: Annotated[list[Digest], Field(max_length=10_000)] = []
    """On the first page: the digests of those behind it, which are in their names. It is written last, and closes the month: of
    two operators at work, or after a crash, the pages of one hold, and the other's belong to nothing.
    """
    before: Digest | Literal[""] = ""
    """On the first page: the digest of the month before's, where that was closed then. So none of them can go, or come back
    as another, without the next one telling; what is in them cannot be edited at all, as the apiserver keeps that.
    """
    rows: Annotated[list[ClosedRow], Field(max_length=10_000)] = []


Document = MonthPage | CarriedOver | ClosedPage
_DOCUMENT: TypeAdapter[Document] = TypeAdapter(Annotated[Document, Field(discriminator="kind")])


def page_name(uid: str, month: str, page: int) -> str:
    """Name of a page's ConfigMap."""
    return f"llmtrain-ledger-{uid}-{month}-{page}"


def carried_name(uid: str) -> str:
    """Name of the ConfigMap with what was carried over."""
    return f"llmtrain-ledger-{uid}-{CARRIED}"


def digest_of(page: ClosedPage) -> str:
    """Of all that a page says."""
    return hashlib.sha256(text_of(page).encode()).hexdigest()[:16]


def closed_name(page: ClosedPage) -> str:
    """Name of a closed page's ConfigMap: the first page's has no digest, so that there is one."""
    if page.page == 1:
        return first_page_name(page.namespace, page.month)
    return f"llmtrain-ledger-closed-{page.namespace}-{page.month}-{page.page}-{digest_of(page)}"


def first_page_name(namespace: str, month: str) -> str:
    """Name of the ConfigMap that closes a month."""
    return f"llmtrain-ledger-closed-{namespace}-{month}-1"


def name_of(document: Document) -> str:
    """Name of the document's ConfigMap."""
    if isinstance(document, ClosedPage):
        return closed_name(document)
    if isinstance(document, MonthPage):
        return page_name(document.namespace_uid, document.month, document.page)
    return carried_name(document.namespace_uid)


def labels_of(document: Document) -> dict[str, str]:
    """By which one list finds a namespace's documents, or a month's."""
    month, page = (CARRIED, 1) if isinstance(document, CarriedOver) else (document.month, document.page)
    labels = {
        LABEL_KIND: document.kind,
        LABEL_NAMESPACE: document.namespace,
        LABEL_MONTH: month,
        LABEL_PAGE: str(page),
        "app.kubernetes.io/managed-by": "llmtrain-operator",
    }
    return labels if isinstance(document, ClosedPage) else labels | {LABEL_NAMESPACE_UID: document.namespace_uid}


def text_of(document: Document) -> str:
    """The document as it is stored."""
    return document.model_dump_json(by_alias=True, exclude_defaults=True, exclude={"format_version", "kind"})[:-1] + (
        f',"formatVersion":{document.format_version},"kind":"{document.kind}"}}'
    )


def config_map(document: Document, home: str) -> dict[str, Any]:
    """The ConfigMap to create; `home` is the operator's namespace."""
    metadata = {"name": name_of(document), "namespace": home, "labels": labels_of(document)}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {KEY: text_of(document)}}
    return body | {"immutable": True} if isinstance(document, ClosedPage) else body


def stored_text(raw: Mapping[str, Any]) -> str:
    """What a ConfigMap holds where a document is expected."""
    return str((raw.get("data") or {}).get(KEY) or "")


def read_document(raw: Mapping[str, Any]) -> Document:
    """The document in a ConfigMap. DocumentError where it is none, is of a newer format, or has another's name."""
    text = stored_text(raw)
    if len(text) > LONGEST_READ:
        raise DocumentError(f"is longer than {LONGEST_READ} characters")
    try:
        document = _DOCUMENT.validate_json(text)
    except ValidationError as error:
        raise DocumentError(_newer(text) or _told(error)) from error
    if name_of(document) != raw["metadata"]["name"]:
        raise DocumentError(f"says that it is {name_of(document)}")
    return document


def _newer(text: str) -> str:
    """That the document is of a later version, if it is."""
    try:
        found = from_json(text)
    except ValueError:
        return ""
    version = found.get("formatVersion") if isinstance(found, dict) else None
    newer = isinstance(version, int) and version > FORMAT
    return f"is of format {version}; this version of llmtrain knows {FORMAT}: install a newer one" if newer else ""


def _told(error: ValidationError) -> str:
    faults = error.errors(include_input=False, include_url=False)
    return "; ".join(f"`{'.'.join(map(str, fault['loc']))}`: {fault['msg']}" for fault in faults[:4])


def own_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """The first of a job's labels that are not ours."""
    others = sorted(item for item in labels.items() if not item[0].startswith(f"{GROUP}/"))
    return dict(others[:MOST_LABELS])


def added_up(rows: Iterable[Row]) -> list[Row]:
    """One row a stage, role, plan and tenure; its amounts are sums, without times and splits."""
    sums: dict[tuple[Stage, str, str, str], dict[str, int]] = {}
    for row in rows:
        total = sums.setdefault((row.stage, row.role, row.plan, row.tenure), dict.fromkeys(COUNTS, 0))
        for name in COUNTS:
            total[name] += getattr(row, name)
    keys = ("stage", "role", "plan", "tenure")
    return [Row.model_validate(dict(zip(keys, key, strict=True)) | total) for key, total in sums.items()]
