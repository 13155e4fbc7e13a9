"""Signals of words and lines: Gopher's quality rules, FineWeb's, C4's and DCLM's.

Definitions as in datatrove 0.10.1 and DCLM; where the two differ both are stored.
"""

import re
from functools import cache

import numpy as np
import regex

from llmtrain_jobs.curation.signals.lexicon import ALPHABETIC, SYMBOL, Words

SENTENCE = re.compile(r"[.!?。！？]+[\"'”’)\]]*(?=\s|$)|[。！？]")
LAST_SENTENCE = re.compile(r"(?:[.!?]|[。！？])[\"'”’)\]]*[^\S\n]*$", re.MULTILINE)
SHORT_LINE = 30


def word_signals(text: str, words: Words) -> dict[str, float]:
    """Counts and shares of words."""
    count = max(1, len(words.hashes))
    real = (words.flags & SYMBOL) == 0
    stops = words.stops[words.stops >= 0]
    hashes, ellipses = text.count("#"), text.count("...") + text.count("…")
    return {
        "words": float(np.count_nonzero(real)),
        "meanWordLength": float(words.lengths[real].mean()) if real.any() else 0.0,
        "hashesPerWord": hashes / count,
        "ellipsesPerWord": ellipses / count,
        "symbolsPerWord": (hashes + ellipses + text.count(". . .")) / count,
        "alphabeticWordShare": np.count_nonzero(words.flags & ALPHABETIC) / count,
        "distinctStopWords": float(len(np.unique(stops))),
        "stopWords": float(len(stops)),
        "newlinesPerWord": text.count("\n") / count,
    }


def line_signals(text: str) -> dict[str, float]:
    """Shares of lines."""
    lines = [line.strip() for line in text.splitlines()]
    count = max(1, len(lines))
    filled = [line for line in text.split("\n") if line.strip()]
    some = max(1, len(filled))
    return {
        "bulletLineShare": sum(line.startswith(("•", "-")) for line in lines) / count,
        "ellipsisLineShare": sum(line.endswith(("...", "…")) for line in lines) / count,
        "terminalLineShare": sum(is_terminal(line[-1]) for line in filled) / some,
        "shortLineShare": sum(len(line) <= SHORT_LINE for line in filled) / some,
    }


def document_signals(text: str) -> dict[str, float]:
    """What C4 looks for in a whole document."""
    lower = text.lower()
    return {
        "curlyBrackets": float(text.count("{")),
        "loremIpsums": float(lower.count("lorem ipsum")),
        "sentences": float(sentences(text)),
    }


def sentences(text: str) -> int:
    """Ends of sentences, and what is left unended at the end of a line."""
    lines = sum(1 for line in text.split("\n") if line and not line.isspace())
    return len(SENTENCE.findall(text)) + lines - len(LAST_SENTENCE.findall(text))


@cache
def is_terminal(character: str) -> bool:
    """Whether it ends a sentence in some script (Unicode's Sentence_Terminal, as FineWeb; quotation marks do not)."""
    return regex.fullmatch(r"\p{Sentence_Terminal}", character) is not None
