"""Decisions of datatrove by rule, whitespace for its word splitter; run by an interpreter that has datatrove.

python peer_datatrove.py documents.jsonl decisions.json
"""

import json
import sys
from pathlib import Path

from datatrove.data import Document
from datatrove.pipeline.filters import (
    c4_filters,
    fineweb_quality_filter,
    gopher_quality_filter,
    gopher_repetition_filter,
)

for module in (fineweb_quality_filter, gopher_quality_filter, gopher_repetition_filter):
    module.split_into_words = lambda text, language: text.split()

QUALITY_OFF = dict.fromkeys(
    ("min_doc_words", "max_doc_words", "min_avg_word_length", "max_avg_word_length", "max_symbol_word_ratio",
     "max_bullet_lines_ratio", "max_ellipsis_lines_ratio", "max_non_alpha_words_ratio", "min_stop_words")
)  # fmt: skip
QUALITY = {
    "gopher.minWords": {"min_doc_words": 50}, "gopher.maxWords": {"max_doc_words": 100000},
    "gopher.minMeanWordLength": {"min_avg_word_length": 3}, "gopher.maxMeanWordLength": {"max_avg_word_length": 10},
    "gopher.maxBulletLines": {"max_bullet_lines_ratio": 0.9}, "gopher.maxEllipsisLines": {"max_ellipsis_lines_ratio": 0.3},
    "gopher.minAlphabeticWords": {"max_non_alpha_words_ratio": 0.8}, "gopher.minStopWords": {"min_stop_words": 2},
    "gopher.maxSymbolsPerWord": {"max_symbol_word_ratio": 0.1},
}  # fmt: skip
REPETITION_OFF = {"dup_line_frac": None, "dup_para_frac": None, "dup_line_char_frac": None, "dup_para_char_frac": None,
                  "top_n_grams": (), "dup_n_grams": ()}  # fmt: skip
REPETITION = {
    "gopher.maxDuplicateLines": {"dup_line_frac": 0.3}, "gopher.maxDuplicateParagraphs": {"dup_para_frac": 0.3},
    "gopher.maxDuplicateLineCharacters": {"dup_line_char_frac": 0.2},
    "gopher.maxDuplicateParagraphCharacters": {"dup_para_char_frac": 0.2},
    **{f"gopher.maxTop{n}Grams": {"top_n_grams": ((n, v),)} for n, v in ((2, 0.20), (3, 0.18), (4, 0.16))},
    **{f"gopher.maxDuplicate{n}Grams": {"dup_n_grams": ((n, v),)}
       for n, v in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10))},
}  # fmt: skip
FINE_WEB_OFF = {"line_punct_thr": 0.0, "short_line_thr": 2.0, "char_duplicates_ratio": 2.0, "new_line_ratio": 1e9}
FINE_WEB = {
    "fineweb.minTerminalLines": {"line_punct_thr": 0.12}, "fineweb.maxShortLines": {"short_line_thr": 0.67},
    "fineweb.maxRepeatedLineCharacters": {"char_duplicates_ratio": 0.01},
    "fineweb.maxNewlinesPerWord": {"new_line_ratio": 0.3},
}  # fmt: skip


def filters():
    for name, on in QUALITY.items():
        yield name, gopher_quality_filter.GopherQualityFilter(**(QUALITY_OFF | on))
    for name, on in REPETITION.items():
        yield name, gopher_repetition_filter.GopherRepetitionFilter(**(REPETITION_OFF | on))
    for name, on in FINE_WEB.items():
        yield name, fineweb_quality_filter.FineWebQualityFilter(**(FINE_WEB_OFF | on))
    yield "c4.document", c4_filters.C4QualityFilter()


def main() -> None:
    texts = [json.loads(line)["text"] for line in Path(sys.argv[1]).read_text().splitlines()]
    decisions = {}
    for name, rule in filters():
        decisions[name] = [rule.filter(Document(text=text, id="x")) is True for text in texts]
    Path(sys.argv[2]).write_text(json.dumps(decisions))


if __name__ == "__main__":
    main()
