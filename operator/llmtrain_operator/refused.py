"""Acts that the apiserver refused: when each is tried again, and what is told of it.

An error that may pass by itself is tried again after a second, a refusal (a quota, a missing right, a policy) after a
quarter of a minute, both ever more slowly, and after a minute at the latest: neither hot nor forgotten.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from llmtrain_operator.act import NAME_TAKEN
from llmtrain_operator.batches import CREATING, MOUNTED, Result
from llmtrain_operator.client import ApiError
from llmtrain_operator.observation import Action, DeleteObjects, DeletePod, Refusal, ReleasePod, Reserve, ShortenPod

SOON, LATER, LATEST = timedelta(seconds=1), timedelta(seconds=15), timedelta(seconds=60)
CONFLICT = 409
PASSING = {0, 408, CONFLICT, 425, 429}
"""Codes of errors that may pass by themselves, as may all of 500 and above."""
Target = tuple[str, Hashable]


def is_passing(code: int, reason: str) -> bool:
    """Whether the next try may well succeed though nobody changes anything."""
    return (code in PASSING and reason != NAME_TAKEN) or code >= 500


def pause(refusal: Refusal) -> timedelta:
    """How long after its last try an act is tried again; the first time at once after a conflict, which is over."""
    if refusal.code == CONFLICT and refusal.times == 1 and refusal.reason != NAME_TAKEN:
        return timedelta(0)
    first = SOON if is_passing(refusal.code, refusal.reason) else LATER
    doubled: int = 2 ** min(refusal.times - 1, 10)
    return min(LATEST, first * doubled)


@dataclass
class Refused:
    """What is refused at present, by what it was to be done to. All creates of a job are one: pods mount what is created first."""

    _refusals: dict[Target, tuple[Refusal, datetime]] = field(default_factory=dict)
    """And when it is tried again."""

    def __bool__(self) -> bool:
        """Something is."""
        return bool(self._refusals)

    def due(self, actions: Iterable[Action], now: datetime) -> list[Action]:
        """Those that are tried now."""
        held = {target for target, (_, again) in self._refusals.items() if now < again}
        return [action for action in actions if _target(action) not in held]

    def take(self, results: Sequence[Result], decided: Iterable[Action], now: datetime) -> None:
        """Take note of what became of the acts. What is not asked for any more is forgotten.

        What the job itself gave up may be all that its creates lack: they are tried again soon.
        """
        wanted = {_target(action) for action in decided}
        freed = any(one.error is None and isinstance(one.action, DeletePod | ReleasePod) for one in results)
        failed = [(one.action, one.error) for one in results if one.error is not None]
        refused = [(action, error) for action, error in failed if not _is_lost_race(action, error)]
        # What pods mount is there already when the head is refused again: that is no success of the creates.
        for target in {_target(one.action) for one in results} - {_target(action) for action, _ in refused}:
            self._refusals.pop(target, None)
        for target, (action, error) in {
            _target(action): (action, error) for action, error in reversed(refused)
        }.items():
            self._add(target, action, error, now)
        for target in [target for target in self._refusals if target not in wanted]:
            del self._refusals[target]
        if freed and CREATES in self._refusals:
            self._refusals[CREATES] = (self._refusals[CREATES][0], now + SOON)

    def _add(self, target: Target, action: Action, error: ApiError, now: datetime) -> None:
        act = type(action).__name__
        before = self._refusals.get(target)
        again = before is not None and before[0].act == act
        since, times = (before[0].since, before[0].times + 1) if before is not None and again else (now, 1)
        refusal = Refusal(act, error.code, error.reason, error.message, since, times)
        self._refusals[target] = (refusal, now + max(pause(refusal), timedelta(seconds=error.retry_after)))

    def told(self) -> tuple[Refusal, ...]:
        """One entry an act, the oldest first; an error that may pass by itself only once it has repeated."""
        found: dict[str, Refusal] = {}
        for refusal, _ in sorted(self._refusals.values(), key=lambda entry: entry[0].since):
            if refusal.times > 1 or not is_passing(refusal.code, refusal.reason):
                first = found.setdefault(refusal.act, refusal)
                found[refusal.act] = replace(first, times=max(first.times, refusal.times))
        return tuple(found.values())

    def seconds(self, now: datetime) -> float | None:
        """Until the next is tried again; None where nothing is refused."""
        return min(((again - now).total_seconds() for _, again in self._refusals.values()), default=None)


CREATES: Target = ("Create", "")


def _target(action: Action) -> Target:
    match action:
        case DeletePod(pod) | ShortenPod(pod) | ReleasePod(pod):
            return type(action).__name__, pod.uid
        case DeleteObjects(attempt):
            return type(action).__name__, attempt.cluster
        case Reserve(budget):
            return type(action).__name__, budget
    return CREATES if isinstance(action, MOUNTED + CREATING) else (type(action).__name__, "")


def _is_lost_race(action: Action, error: ApiError) -> bool:
    """Somebody wrote the budget first, or removed it: it is read anew, and decided upon anew."""
    return isinstance(action, Reserve) and error.code in (CONFLICT, 404)
