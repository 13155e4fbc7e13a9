"""What earlier operators booked in a namespace's own ConfigMap is carried over, once for each namespace.

Everybody who may edit there could have edited it, so it is parsed by the bounded model and told as unverified. First the
ConfigMap is replaced by a sentence that no earlier operator can read as a ledger: after a rollback its jobs wait to be
booked, and none is lost. The text that was there stays beside the sentence. Only then the document is made from that
text: the name of what is created says whose it is, so that whoever is second, or comes again after a crash, finds it.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import ValidationError

from llmtrain.ledger.csvfile import exact_usd
from llmtrain.ledger.document import (
    LONGEST_READ,
    CarriedOver,
    DocumentError,
    added_up,
    carried_name,
    config_map,
    read_document,
    text_of,
)
from llmtrain.ledger.former import BEFORE, FORMER_CONFIG_MAP, FORMER_KEY, FormerBook, is_moved, moved_text
from llmtrain.text import plain
from llmtrain_operator.billing import format_time
from llmtrain_operator.border import Kind, Rejections
from llmtrain_operator.client import ApiError, Cluster, Object

log = logging.getLogger("llmtrain.operator")
CONFIG_MAPS = "api/v1/configmaps"
TRIES = 10


@dataclass
class Takeovers:
    """Done at the first need of a namespace's ledger in the life of a process; what was carried over is kept."""

    cluster: Cluster
    home: str
    clock: Callable[[], datetime]
    rejections: Rejections
    _known: dict[str, CarriedOver | None] = field(default_factory=dict)
    _under_way: dict[str, "asyncio.Task[CarriedOver | None]"] = field(default_factory=dict)

    async def of(self, namespace: str, uid: str) -> CarriedOver | None:
        """What was carried over of the namespace with this uid; None: nothing. ApiError where that cannot be said."""
        if uid in self._known:
            return self._known[uid]
        if uid not in self._under_way:
            self._under_way[uid] = asyncio.create_task(self._once(namespace, uid))
        return await asyncio.shield(self._under_way[uid])

    async def _once(self, namespace: str, uid: str) -> CarriedOver | None:
        try:
            found = self._known[uid] = await self._take_over(namespace, uid)
        finally:
            del self._under_way[uid]
        return found

    async def _take_over(self, namespace: str, uid: str) -> CarriedOver | None:
        """Replaced on condition that it is as it was read: an earlier operator that still works may be booking."""
        for _ in range(TRIES):
            former = await self.cluster.get(CONFIG_MAPS, namespace, FORMER_CONFIG_MAP)
            fresh = former is not None and not is_moved(former)
            if former is not None and fresh:
                try:
                    former = await self._replace(former)
                except ApiError as error:
                    if error.code not in (404, 409):
                        raise
                    continue
            return await self._carry(namespace, uid, former, fresh)
        raise ApiError(409, "Conflict", f"ConfigMap {namespace}/{FORMER_CONFIG_MAP} kept changing")

    async def _replace(self, former: Object) -> Object:
        data = {FORMER_KEY: moved_text(self.home), BEFORE: (former.get("data") or {}).get(FORMER_KEY) or ""}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": former["metadata"], "data": data}
        return await self.cluster.replace(CONFIG_MAPS, former["metadata"]["namespace"], FORMER_CONFIG_MAP, body)

    async def _carry(self, namespace: str, uid: str, former: Object | None, fresh: bool) -> CarriedOver | None:
        found = await self.cluster.get(CONFIG_MAPS, self.home, carried_name(uid))
        where = f"ConfigMap {namespace}/{FORMER_CONFIG_MAP}"
        if found is not None and fresh:
            self.rejections.note(Kind.LEDGER, where, "is not carried over: that was done before, and is done once")
        text = ((former or {}).get("data") or {}).get(BEFORE)
        if found is None and text:
            document = self._document(namespace, uid, text, where)
            try:
                found = await self.cluster.create(CONFIG_MAPS, self.home, config_map(document, self.home))
            except ApiError as error:
                if error.code != 409:
                    raise
                found = await self.cluster.get(CONFIG_MAPS, self.home, carried_name(uid))
        return None if found is None else self._read(found)

    def _document(self, namespace: str, uid: str, text: str, where: str) -> CarriedOver:
        """What is kept of the text; nothing, and why, where it is out of bounds."""
        empty = CarriedOver(namespace=namespace, namespace_uid=uid, taken_over=format_time(self.clock()))
        try:
            book = FormerBook.model_validate_json(text)
            made = empty.model_copy(update={"rows": added_up(book.totals), "booked_uids": book.settled_jobs})
            CarriedOver.model_validate_json(text_of(made))
            if len(text_of(made)) > LONGEST_READ:
                raise ValueError(f"is longer than {LONGEST_READ} characters")
        except ValidationError as error:
            faults = error.errors(include_input=False, include_url=False)
            why = "; ".join(f"`{'.'.join(map(str, fault['loc']))}`: {fault['msg']}" for fault in faults[:4])
        except ValueError as error:
            why = str(error)
        else:
            usd = exact_usd(sum(row.cost_micro_usd for row in made.rows))
            log.info("%s: %s USD are carried over, unverified, to %s/%s", where, usd, self.home, carried_name(uid))
            return made
        self.rejections.note(Kind.LEDGER, where, why)
        return empty.model_copy(update={"rejected": plain(why)})

    def _read(self, raw: Object) -> CarriedOver | None:
        try:
            document = read_document(raw)
        except DocumentError as error:
            self.rejections.note(Kind.LEDGER, f"ConfigMap {self.home}/{raw['metadata']['name']}", str(error))
            return None
        return document if isinstance(document, CarriedOver) else None
