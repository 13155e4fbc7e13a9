"""What the operator keeps of a job between turns. Losing it costs nothing but a little time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from llmtrain.api.status import HighWater, Progress
from llmtrain_operator.client import Object, includes, newer
from llmtrain_operator.observation import Tale
from llmtrain_operator.podtemplate import LOST, Templates
from llmtrain_operator.refused import Refused
from llmtrain_operator.rest import Kept, less_owners, pack, unpack

STALE_TIMES, STALE_FOR = 3, timedelta(seconds=10)
"""One older list is a cache that lags behind, and must not be believed; etcd restored from a backup gives no other any more."""
SURE = timedelta(seconds=5)
"""A change of a job whose event is lost shows in the next write, which it makes fail; where nothing is written, after this."""


@dataclass(frozen=True)
class Head:
    """A head pod that may be asked how it goes."""

    uid: str
    ip: str


@dataclass
class JobNews:
    """How new the job is that is known, and what was told of it since."""

    version: str = ""
    """resourceVersion of the job as it was last read or written; empty where a write failed."""
    told: str = ""
    """That of the last change which somebody told of."""
    heard: Object | None = None
    """The job as that change left it, if whoever told of it had it."""
    kept: bytes = b""
    """The newest job that is known, packed: as it was read, written or heard of."""
    kept_version: str = ""
    sure_until: datetime | None = None
    """For so long it is taken for the job while nobody tells of a change; None: it is what was told of."""

    def hear(self, version: str, raw: Object | None) -> None:
        """Take note, unless something newer was told of."""
        if newer(version, self.told) != self.told:
            self.told, self.heard = version, raw

    def has_news(self) -> bool:
        """Whether what was told, if anything, is more than what is known; that is kept then, otherwise forgotten."""
        if not self.told or includes(self.version, self.told):
            self.told, self.heard = "", None
        elif self.heard is not None:
            self.kept, self.kept_version, self.sure_until = pack(less_owners(self.heard)), self.told, None
            self.heard = None
        return bool(self.told)

    def keep(self, raw: Object, now: datetime) -> None:
        """So it was read or written."""
        self.version = self.kept_version = raw["metadata"]["resourceVersion"]
        self.kept, self.sure_until = pack(less_owners(raw)), now + SURE

    def forget(self) -> None:
        """Nobody knows how it is now."""
        self.version, self.kept = "", b""

    @property
    def newest(self) -> str:
        """The newest change that is known of; empty where the job is to be read as it is now."""
        return self.version and newer(self.told, self.version)

    def current(self, now: datetime) -> Object | None:
        """The job, where the newest that is known of is kept. What is told before the first read may be of an old list."""
        sure = self.sure_until is None or now < self.sure_until
        return unpack(self.kept) if self.kept and self.kept_version == self.newest and sure else None


@dataclass
class PodNews:
    """How new the pods are that were listed, and what was told of them since."""

    version: str = ""
    """resourceVersion of the last list; an older list is stale."""
    told: str = ""
    """That of the newest change that somebody told of, or that this operator made."""
    sure: bool = False
    """The last turn came to its end: no change is missing from what was read, made and told."""
    gap: bool = False
    """A watch has had a gap since the list: nobody told of what happened then."""
    marks: Sequence[HighWater] = ()
    """Of pods so young that no status has them yet; none after a turn that failed: what it wrote is not known."""
    held: frozenset[str] = frozenset()
    """Uids of pods that our finalizer holds, as far as this operator has made, or seen, and not released them. A pod that nobody
    has looked at yet has no bill by which it would be found again, nor has one whose bill is written.
    """
    awaited: dict[str, Tale] = field(default_factory=dict)
    """What nobody has told yet of what the last turn waits for."""

    stale: int = 0
    stale_since: datetime | None = None
    """How many lists in a row were older than the one before them, and since when."""

    def is_past(self, now: datetime) -> bool:
        """Take note of an older list. Whether there were so many for so long that what is known is of another history."""
        self.stale, self.stale_since = self.stale + 1, self.stale_since or now
        return self.stale >= STALE_TIMES and now - self.stale_since >= STALE_FOR

    def hear(self, uid: str, version: str, tale: Tale) -> bool:
        """Take note. Whether it is worth a look: the last list had it not, and nothing else is waited for."""
        if includes(self.version, version):
            return False
        self.told = newer(version, self.told)
        if self.awaited.get(uid, tale + 1) <= tale:
            del self.awaited[uid]
        return not self.awaited

    @property
    def newest(self) -> str:
        """The newest change that is known of."""
        return newer(self.told, self.version)

    def are_listed(self) -> bool:
        """Whether the last list has every change that is known of, and none can be missing."""
        return self.sure and not self.gap and (not self.told or includes(self.version, self.told))


@dataclass
class Rest:
    """For how long the job may be left alone."""

    kept: Kept | None = None
    """The pods that the last live turn saw, where it had nothing to do and nobody has touched them since."""
    still: bool = False
    """Nothing at all followed from what it saw."""
    still_until: datetime | None = None
    """Until then nothing follows from time alone, if nobody touches anything and the head says nothing new."""
    quiet_until: datetime | None = None
    """Until then nothing is to be done either: no bill is due, no budget is shared."""


@dataclass
class Memory:
    """All of it."""

    progress: Progress | None = None
    """What the head said since the last turn."""
    progress_of: str = ""
    """Uid of the head pod that said so."""
    told: Progress | None = None
    """What it had said before the last turn."""
    head: Head | None = None
    """Who may be asked how it goes."""
    woken: bool = False
    """Somebody told of a change of the job or its pods."""
    job: JobNews = field(default_factory=JobNews)
    last: bytes = b""
    """The job as it was last read or written, packed; empty once it was let go, for its bill is booked then."""
    uid: str = ""
    """Of that job."""
    pods: PodNews = field(default_factory=PodNews)
    rest: Rest = field(default_factory=Rest)
    refused: Refused = field(default_factory=Refused)
    """What the apiserver refuses to do for the job."""
    billed_at: datetime | None = None
    made: dict[str, str] = field(default_factory=dict)
    """Uids of the objects that pods mount and find each other by, as far as this operator made them; by path. Empty: it made none."""
    templates: Templates = LOST
    templates_of: str = ""
    """What the pods of the attempt with this digest are made from; empty: nobody has had to look."""
    cleared: str = ""
    """The cluster whose objects are deleted already while its pods still end."""

    def forget_versions(self) -> None:
        """etcd was restored from a backup: what is known by resourceVersion or uid is of another history."""
        self.job, self.pods, self.rest = JobNews(), PodNews(gap=True, marks=self.pods.marks), Rest()
        self.cleared = ""
        self.made.clear()
