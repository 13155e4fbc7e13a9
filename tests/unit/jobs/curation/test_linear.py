"""No text is so odd that a step takes the square of its length: 40 KB take milliseconds, by their square many seconds."""

import time
import unicodedata

import pytest
from llmtrain_jobs.curation.edits import clean, refined_web_line
from llmtrain_jobs.curation.signals.characters import MOST_MARKS

from tests.unit.jobs.curation.odd import STEPS, TEXTS

pytestmark = pytest.mark.timeout(300)
SIZE, MOST_SECONDS = 40_000, 0.5


@pytest.mark.parametrize("step", list(STEPS))
def test_a_step_over_an_odd_text_takes_no_time_to_speak_of(step: str) -> None:
    run = STEPS[step]
    run("Words that are compiled, # é\n a@b.de 1.2.3.4")
    slow = {}
    for name, text in TEXTS.items():
        made, start = text(SIZE), time.process_time()
        run(made)
        if (seconds := time.process_time() - start) > MOST_SECONDS:
            slow[name] = seconds
    assert not slow


# line, what stays of it, after its patterns walk through a run only once
LINES: dict[str, tuple[str, str | None]] = {
    "a counter with blanks": ("*  1,200.5   K   likes !", None),
    "a counter without a blank before its letter": ("12m views", None),
    "no counter": ("12km views of it", "12km views of it"),
    "calls one after the other": ("a b items in cart   read more...", "a b"),
    "a call amid blanks": ("a    items in cart    b", "ab"),
    "numbers with marks": ("- 1 _ 2.", None),
    "marks without a number": ("- - _", "- - _"),
}


@pytest.mark.parametrize("case", list(LINES))
def test_line_rules_decide_as_before(case: str) -> None:
    line, expected = LINES[case]
    assert refined_web_line(line) == expected


def test_marks_are_brought_into_order_as_far_as_they_may_be_writing() -> None:
    assert clean("a" + "\u0301\u0323" + "e\u0301") == "ạ\u0301é"
    many = "a" + "\u0301\u0323" * MOST_MARKS
    assert sorted(unicodedata.normalize("NFD", clean(many))) == sorted(many)
