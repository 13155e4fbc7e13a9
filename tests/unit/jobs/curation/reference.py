"""What is measured of a text, in plain Python: the oracle for the compiled loops. Slow, and by other means than they:
regular expressions, string methods, dictionaries of words in place of hashes.
"""

import re
import statistics
import unicodedata
from collections import Counter
from collections.abc import Sequence

import regex

STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}
LONE = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
UNSEEN = regex.compile(r"[\p{Default_Ignorable_Code_Point}--[\p{L}\u200b\U00040000-\U0010ffff]]", regex.VERSION1)
ALONE = re.compile(f"[{LONE}]")
STOPS = re.compile(r"[.!?。！？]+")
MASK = 2**64 - 1


def signals(text: str) -> dict[str, float]:
    """Every signal by name."""
    return word_signals(text) | line_signals(text) | repeated_parts(text) | repeated_ngrams(text) | dolma(text)


def word_signals(text: str) -> dict[str, float]:
    words = text.split()
    count = max(1, len(words))
    real = [word for word in words if any(map(str.isalnum, word))]
    stops = [word for word in words if word in STOP_WORDS]
    hashes, ellipses = text.count("#"), text.count("...") + text.count("…")
    return {
        "words": len(real),
        "meanWordLength": sum(map(len, real)) / len(real) if real else 0.0,
        "hashesPerWord": hashes / count,
        "ellipsesPerWord": ellipses / count,
        "symbolsPerWord": (hashes + ellipses + text.count(". . .")) / count,
        "alphabeticWordShare": sum(any(map(str.isalpha, word)) for word in words) / count,
        "distinctStopWords": len(set(stops)),
        "stopWords": len(stops),
        "newlinesPerWord": text.count("\n") / count,
    }


def line_signals(text: str) -> dict[str, float]:
    lines = [line.strip() for line in text.splitlines()]
    filled = [line for line in text.split("\n") if line.strip()]
    count, some = max(1, len(lines)), max(1, len(filled))
    return {
        "bulletLineShare": sum(line.startswith(("•", "-")) for line in lines) / count,
        "ellipsisLineShare": sum(line.endswith(("...", "…")) for line in lines) / count,
        "terminalLineShare": sum(bool(regex.search(r"\p{Sentence_Terminal}\Z", line)) for line in filled) / some,
        "shortLineShare": sum(len(line) <= 30 for line in filled) / some,
        "curlyBrackets": text.count("{"),
        "loremIpsums": text.lower().count("lorem ipsum"),
        "sentences": sum(map(sentences, filled)),
    }


def sentences(line: str) -> int:
    """Of one line; at least one."""
    ends, rest = 0, ""
    place = 0
    for stop in STOPS.finditer(line):
        rest += line[place : stop.start()]
        place = stop.end()
        after = line[stop.end() :].lstrip("\"'”’)]")
        closes = not after or after[0].isspace() or not stop.group().isascii()
        closes |= stop.group() == "." and line[: stop.start()][-1:].islower() and line[stop.end() :][:1].isupper()
        ellipsis = re.fullmatch(r"\.{2,}", stop.group())
        letter = stop.group() == "." and single_letter(line[: stop.start()])
        if closes and not ellipsis and not letter and any(map(str.isalnum, rest)):
            ends, rest = ends + 1, ""
    return ends + (any(map(str.isalnum, rest + line[place:])) or not ends)


def single_letter(before: str) -> bool:
    return before[-1:].isalpha() and (len(before) == 1 or before[-2] in ".(" or before[-2].isspace())


def repeated_parts(text: str) -> dict[str, float]:
    lines, paragraphs = re.split(r"\n+", text), re.split(r"\n{2,}", text.strip())
    filled = [line for line in text.split("\n") if line.strip()]
    size = max(1, len(text))
    return {
        "duplicateLineShare": repeats(lines)[0] / len(lines),
        "duplicateLineCharacterShare": repeats(lines)[1] / size,
        "duplicateParagraphShare": repeats(paragraphs)[0] / len(paragraphs),
        "duplicateParagraphCharacterShare": repeats(paragraphs)[1] / size,
        "repeatedFilledLineCharacterShare": repeats(filled)[1] / max(1, size - text.count("\n")),
    }


def repeats(parts: Sequence[str]) -> tuple[int, int]:
    again = [part for number, part in enumerate(parts) if part in parts[:number]]
    return len(again), sum(map(len, again))


def repeated_ngrams(text: str) -> dict[str, float]:
    words, size = text.split(), max(1, len(text))
    top = {f"top{n}GramCharacterShare": top_characters(words, n) / size for n in (2, 3, 4)}
    return top | {f"duplicate{n}GramCharacterShare": repeated_characters(words, n) / size for n in range(5, 11)}


def top_characters(words: Sequence[str], n: int) -> int:
    counts = Counter(" ".join(words[start : start + n]) for start in range(len(words) - n + 1))
    return max(counts.values()) * len(max(counts, key=lambda gram: counts[gram])) if counts else 0


def repeated_characters(words: Sequence[str], n: int) -> int:
    seen, characters, start = set(), 0, 0
    while start + n <= len(words):
        gram = tuple(words[start : start + n])
        if gram in seen:
            characters += sum(map(len, gram))
            start += n
        else:
            seen.add(gram)
            start += 1
    return characters


def dolma(text: str) -> dict[str, float]:
    """By dolma's definitions, in other words than its own."""
    words, lines = text.split(), re.split(r"\n+", text)
    letters, grams = max(1, sum(map(len, words))), dict[str, float]()
    copied = [line for line in lines if lines.count(line) > 1]
    for n in range(2, 11):
        runs = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
        counts = Counter(runs)
        top = max(counts, key=lambda run: counts[run], default=())
        again = sum(len("".join(run)) for run in runs if counts[run] > 1)
        grams |= {f"top{n}GramWordCharacterShare": counts[top] * len("".join(top)) / letters} if n < 5 else {
            f"copied{n}GramCharacterShare": again / max(1, sum(len("".join(run)) for run in runs))
        }  # fmt: skip
    return grams | {
        "allWords": len(words),
        "normalWords": len(normal_words(text)),
        "medianWordLength": statistics.median(map(len, words)) if words else 0.0,
        "symbolWordShare": sum("#" in word or "…" in word for word in words) / max(1, len(words)),
        "markedLineShare": sum(line[:1] in ("*", "-") for line in lines) / len(lines),
        "endedByEllipsisShare": sum(line[-1:] == "…" for line in lines) / len(lines),
        "copiedLineShare": len(copied) / len(lines),
        "copiedLineCharacterShare": sum(map(len, copied)) / letters,
    }


def normal_words(text: str) -> list[str]:
    """Runs of letters and digits in lower case; characters of scripts without spaces one by one; each with its marks."""
    words, before = list[str](), ""
    for character in UNSEEN.sub("", unicodedata.normalize("NFC", text).lower()):
        mark, alone = unicodedata.category(character)[0] == "M", ALONE.match(character) is not None
        if before and (mark or (not (alone or ALONE.match(before)) and character.isalnum())):
            words[-1] += character
            before = before if mark else character
        elif not mark and (alone or character.isalnum()):
            words.append(character)
            before = character
        else:
            before = ""
    return words


def digest(word: str) -> int:
    """FNV-1a over code points, then the finaliser of MurmurHash3, in integers of any length."""
    state = 0xCBF29CE484222325
    for character in word:
        state = (state ^ ord(character)) * 0x100000001B3 & MASK
    return mixed(state)


def mixed(value: int) -> int:
    value ^= value >> 33
    value = value * 0xFF51AFD7ED558CCD & MASK
    value ^= value >> 33
    value = value * 0xC4CEB9FE1A85EC53 & MASK
    return value ^ value >> 33


def shingle(words: Sequence[str]) -> int:
    """A polynomial over the words' digests."""
    gram = 0
    for word in words:
        gram = gram * 0x9E3779B97F4A7C15 + digest(word) & MASK
    return mixed(gram)


def signature(shingles: Sequence[int], multipliers: Sequence[int], offsets: Sequence[int]) -> list[int]:
    """Least of (a x + b) mod 2^32 over the upper halves, by permutation."""
    short = [value >> 32 for value in shingles]
    return [min((a * x + b) % 2**32 for x in short) for a, b in zip(multipliers, offsets, strict=True)]
