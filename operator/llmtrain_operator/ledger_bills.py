"""What the ledger has of single jobs, read where it lies: it is seldom asked for, so nothing is kept of it."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from llmtrain.ledger.document import LABEL_KIND, LABEL_NAMESPACE, Booking, DocumentError, MonthPage, read_document
from llmtrain_operator.client import Cluster
from llmtrain_operator.takeover import CONFIG_MAPS


@dataclass(frozen=True)
class Bill:
    """Booked of a job, microdollars, with pods that were there longer than the job; when the last of them was deleted, UTC.

    By month, but for what a version settled that did not note any.
    """

    micro_usd: int = 0
    deleted: str = ""
    months: Mapping[str, int] = field(default_factory=dict)


async def bills_of(cluster: Cluster, home: str, namespace: str, uids: Collection[str]) -> dict[str, Bill]:
    """Bills of the jobs with these uids that are in the ledger. ApiError where it cannot be read.

    One page after the other, for a page may have a quarter of a MiB. One that is broken counts for nothing; the look at
    the sums has told of it (ledger_books.py).
    """
    found: dict[str, Bill] = {}
    listed = await cluster.list_metadata(CONFIG_MAPS, home, f"{LABEL_KIND}=Month,{LABEL_NAMESPACE}={namespace}")
    for name in sorted(raw["metadata"]["name"] for raw in listed):
        for booking in await _bookings(cluster, home, name):
            if booking.job_uid in uids:
                before = found.get(booking.job_uid, Bill())
                months = Counter(before.months)
                for row in booking.rows:
                    months[row.month] += row.cost_micro_usd
                total = before.micro_usd + sum(row.cost_micro_usd for row in booking.rows)
                known = {name: micro for name, micro in months.items() if name}
                found[booking.job_uid] = Bill(total, max(before.deleted, booking.deleted), known)
    return found


async def _bookings(cluster: Cluster, home: str, name: str) -> list[Booking]:
    raw = await cluster.get(CONFIG_MAPS, home, name)
    try:
        document = read_document(raw) if raw else None
    except DocumentError:
        return []
    return document.bookings if isinstance(document, MonthPage) else []
