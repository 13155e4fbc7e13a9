"""How far a running stage is, and what its speed says of the time that is left: from what its head told, nothing is asked."""

import math
from datetime import datetime

from llmtrain.api.status import Progress, Stage, StageStatus
from llmtrain.cost.forecast import Measurement
from llmtrain_operator.billing import parse_time

RESUMED = (Stage.CURATION, Stage.TRAINING)
"""Stages whose attempts go on from where the last one was."""
NO_WORK = ("workers",)
"""Units that heads count before the stage's work begins."""
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


def share_done(stage: StageStatus) -> float | None:
    """Share of the stage's work that is done, 0 to 1; None where nobody has told."""
    return float(stage.share) if stage.share else told_share(stage.name, stage.progress)


def share_left(stage: StageStatus) -> float:
    """Share of the stage's work that is not done, 0 to 1."""
    return 1 - (share_done(stage) or 0.0)


def measured(stage: StageStatus, now: datetime) -> Measurement | None:
    """Speed in shares of the stage a second: what it reports itself, else the share that is done over the time it took."""
    progress, share = stage.progress or Progress(), share_done(stage)
    seconds = worked_seconds(stage, now)
    steady = float(progress.tokens_per_second or 0)
    if steady > 0 and progress.total > 0 and seconds > 0:
        return Measurement(steady / progress.total, float(progress.working_seconds or seconds))
    if not share or seconds <= 0:
        return None
    return Measurement(share / seconds, seconds, in_all=True, spread=_spread(stage.name, progress, share))


def worked_seconds(stage: StageStatus, now: datetime) -> float:
    """Seconds that the share took: of this attempt by its head's account, where it has one; of those before, all that was held."""
    begun = parse_time(stage.phases.placed_time)
    elapsed = max(0.0, (now - begun).total_seconds()) if begun else 0.0
    worked = float(stage.progress.working_seconds) if stage.progress else 0.0
    return (worked or elapsed) + (stage.run_seconds if stage.name in RESUMED else 0)


def _spread(name: Stage, progress: Progress, share: float) -> float:
    """Doubt in the time that is left, of its logarithm, because parts of the work differ; steps of training do not."""
    if progress.share:
        return STEP_SPREAD * math.sqrt(1 - share)
    if name is Stage.TRAINING:
        return 0.0
    left = progress.total - progress.done
    return UNIT_SPREAD * math.sqrt(1 / max(1, progress.done) + 1 / max(1, left))
