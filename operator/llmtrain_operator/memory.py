"""What the operator keeps of a job between turns. Losing it costs nothing but a little time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from llmtrain.api.status import HighWater, Progress
from llmtrain_operator.client import includes, newer
from llmtrain_operator.observation import Tale
from llmtrain_operator.rest import Kept


@dataclass(frozen=True)
class Head:
    """A head pod that may be asked how it goes."""

    uid: str
    ip: str


@dataclass
class JobNews:
    """How new the job is that was read, and what was told of it since."""

    version: str = ""
    """resourceVersion of the job as it was last read or written; empty where a write failed."""
    told: str = ""
    """That of the last change which somebody told of."""

    def is_known(self) -> bool:
        """What was told, if anything, is how the job is known to be."""
        return not self.told or includes(self.version, self.told)


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
    awaited: dict[str, Tale] = field(default_factory=dict)
    """What nobody has told yet of what the last turn waits for."""

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


@dataclass
class Rest:
    """For how long the job may be left alone."""

    kept: Kept | None = None
    """What the last live turn saw, where nothing followed from it and nobody has touched the job or its pods since."""
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
    pods: PodNews = field(default_factory=PodNews)
    rest: Rest = field(default_factory=Rest)
    refusal: str = ""
    billed_at: datetime | None = None
    made: dict[str, str] = field(default_factory=dict)
    """Uids of the objects that pods mount and find each other by, as far as this operator made them; by path."""
    cleared: str = ""
    """The cluster whose objects are deleted already while its pods still end."""
