"""Lines of many jobs added up by a label of theirs, such as a cost centre; and what tells one line from another."""

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256

from llmtrain.api import GROUP
from llmtrain.api.status import Split
from llmtrain.ledger.document import COUNTS
from llmtrain.ledger.lines import PROVISIONAL, Line

KEPT = ("namespace", "month", "stage", "role", "plan", "tenure", "state", "commitment", "accelerator")
NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
PREFIX = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
LABEL = re.compile(rf"(?=.{{1,317}}$)({PREFIX}/)?{NAME}")


class LabelError(ValueError):
    """No label of a job; the message says why."""


def checked_label(label: str) -> str:
    """The key of a label that jobs may have. LabelError for what is none, and for those that are the operator's."""
    if not LABEL.fullmatch(label):
        raise LabelError(f"{label!r} is no key of a label; one is cost-centre, another example.com/cost-centre")
    if label.startswith(f"{GROUP}/"):
        raise LabelError(f"{label!r} is a label of the operator, which no bill keeps; name one that you gave your jobs")
    return label


def grouped(lines: Iterable[Line], label: str) -> list[Line]:
    """One line a namespace, month, value of the label, stage, role, plan, tenure and state, of no job by itself.

    Its labels are this one alone, or none for jobs without it. It starts with the first and ends with the last; what is
    not over in one of them is not over in all.
    """
    sums: dict[tuple[str, ...], Line] = {}
    for line in lines:
        mine = {label: line.labels[label]} if label in line.labels else {}
        one = replace(line, job="", uid="", booked="", labels=mine)
        key = (*(getattr(one, name) for name in KEPT), *mine.values())
        sums[key] = _both(sums[key], one) if key in sums else one
    return [sums[key] for key in sorted(sums)]


def _both(one: Line, other: Line) -> Line:
    parts = {name: getattr(one.split, name) + getattr(other.split, name) for name in Split.model_fields}
    return replace(
        one,
        **{name: getattr(one, name) + getattr(other, name) for name in COUNTS},
        start=min(one.start, other.start) if one.start and other.start else one.start or other.start,
        end=max(one.end, other.end) if one.end and other.end else "",
        split=Split(**parts),
    )


def row_id(line: Line, *more: str) -> str:
    """The same for the same line whenever it is exported, and another for every other line; `more` is what else tells it.

    What is not settled is a line beside what is, and is told apart; a line keeps its id when a job is deleted and booked.
    """
    labels = [] if line.uid else sorted(line.labels.items())
    unsettled = line.state if line.state == PROVISIONAL else ""
    who = [line.namespace, line.uid, line.booked, line.stage, line.role, line.plan, line.tenure, unsettled, labels]
    return sha256(json.dumps([*who, *more]).encode()).hexdigest()[:32]
