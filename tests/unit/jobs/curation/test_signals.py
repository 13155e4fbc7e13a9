"""Signals against values computed by hand; each rule refuses what is just beyond its bound and keeps what is on it."""

import numpy as np
import pytest
from llmtrain_jobs.curation.presets import DCLM, DOLMA, FINE_WEB, GOPHER, PRESETS, Bound
from llmtrain_jobs.curation.rules import bounds_of, broken
from llmtrain_jobs.curation.signals.measure import TEXT_SIGNALS, measure
from llmtrain_jobs.curation.signals.words import normal_hashes, words_of
from llmtrain_jobs.errors import StageError

from llmtrain.api.curation import FilterPreset, Filters


def signals(text: str) -> dict[str, float]:
    return measure(text, words_of(text))


# text, signal, value by hand
BY_HAND: dict[str, tuple[str, str, float]] = {
    "words without symbols": ("one two -- three", "words", 3),
    "length without symbols": ("a bbb -- ccccc", "meanWordLength", 3.0),
    "hashes per word, symbols counted": ("# a ## b", "hashesPerWord", 3 / 4),
    "ellipses of both kinds": ("a... b… c d", "ellipsesPerWord", 2 / 4),
    "dclm counts spaced ellipses": ("a . . . b #", "symbolsPerWord", 2 / 6),
    "letters in words": ("a1 22 33 bb", "alphabeticWordShare", 2 / 4),
    "different stop words, case counts": ("the the and The", "distinctStopWords", 2),
    "stop words with repeats": ("the the and The", "stopWords", 3),
    "newlines per word": ("a b\nc d\n", "newlinesPerWord", 2 / 4),
    "bullets, after spaces": ("- a\n  • b\nc\nd", "bulletLineShare", 2 / 4),
    "lines that trail off": ("a...\nb …\nc\nd", "ellipsisLineShare", 2 / 4),
    "lines that end": ("a.\nb\n\nc!\nd", "terminalLineShare", 2 / 4),
    "a line of 30 is short, of 31 not": ("a" * 30 + "\n" + "a" * 31, "shortLineShare", 1 / 2),
    "brackets": ("a { b } {", "curlyBrackets", 2),
    "lorem ipsum in any case": ("Lorem Ipsum lorem ipsum", "loremIpsums", 2),
    "sentences": ("One. Two! Three?\nFour", "sentences", 4),
    "one within a dotted name, as spaCy": ("Use random.Random here, not os.path.", "sentences", 2),
    "no sentence within a number": ("It was 3.14 metres.", "sentences", 1),
    "none after an abbreviation of single letters": ("Fruit, e.g. figs, by J. Doe (i.e. us).", "sentences", 1),
    "none after an ellipsis, none of stops alone": ("... Wait... what?\n. . . .", "sentences", 2),
    "two stops end one sentence": ("What?! Yes.", "sentences", 2),
    "scripts without spaces": ("一つ。二つ！", "sentences", 2),
    "a quotation ends": ('"No." He left', "sentences", 2),
    "repeated lines": ("ab\nab\ncd\nab", "duplicateLineShare", 2 / 4),
    "their characters": ("ab\nab\ncd\nab", "duplicateLineCharacterShare", 4 / 11),
    "repeated paragraphs": ("ab\n\nab\n\ncd", "duplicateParagraphShare", 1 / 3),
    "their characters, too": ("ab\n\nab\n\ncd", "duplicateParagraphCharacterShare", 2 / 10),
    "fineweb leaves newlines out": ("ab\nab\ncd\nab", "repeatedFilledLineCharacterShare", 4 / 8),
    "top 2-gram with its space": ("a b a b c", "top2GramCharacterShare", 2 * 3 / 9),
    "of equal ones the first": ("aa b c d", "top2GramCharacterShare", 4 / 8),
    "top 3-gram": ("a b c a b c", "top3GramCharacterShare", 2 * 5 / 11),
    "repeated 5-gram once": ("a b c d e a b c d e", "duplicate5GramCharacterShare", 5 / 19),
    "no repeated 6-gram": ("a b c d e a b c d e", "duplicate6GramCharacterShare", 0),
    "overlaps count once": (" ".join("a" * 12), "duplicate5GramCharacterShare", 10 / 23),
    "dolma: every word counts": ("one two -- three", "allWords", 4),
    "dolma: the middle of the lengths": ("a bbb -- ccccc", "medianWordLength", 2.5),
    "dolma: words with a symbol": ("a... b… c# ##", "symbolWordShare", 3 / 4),
    "dolma: bullets as they stand": ("* a\n- b\n • c\n - d", "markedLineShare", 2 / 4),
    "dolma: an ellipsis of one character": ("a…\nb...\nc… ", "endedByEllipsisShare", 1 / 3),
    "dolma: all copies of a line": ("ab\nab\n\ncd\nab", "copiedLineShare", 3 / 4),
    "dolma: their characters of those in words": ("a b\na b\ncd", "copiedLineCharacterShare", 6 / 6),
    "dolma: top 2-gram without its space": ("a b a b c", "top2GramWordCharacterShare", 2 * 2 / 5),
    "dolma: both copies of a 5-gram": ("a b c d e a b c d e", "copied5GramCharacterShare", 10 / 30),
    "dolma: overlaps count again": (" ".join("a" * 12), "copied5GramCharacterShare", 1),
}


@pytest.mark.parametrize("case", list(BY_HAND))
def test_a_signal_has_the_value_computed_by_hand(case: str) -> None:
    text, signal, value = BY_HAND[case]
    assert signals(text)[signal] == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("text", ["", " \n ", "...", "日本語の文章です。", "a", "\n\n\n"])
def test_every_signal_is_a_number_for_any_text(text: str) -> None:
    found = signals(text)
    assert set(found) == set(TEXT_SIGNALS)
    assert all(np.isfinite(value) for value in found.values())


def every_bound() -> list[Bound]:
    return list({bound.name: bound for bounds in PRESETS.values() for bound in bounds}.values())


@pytest.mark.parametrize("bound", every_bound(), ids=lambda bound: bound.name)
def test_a_bound_allows_its_value_and_refuses_the_next_beyond(bound: Bound) -> None:
    beyond = -1e-9 if bound.side == "least" else 1e-9
    columns = {bound.signal: np.array([bound.value, bound.value + beyond, np.nan])}
    assert broken([bound], columns)[:, 0].tolist() == [False, True, False]


def test_the_published_thresholds_are_those_of_the_papers() -> None:
    values = {bound.name: bound.value for bound in [*GOPHER, *FINE_WEB, *DCLM, *DOLMA]}
    expected = {"gopher.minWords": 50, "gopher.maxWords": 100_000, "gopher.minAlphabeticWords": 0.8,
                "gopher.maxTop2Grams": 0.2, "gopher.maxTop3Grams": 0.18, "gopher.maxTop4Grams": 0.16,
                "gopher.maxDuplicate5Grams": 0.15, "gopher.maxDuplicate10Grams": 0.10, "gopher.maxDuplicateLines": 0.3,
                "gopher.maxDuplicateLineCharacters": 0.2, "fineweb.minTerminalLines": 0.12,
                "fineweb.maxShortLines": 0.67, "fineweb.maxRepeatedLineCharacters": 0.01,
                "fineweb.maxNewlinesPerWord": 0.3, "dclm.maxRemovedWords": 0.05,
                "dolma.minMedianWordLength": 3, "dolma.maxCopiedLineCharacters": 0.3, "dolma.maxTop3Grams": 0.18,
                "dolma.maxCopied10Grams": 0.10}  # fmt: skip
    assert {name: values[name] for name in expected} == expected


def test_an_override_moves_one_bound_and_an_unknown_name_says_what_there_is() -> None:
    moved = bounds_of(Filters(overrides={"gopher.minWords": "20"}))
    assert {bound.name: bound.value for bound in moved}["gopher.minWords"] == 20
    with pytest.raises(StageError, match=r"no rule `gopher\.words` among the presets; there are .*gopher\.minWords"):
        bounds_of(Filters(overrides={"gopher.words": "20"}))
    with pytest.raises(StageError, match="no rule `fineweb"):
        bounds_of(Filters(presets=[FilterPreset.GOPHER], overrides={"fineweb.maxShortLines": "1"}))


# name: text, its words
MARKED: dict[str, tuple[str, list[str]]] = {
    "Hindi": ("पिता का घर बहुत दूर है।", ["पिता", "का", "घर", "बहुत", "दूर", "है"]),
    "Hindi, joined": ("क्\u200dषेत्र", ["क्षेत्र"]),
    "Bengali": ("আমি বাংলায় গান গাই", ["আমি", "বাংলায়", "গান", "গাই"]),
    "Tamil": ("தமிழ் மொழி இனிது.", ["தமிழ்", "மொழி", "இனிது"]),
    "Arabic with harakat": ("كَتَبَ الْوَلَدُ", ["كَتَبَ", "الْوَلَدُ"]),
    "Persian with joiners": ("می\u200cخواهم بروم", ["میخواهم", "بروم"]),
    "Hebrew with points": ("שָׁלוֹם עוֹלָם", ["שָׁלוֹם", "עוֹלָם"]),
    "Tibetan": ("བོད་སྐད་ཡིན།", ["བོད", "སྐད", "ཡིན"]),
    "Thai, letter by letter": ("ที่นี่", ["ที่", "นี่"]),
    "Khmer": ("ខ្មែរ", ["ខ្", "មែ", "រ"]),
    "decomposed": ("cafe\u0301 A\u030angstro\u0308m", ["café", "ångström"]),
    "soft hyphens": ("ex\u00adam\u00adple", ["example"]),
    "marks of nothing": ("❤\ufe0f \u0301", []),
}


@pytest.mark.parametrize("case", list(MARKED))
def test_marks_belong_to_the_character_before_them(case: str) -> None:
    text, expected = MARKED[case]
    assert normal_hashes(text).tolist() == [int(normal_hashes(word)[0]) for word in expected]
    assert len(set(normal_hashes(text).tolist())) == len(expected)


def test_texts_that_differ_in_marks_alone_are_different() -> None:
    assert normal_hashes("पिता का घर दूर है").tolist() != normal_hashes("पीता को घर दूर हे").tolist()
    assert normal_hashes("عَلِمَ").tolist() != normal_hashes("عُلِمَ").tolist()
    assert normal_hashes("มา").tolist() != normal_hashes("ม้า").tolist()


def test_a_word_in_normal_form_is_a_run_of_letters_and_digits_or_a_character_of_a_script_without_spaces() -> None:
    text = "It's a well-known fact, isn't it? 東京 is big."
    expected = ["it", "s", "a", "well", "known", "fact", "isn", "t", "it", "東", "京", "is", "big"]
    assert normal_hashes(text).tolist() == [int(normal_hashes(word)[0]) for word in expected]
