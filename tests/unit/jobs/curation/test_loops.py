"""The compiled loops against plain Python, over texts of odd characters, spaces and line ends."""

import sys
from collections.abc import Callable

import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from llmtrain_jobs.curation.minhash import Permutations, shingles_of
from llmtrain_jobs.curation.signals.characters import END
from llmtrain_jobs.curation.signals.compiled import compiled
from llmtrain_jobs.curation.signals.hashing import mixed
from llmtrain_jobs.curation.signals.measure import measure
from llmtrain_jobs.curation.signals.words import normal_hashes, words_of

from tests.unit.jobs.curation import reference

ODD = [*"aAbzZß09_-#.!?…•{}\"'”’)] \t\n\r\v\f\x1c\x1f\x85\xa0\u2028\u3000", *"。！？東京のกำ်ាİΣσςKǅ½²٣ªÅ\u0301\u200b\ufeff😀𝐀", *"कीं্்ั\u064e\u0f72\u200d\u00ad\ufe0f", "\U000e0041", "\U0010ffff"]  # fmt: skip
WORDS = ["the", "be", "to", "of", "and", "The", "that", "have", "with", "lorem", "ipsum", "it's", "-", "--", "...", ". . .", "a.b", "don’t", "10.5", "end.", "end.\"", "東京。", "wait…", "{", "x#y", "\n", "\n\n", "\n \n", "\r\n", "  ", "• x", "- y"]  # fmt: skip
raw = st.text(st.one_of(st.sampled_from(ODD), st.characters(exclude_categories=["Cs"])), max_size=60)
prose = st.lists(st.sampled_from(WORDS), max_size=80).map(" ".join)
repeated = st.tuples(st.lists(st.sampled_from("abc"), max_size=60), st.sampled_from([" ", "\n", "\n\n"])).map(lambda drawn: drawn[1].join(drawn[0]))  # fmt: skip
texts = st.one_of(raw, prose, repeated)


@settings(max_examples=400, deadline=None)
@given(texts)
def test_signals_are_those_of_plain_python(text: str) -> None:
    assert measure(text, words_of(text)) == pytest.approx(reference.signals(text), abs=1e-12)


@settings(max_examples=300, deadline=None)
@given(texts)
def test_hashes_are_those_of_plain_python(text: str) -> None:
    words = words_of(text)
    assert words.hashes.tolist() == [reference.digest(word) for word in text.split()]
    assert np.diff(words.ends).tolist() == [len(word) for word in text.split()]
    assert words.normal.tolist() == [reference.digest(word) for word in reference.normal_words(text)]


@settings(max_examples=100, deadline=None)
@given(texts, st.integers(1, 6))
def test_shingles_and_signatures_are_those_of_plain_python(text: str, size: int) -> None:
    words, permutations = reference.normal_words(text), Permutations.make(24, 4)
    runs = [words[start : start + size] for start in range(max(1, len(words) - size + 1))] if words else []
    shingles = shingles_of(normal_hashes(text), size)
    assert shingles.tolist() == [reference.shingle(run) for run in runs]
    if runs:
        expected = reference.signature(
            shingles.tolist(), permutations.multipliers.tolist(), permutations.offsets.tolist()
        )
        assert permutations.signature(shingles).tolist() == expected


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20))
def test_mixing_is_that_of_plain_python(values: list[int]) -> None:
    assert mixed(np.array(values, dtype=np.uint64)).tolist() == [reference.mixed(value) for value in values]


def test_no_character_beyond_the_table_is_of_any_kind() -> None:
    beyond = "".join(map(chr, range(END, sys.maxunicode + 1)))
    for holds in (str.isspace, str.isalnum, str.isalpha):
        assert not any(map(holds, beyond))
    assert not regex.search(r"\p{Sentence_Terminal}", beyond)


def test_a_loop_whose_code_can_be_kept_nowhere_is_compiled_all_the_same() -> None:
    names: dict[str, Callable[[int], int]] = {}
    exec("def twice(number): return 2 * number", names)  # a function of no file
    assert compiled(names["twice"])(21) == 42
