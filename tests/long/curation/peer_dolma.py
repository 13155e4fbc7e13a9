"""Signals of dolma (its splitter is whitespace too), as decisions at the same thresholds; run by an interpreter that has dolma.

python peer_dolma.py documents.jsonl decisions.json
"""

import json
import sys
from pathlib import Path

from dolma.taggers.c4 import get_attributes as c4_attributes
from dolma.taggers.gopher import get_attributes


def decide(text: str) -> dict[str, bool]:
    gopher, c4 = get_attributes(text), c4_attributes(text)
    top = dict(gopher.fraction_of_characters_in_most_common_ngram)
    return {
        "gopher.minAlphabeticWords": gopher.fraction_of_words_with_alpha_character >= 0.8,
        "dclm.minStopWords": gopher.required_word_count >= 2,
        "c4.maxCurlyBrackets": not c4.has_curly_brace,
        "c4.maxLoremIpsums": not c4.has_lorem_ipsum,
        "gopher.maxEllipsisLines": gopher.fraction_of_lines_ending_with_ellipsis <= 0.3,
        **{f"gopher.maxTop{n}Grams": top.get(n, 0) <= v for n, v in ((2, 0.20), (3, 0.18), (4, 0.16))},
    }


def main() -> None:
    rows = [decide(json.loads(line)["text"]) for line in Path(sys.argv[1]).read_text().splitlines()]
    Path(sys.argv[2]).write_text(json.dumps({name: [row[name] for row in rows] for name in rows[0]}))


if __name__ == "__main__":
    main()
