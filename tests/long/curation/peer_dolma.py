"""Signals of dolma (its splitter is whitespace too), as decisions at the thresholds of its mix; run by an interpreter that has dolma.

python peer_dolma.py documents.jsonl decisions.json
"""

import json
import sys
from pathlib import Path

from dolma.taggers.c4 import get_attributes as c4_attributes
from dolma.taggers.gopher import get_attributes

TOP = ((2, 0.20), (3, 0.18), (4, 0.16))
COPIED = ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10))


def decide(text: str) -> dict[str, bool]:
    gopher, c4 = get_attributes(text, ignore_empty_lines=True), c4_attributes(text)
    top = dict(gopher.fraction_of_characters_in_most_common_ngram)
    copied = dict(gopher.fraction_of_characters_in_duplicate_ngrams)
    return {
        "dolma.minWords": gopher.word_count >= 50,
        "dolma.maxWords": gopher.word_count <= 100_000,
        "dolma.minMedianWordLength": gopher.median_word_length >= 3,
        "dolma.maxMedianWordLength": gopher.median_word_length <= 10,
        "dolma.maxSymbolWords": gopher.symbol_to_word_ratio <= 0.1,
        "dolma.maxBulletLines": gopher.fraction_of_lines_starting_with_bullet_point <= 0.9,
        "dolma.maxEllipsisLines": gopher.fraction_of_lines_ending_with_ellipsis <= 0.3,
        "dolma.minAlphabeticWords": gopher.fraction_of_words_with_alpha_character >= 0.8,
        "dolma.minStopWords": gopher.required_word_count >= 2,
        "dolma.maxCopiedLines": gopher.fraction_of_duplicate_lines <= 0.3,
        "dolma.maxCopiedLineCharacters": gopher.fraction_of_characters_in_duplicate_lines <= 0.3,
        **{f"dolma.maxTop{n}Grams": top.get(n, 0) <= v for n, v in TOP},
        **{f"dolma.maxCopied{n}Grams": copied.get(n, 0) <= v for n, v in COPIED},
        "c4.maxCurlyBrackets": not c4.has_curly_brace,
        "c4.maxLoremIpsums": not c4.has_lorem_ipsum,
    }


def main() -> None:
    rows = [decide(json.loads(line)["text"]) for line in Path(sys.argv[1]).read_text().splitlines()]
    Path(sys.argv[2]).write_text(json.dumps({name: [row[name] for row in rows] for name in rows[0]}))


if __name__ == "__main__":
    main()
