"""Where our decisions differ from a peer's on the same text, and why. The peers' values are those of their definitions."""

import pytest
from llmtrain_jobs.curation.signals.measure import measure
from llmtrain_jobs.curation.signals.words import words_of


def signal(text: str, name: str) -> float:
    return measure(text, words_of(text))[name]


def test_dolma_leaves_spaces_out_of_the_most_frequent_ngram_and_its_preset_does_so_too() -> None:
    """dolma: 2 x 7 letters of 32 letters = 0.44; datatrove and Gopher's preset: 2 x 9 characters of 42 = 0.43."""
    text = "ab cde fg one two x ab cde fg three fourth"
    without_spaces = 2 * 7 / len(text.replace(" ", ""))
    assert signal(text, "top3GramCharacterShare") == pytest.approx(2 * 9 / len(text))
    assert signal(text, "top3GramWordCharacterShare") == pytest.approx(without_spaces)
    assert without_spaces > signal(text, "top3GramCharacterShare")


def test_spacy_splits_punctuation_off_and_counts_it_as_words_without_letters() -> None:
    """datatrove as shipped: 4 of 8 tokens have a letter, which it refuses below 0.8; by whitespace 4 of 4."""
    assert signal("one, two, three, four.", "alphabeticWordShare") == 1.0


def test_datatrove_counts_a_symbol_that_is_not_in_its_list_as_a_word() -> None:
    """An arrow is no word here: a word has a letter or a digit."""
    assert signal("one → two", "words") == 2


def test_dolma_takes_an_asterisk_for_a_bullet_and_datatrove_does_not() -> None:
    assert signal("* one\n* two", "bulletLineShare") == 0.0
    assert signal("* one\n* two", "markedLineShare") == 1.0


def test_dolma_counts_every_copy_of_a_repeated_line_and_datatrove_all_but_the_first() -> None:
    assert signal("same\nsame\nother", "duplicateLineShare") == pytest.approx(1 / 3)
    assert signal("same\nsame\nother", "copiedLineShare") == pytest.approx(2 / 3)


def test_fineweb_takes_no_quotation_mark_for_the_end_of_a_sentence_and_c4_does() -> None:
    assert signal('He said "no"', "terminalLineShare") == 0.0
    assert signal("He said no.", "terminalLineShare") == 1.0


def test_an_abbreviation_of_single_letters_ends_no_sentence_known_to_spacy_or_not() -> None:
    """spaCy has `e.g.` in its list and `p.o.` not, so that datatrove counts two sentences in the second text."""
    assert signal("Take it e.g. once a day.", "sentences") == 1
    assert signal("Take it p.o. once a day.", "sentences") == 1
