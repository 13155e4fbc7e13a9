"""Line rules against what their papers and reference code say of a line, worked out by hand."""

import pytest
from llmtrain_jobs.curation.edits import c4_line, clean, edit, refined_web_line

from llmtrain.api.curation import Edit
from tests.unit.jobs.curation.world import World, jsonl, prose

# line, what stays of it
C4: dict[str, tuple[str, str | None]] = {
    "three words that end": ("It ends here.", "It ends here."),
    "two words": ("It ends.", None),
    "no end": ("It does not end", None),
    "a question, a call, a quotation": ('He asked: "why?"', 'He asked: "why?"'),
    "an ellipsis is no end": ("It trails off...", None),
    "javascript in any case": ("Please enable JavaScript to go on.", None),
    "a policy": ("Read our Privacy Policy now.", None),
    "cookies": ("This site uses cookies to work.", None),
    "citations go": ("Paris[1] is big[citation needed][edit].", "Paris is big."),
    "a word of 1,000 characters": (f"a b {'x' * 999}.", f"a b {'x' * 999}."),
    "a word of 1,001 characters": (f"a b {'x' * 1000}.", None),
    "spaces around": ("  It ends here.\t", "It ends here."),
}
REFINED_WEB: dict[str, tuple[str, str | None]] = {
    "plain": ("A line as it should be", "A line as it should be"),
    "an empty line parts paragraphs": ("", ""),
    "one word": ("Home", None),
    "numbers alone": ("12 - 34, 56", None),
    "a counter": ("1.2k likes", None),
    "a counter of followers": ("3 followers", None),
    "a number in a sentence": ("3 little pigs came", "3 little pigs came"),
    "more than half in capitals": ("BUY NOW ok", None),
    "half in capitals": ("BUY NO abc", "BUY NO abc"),
    "a call at its start": ("Sign-in to see it", "to see it"),
    "a call at its end": ("A story of two cities read more...", "A story of two cities"),
    "nothing but a call": ("items in cart", None),
    "a call in a line of eleven words": ("one two three four five six seven eight nine read more...",) * 2,
}


@pytest.mark.parametrize("case", list(C4))
def test_c4_keeps_of_a_line_what_it_should(case: str) -> None:
    line, expected = C4[case]
    assert c4_line(line) == expected


@pytest.mark.parametrize("case", list(REFINED_WEB))
def test_refined_web_keeps_of_a_line_what_it_should(case: str) -> None:
    line, expected = REFINED_WEB[case]
    assert refined_web_line(line) == expected


def test_the_share_of_removed_words_is_that_of_all_rules_together() -> None:
    text = "One two three four.\nHome\n5 likes\nFive six seven eight."
    edited = edit(text, [Edit.REFINED_WEB_LINES, Edit.C4_LINES])
    assert edited.text == "One two three four.\nFive six seven eight."
    assert edited.removed_word_share == pytest.approx(3 / 11)
    assert edit(text, []) == type(edited)(text, 0.0)


CLEANED = {
    "line ends": ("a\r\nb\rc", "a\nb\nc"),
    "composed": ("e\u0301", "é"),
    "controls": ("a\x00b\x07c\x7fd\ufeffe", "abcde"),
    "tabs and form feeds stay": ("a\tb\fc", "a\tb\fc"),
    "halves of pairs": ("a\ud800b", "ab"),
}


@pytest.mark.parametrize("case", list(CLEANED))
def test_a_text_is_cleaned_before_anything_is_measured(case: str) -> None:
    text, expected = CLEANED[case]
    assert clean(text) == expected


def test_bytes_that_edits_remove_are_in_the_ledger(world: World) -> None:
    rows = [{"text": prose(i) + "\nRead our privacy policy here."} for i in range(40)]
    jsonl(world.root / "in" / "a.jsonl", rows)
    report = world.report(world.run({"edits": ["C4Lines"], "filters": {"presets": []}}))
    assert report["ledger"]["keptText"]["removedByEdits"] == 40 * len("\nRead our privacy policy here.")
