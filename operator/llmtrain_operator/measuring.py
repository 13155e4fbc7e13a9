"""How far a running stage is, and what its speed says of the time that is left: from what its head told, nothing is asked."""

import math
from datetime import datetime

from llmtrain.api.status import Pace, Progress, Stage, StageStatus
from llmtrain.cost.forecast import CALENDAR_SHARE, Measurement
from llmtrain_operator.billing import parse_time

RESUMED = (Stage.CURATION, Stage.TRAINING)
"""Stages whose attempts go on from where the last one was."""
NO_WORK = ("workers",)
"""Units that heads count before the stage's work begins."""
STEP_SECONDS = 60
"""So much is known from the speed of one step, however long others took."""
CALENDAR_SECONDS = 7200
"""So long a stage is seen before its own share of time at work counts as much as the usual one: assumption."""
STEP_SPREAD = 0.30
"""Spread of the time that is left by the measured costs of a stage's steps, at its beginning: assumption."""
UNIT_SPREAD = 0.50
"""Spread of the cost of one unit against that of another, such as evaluation's tasks: assumption."""


def told_share(name: Stage, progress: Progress | None) -> float | None:
    """Share of the whole stage, 0 to 1, that the head tells; None where what it counts is not the stage's work.

    Curation's units are those of one of its steps: without a share they say nothing of the stage.
    """
    if progress is None or progress.unit in NO_WORK:
        return None
    if progress.share:
        return float(progress.share)
    if name is Stage.CURATION or progress.total <= 0:
        return None
    return min(1.0, max(0.0, progress.done / progress.total))


def note_share(stage: StageStatus, told: Progress) -> None:
    """Keep the share that was told. Parts that an earlier attempt of curation finished are found again: its share stands."""
    share = told_share(stage.name, told)
    if share is None:
        return
    if stage.name is Stage.CURATION and stage.share:
        share = max(share, float(stage.share))
    stage.share = f"{share:.6f}"


def note_done(stage: StageStatus) -> None:
    """The stage has succeeded, whatever its head said last before it ended."""
    stage.share = "1.000000"
    if stage.progress is not None:
        share = "1" if stage.progress.share else ""
        stage.progress = stage.progress.model_copy(update={"done": stage.progress.total, "share": share})


def note_attempt_over(stage: StageStatus) -> None:
    """What its head told of its seconds is no account of the next attempt's; all that was held is in `runSeconds`."""
    if stage.progress is not None:
        none = {"working_seconds": 0, "redone_seconds": 0, "checkpoint_seconds": 0}
        stage.progress = stage.progress.model_copy(update=none)


def share_done(stage: StageStatus) -> float | None:
    """Share of the stage's work that is done, 0 to 1; None where nobody has told."""
    return float(stage.share) if stage.share else told_share(stage.name, stage.progress)


def share_left(stage: StageStatus) -> float:
    """Share of the stage's work that is not done, 0 to 1."""
    return 1 - (share_done(stage) or 0.0)


def note_pace(stage: StageStatus, told: Progress) -> None:
    """Count training's steps since they were last told; those of another group of workers begin anew."""
    if stage.name is not Stage.TRAINING or told.unit in NO_WORK or told.total <= 0:
        return
    before, stepped = stage.pace, _stepped(told)
    # Of a first attempt it is known that it began with nothing.
    marks = before or (
        Pace(group=told.group) if stage.attempt <= 1 else Pace(told_units=told.done, told_seconds=stepped)
    )
    pace = Pace() if marks.group != told.group else marks.model_copy()
    if told.done >= marks.told_units and stepped >= marks.told_seconds:
        pace.units += told.done - marks.told_units
        pace.seconds += stepped - marks.told_seconds
    pace.group, pace.total, pace.told_units, pace.told_seconds = told.group, told.total, told.done, stepped
    stage.pace = pace


def _stepped(progress: Progress) -> int:
    """Seconds of this attempt in which steps were made: those of work done again bring it forward as well."""
    return progress.working_seconds + progress.redone_seconds


def measured(stage: StageStatus, now: datetime) -> Measurement | None:
    """Speed in shares of the stage a second: that of training's steps, else the share that is done over the time it took."""
    progress, share = stage.progress or Progress(), share_done(stage)
    steady = _steps_speed(stage, now)
    if steady is not None:
        return steady
    seconds = worked_seconds(stage, now)
    if not share or seconds <= 0:
        return None
    return Measurement(share / seconds, seconds, calendar=1.0, spread=_spread(stage.name, progress, share))


def _steps_speed(stage: StageStatus, now: datetime) -> Measurement | None:
    """Mean over all steps that are known; before there is one, what the last says."""
    progress, pace = stage.progress or Progress(), stage.pace
    if pace is not None and pace.units > 0 and pace.seconds > 0:
        return Measurement(pace.units / pace.seconds / pace.total, pace.seconds, calendar=_calendar(stage, now))
    last = float(progress.tokens_per_second or 0)
    if last <= 0 or progress.total <= 0:
        return None
    return Measurement(last / progress.total, min(STEP_SECONDS, progress.working_seconds or 1))


def _calendar(stage: StageStatus, now: datetime) -> float:
    """Share of its time in which the work moves forward: the usual one, the less the longer this stage's own is seen."""
    of_attempt = stage.phases.working if stage.attempt_time or stage.phases.placed_time else 0
    held, worked = stage.run_seconds + _elapsed(stage, now), stage.worked_seconds + of_attempt
    if held <= 0 or worked <= 0:
        return CALENDAR_SHARE
    own = min(1.0, worked / held)
    weight = held / (held + CALENDAR_SECONDS)
    return math.exp((1 - weight) * math.log(CALENDAR_SHARE) + weight * math.log(own))


def _elapsed(stage: StageStatus, now: datetime) -> float:
    """Seconds that this attempt's first pod is placed."""
    begun = parse_time(stage.phases.placed_time)
    return max(0.0, (now - begun).total_seconds()) if begun else 0.0


def worked_seconds(stage: StageStatus, now: datetime) -> float:
    """Seconds that the share took: of this attempt by its head's account, where it has one; of those before, all that was held."""
    worked = float(stage.progress.working_seconds) if stage.progress and stage.phases.placed_time else 0.0
    return (worked or _elapsed(stage, now)) + (stage.run_seconds if stage.name in RESUMED else 0)


def _spread(name: Stage, progress: Progress, share: float) -> float:
    """Doubt in the time that is left, of its logarithm, because parts of the work differ; steps of training do not."""
    if progress.share:
        return STEP_SPREAD * math.sqrt(1 - share)
    if name is Stage.TRAINING:
        return 0.0
    left = progress.total - progress.done
    return UNIT_SPREAD * math.sqrt(1 / max(1, progress.done) + 1 / max(1, left))
