"""Rows of questions for tests, made of random words."""

import random

from llmtrain_jobs.evaluation.tasks.rows import Fields

from tests.unit.jobs.evaluation.models import sentences

LABELS = ["A", "B", "C", "D"]


def choice_rows(count: int) -> list[Fields]:
    """ARC's shape."""
    draw, texts = random.Random(2), sentences(5 * count, 3)
    rows = []
    for number in range(count):
        question, *choices = texts[5 * number : 5 * number + 5]
        shown = {"text": choices, "label": LABELS}
        rows.append({"question": question, "choices": shown, "answerKey": draw.choice(LABELS)})
    return rows
