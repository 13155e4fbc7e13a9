"""Which part of an attempt's time belongs to one worker pod: it may have come late, or stood by while others trained.

The head tells what the attempt as a whole did, and which workers train. What it did without a pod is noted in the pod's
slot, so that time in which a paid pod did nothing never counts as work.
"""

import re

from llmtrain.api.status import Phases, PhaseSeconds, Progress, StageStatus, WorkerState
from llmtrain_operator.names import WORKER
from llmtrain_operator.podstate import PodState

INDEX = re.compile(r"[0-9]{1,4}")
PARTS = ("working", "redone", "checkpointing")


def so_far(phases: Phases) -> PhaseSeconds:
    """All that the attempt did before a pod that is made now."""
    return PhaseSeconds(**{part: getattr(phases, part) for part in PARTS})


def attribute(stage: StageStatus, before: Phases, now: Phases, progress: Progress | None) -> None:
    """Note for each worker that did not train what the attempt has done since it was last looked at."""
    if progress is None or not progress.group:
        return
    grown = {part: getattr(now, part) - getattr(before, part) for part in PARTS}
    if not any(grown.values()):
        return
    members = set(indices(progress.group))
    for slot in [*stage.parked, *(slot for slot in stage.workers if slot.index not in members)]:
        known = slot.elsewhere or PhaseSeconds()
        slot.elsewhere = PhaseSeconds(**{part: getattr(known, part) + grown[part] for part in PARTS})


class Shares:
    """The phases of each of a stage's pods, as far as they are the pod's; made once a look, for there are many pods."""

    def __init__(self, stage: StageStatus | None) -> None:
        """`stage`: the one whose current attempt's phases are known."""
        self._stage = stage
        self._slots = {slot.index: slot for slot in (*stage.workers, *stage.parked)} if stage else {}

    def of(self, pod: PodState) -> Phases:
        """Of a pod of another stage or attempt nothing is known."""
        stage = self._stage
        if stage is None or (stage.name.value, stage.attempt) != (pod.stage, pod.attempt):
            return Phases()
        slot = self._slots.get(pod.index) if pod.role == WORKER else None
        if slot is None:
            return stage.phases
        if slot.incarnation > pod.incarnation:
            known = slot.last_pod
        else:
            known = with_it(slot, stage.phases) if slot.elsewhere else None
        update = {part: getattr(known, part) for part in PARTS} if known else {}
        return stage.phases.model_copy(update=update) if update else stage.phases


def with_it(slot: WorkerState, phases: Phases) -> PhaseSeconds:
    """What the attempt has done with the slot's present pod."""
    without = slot.elsewhere or PhaseSeconds()
    return PhaseSeconds(**{part: max(0, getattr(phases, part) - getattr(without, part)) for part in PARTS})


def hand_over(slot: WorkerState, phases: Phases, reason: str = "") -> None:
    """The slot gets its next pod. The last one, which ended for this reason, may be billed much later, on a node that does not
    answer.
    """
    slot.last_pod, slot.elsewhere = with_it(slot, phases), so_far(phases)
    slot.incarnation, slot.replaced_for = slot.incarnation + 1, reason


def indices(text: str) -> list[int]:
    """The numbers of "0-3,5"; what is no number is left out."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        last = last if dash else first
        if INDEX.fullmatch(first) and INDEX.fullmatch(last):
            found += range(int(first), int(last) + 1)
    return found
