"""Gopher's document rules, at the thresholds of Rae et al. 2021 (arXiv 2112.11446), Appendix A and Table A1.

Words are what whitespace separates. That is the paper's plain reading; tokenisers that split punctuation off reject
more documents by `alphabetic words`.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

STOP_WORDS = frozenset({"the", "be", "to", "of", "and", "that", "have", "with"})
BULLETS = ("-", "*", "•", "‣", "▪", "●")
TOP_NGRAMS = {2: 0.20, 3: 0.18, 4: 0.16}
DUPLICATE_NGRAMS = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
ALPHABETIC = re.compile(r"[^\W\d_]")


def rejection(text: str) -> str | None:
    """Name of the first rule that the document breaks; None: it is kept."""
    words = text.split()
    return next(_quality(text, words), None) or next(_repetition(text, words), None)


def _quality(text: str, words: Sequence[str]) -> Iterator[str]:
    count = len(words)
    if not 50 <= count <= 100_000:
        yield "gopher.wordCount"
        return
    if not 3 <= sum(map(len, words)) / count <= 10:
        yield "gopher.meanWordLength"
    if text.count("#") / count > 0.1:
        yield "gopher.hashToWordRatio"
    if (text.count("...") + text.count("…")) / count > 0.1:
        yield "gopher.ellipsisToWordRatio"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if sum(line.startswith(BULLETS) for line in lines) > 0.9 * len(lines):
        yield "gopher.bulletLines"
    if sum(line.endswith(("...", "…")) for line in lines) > 0.3 * len(lines):
        yield "gopher.ellipsisLines"
    if sum(1 for word in words if ALPHABETIC.search(word)) < 0.8 * count:
        yield "gopher.alphabeticWords"
    if len(STOP_WORDS.intersection(word.lower() for word in words)) < 2:
        yield "gopher.stopWords"


def _repetition(text: str, words: Sequence[str]) -> Iterator[str]:
    lines = [line for line in text.split("\n") if line.strip()]
    paragraphs = [part for part in re.split(r"\n{2,}", text) if part.strip()]
    for name, parts in (("Line", lines), ("Paragraph", paragraphs)):
        repeats, characters = _repeats(parts)
        if repeats > 0.30 * len(parts):
            yield f"gopher.duplicate{name}s"
        if characters > 0.20 * len(text):
            yield f"gopher.duplicate{name}Characters"
    for size, bound in TOP_NGRAMS.items():
        if _top_ngram_characters(words, size) > bound * len(text):
            yield f"gopher.top{size}Grams"
    for size, bound in DUPLICATE_NGRAMS.items():
        if _duplicate_ngram_characters(words, size) > bound * len(text):
            yield f"gopher.duplicate{size}Grams"


def _repeats(parts: Sequence[str]) -> tuple[int, int]:
    """How many parts occurred before, and their characters."""
    seen: set[str] = set()
    count = characters = 0
    for part in parts:
        if part in seen:
            count += 1
            characters += len(part)
        seen.add(part)
    return count, characters


def _top_ngram_characters(words: Sequence[str], size: int) -> int:
    """Characters that the most frequent n-gram covers; one that occurs once repeats nothing."""
    grams = Counter(zip(*(words[start:] for start in range(size)), strict=False))
    if not grams:
        return 0
    gram, count = max(grams.items(), key=lambda item: (item[1], sum(map(len, item[0]))))
    return count * (sum(map(len, gram)) + size - 1) if count > 1 else 0


def _duplicate_ngram_characters(words: Sequence[str], size: int) -> int:
    """Characters within n-grams that occurred before, each character once."""
    seen: set[tuple[str, ...]] = set()
    index = characters = 0
    while index <= len(words) - size:
        gram = tuple(words[index : index + size])
        if gram in seen:
            characters += sum(map(len, gram))
            index += size
        else:
            seen.add(gram)
            index += 1
    return characters
