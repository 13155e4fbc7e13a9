"""Curation: rules at their published thresholds, a ledger that adds up, splits that do not depend on the rest."""

import numpy as np
import pytest
from llmtrain_jobs.curation import tokens
from llmtrain_jobs.curation.documents import dedup_key, is_held_out, judge
from llmtrain_jobs.curation.gopher import rejection
from llmtrain_jobs.curation.read import Record

from llmtrain.api.curation import FilterPreset

# 60 different words and two stop words: nothing to reject.
WORDS = [f"{a}{b}{c}e" for a in "bdfgk" for b in "aeio" for c in "lnr"]
PROSE = "the and " + " ".join(WORDS)

REJECTED = {
    "gopher.wordCount": " ".join(["the", "and", *WORDS][:49]),
    "gopher.meanWordLength": "the and " + " ".join(word * 4 for word in WORDS),
    "gopher.hashToWordRatio": PROSE + " #" * 8,
    "gopher.ellipsisToWordRatio": PROSE + " ..." * 8,
    "gopher.bulletLines": "\n".join("- the and " + word + " words" for word in WORDS),
    "gopher.ellipsisLines": "\n".join(f"the and {word} with some words..." if i % 2 else f"of that {word} have many more"
                                      for i, word in enumerate(WORDS)),
    "gopher.alphabeticWords": PROSE + " 1234" * 20,
    "gopher.stopWords": " ".join(WORDS),
    "gopher.duplicateLines": PROSE + "\na line\nmore" * 20,
    "gopher.top2Grams": PROSE + " very often" * 12,
}  # fmt: skip


def test_prose_is_kept() -> None:
    assert rejection(PROSE) is None


@pytest.mark.parametrize("rule", list(REJECTED))
def test_each_rule_rejects_what_breaks_it(rule: str) -> None:
    assert rejection(REJECTED[rule]) == rule


def test_fifty_words_are_enough_and_forty_nine_are_not() -> None:
    assert rejection(" ".join(["the", "and", *WORDS][:50])) is None
    assert rejection(" ".join(["the", "and", *WORDS][:49])) == "gopher.wordCount"


def test_every_record_has_exactly_one_fate() -> None:
    records = [Record(1, 100, PROSE), Record(2, 10, "too short"), Record(3, 7, problem="no JSON")]
    ledger = judge(records, [FilterPreset.GOPHER], "file").ledger
    assert ledger.documents == {"read": 3, "gopher.wordCount": 1, "badRecord": 1}
    assert ledger.bytes == {"read": 117, "gopher.wordCount": 10, "badRecord": 7}


def test_case_and_spaces_do_not_make_a_document_new() -> None:
    assert dedup_key("The  same\ntext") == dedup_key("the same text")
    assert dedup_key("the same text") != dedup_key("the same texts")


def test_the_share_that_is_held_out_is_the_share_asked_for() -> None:
    keys = [dedup_key(str(number)) for number in range(20_000)]
    held = sum(is_held_out(key, 1234, 0.1) for key in keys)
    # Binomial with n 20,000 and p 0.1: five standard deviations are 212.
    assert abs(held - 2000) < 212


def test_text_comes_back_from_its_tokens() -> None:
    texts = ["Some English text, with ünïcödé and 日本.", PROSE]
    tokenizer = tokens.train_tokenizer(texts, 400)
    encoded = tokens.encode(tokenizer, texts, "uint16")
    end = tokenizer.token_to_id(tokens.END_OF_TEXT)
    assert int((encoded == end).sum()) == 2
    first = list(encoded[: int(np.argmax(encoded == end))])
    assert tokenizer.decode([int(token) for token in first]) == texts[0]


def test_the_unigram_bar_of_a_uniform_corpus_is_the_logarithm_of_its_vocabulary() -> None:
    uniform = np.arange(256, dtype=np.uint16).repeat(4)
    assert tokens.unigram_bits_per_byte(uniform, uniform, 256, len(uniform)) == pytest.approx(8.0)
