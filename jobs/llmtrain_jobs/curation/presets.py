"""The published document rules as bounds over signals.

Gopher: Rae et al. 2021 (arXiv 2112.11446), A.1.1 and Table A1. C4: Raffel et al. 2020. FineWeb: Penedo et al. 2024
(arXiv 2406.17557). RefinedWeb: Penedo et al. 2023 (arXiv 2306.01116), G.2. DCLMHeuristic: Li et al. 2024
(arXiv 2406.11794), the RefinedWeb reproduction of its baselines. Dolma: Soldaini et al. 2024 (arXiv 2402.00159), Gopher's
rules as its toolkit counts them, by the thresholds of its mix 1.6. Words are what whitespace separates.
"""

from dataclasses import dataclass
from enum import StrEnum

from llmtrain.api.curation import FilterPreset


class Side(StrEnum):
    """Which side of the bound is refused."""

    LEAST = "least"
    MOST = "most"


@dataclass(frozen=True)
class Bound:
    """A document breaks it if the signal is below the least or above the most that is allowed."""

    name: str
    signal: str
    side: Side
    value: float


def _least(name: str, signal: str, value: float) -> Bound:
    return Bound(name, signal, Side.LEAST, value)


def _most(name: str, signal: str, value: float) -> Bound:
    return Bound(name, signal, Side.MOST, value)


def _repetition(prefix: str) -> list[Bound]:
    return [
        _most(f"{prefix}.maxDuplicateParagraphs", "duplicateParagraphShare", 0.30),
        _most(f"{prefix}.maxDuplicateParagraphCharacters", "duplicateParagraphCharacterShare", 0.20),
        _most(f"{prefix}.maxDuplicateLines", "duplicateLineShare", 0.30),
        _most(f"{prefix}.maxDuplicateLineCharacters", "duplicateLineCharacterShare", 0.20),
        *(_most(f"{prefix}.maxTop{n}Grams", f"top{n}GramCharacterShare", v) for n, v in TOP_GRAMS.items()),
        *(_most(f"{prefix}.maxDuplicate{n}Grams", f"duplicate{n}GramCharacterShare", v) for n, v in REPEATED.items()),
    ]


TOP_GRAMS = {2: 0.20, 3: 0.18, 4: 0.16}
REPEATED = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}

GOPHER = [
    _least("gopher.minWords", "words", 50),
    _most("gopher.maxWords", "words", 100_000),
    _least("gopher.minMeanWordLength", "meanWordLength", 3),
    _most("gopher.maxMeanWordLength", "meanWordLength", 10),
    _most("gopher.maxHashesPerWord", "hashesPerWord", 0.1),
    _most("gopher.maxEllipsesPerWord", "ellipsesPerWord", 0.1),
    _most("gopher.maxBulletLines", "bulletLineShare", 0.9),
    _most("gopher.maxEllipsisLines", "ellipsisLineShare", 0.3),
    _least("gopher.minAlphabeticWords", "alphabeticWordShare", 0.8),
    _least("gopher.minStopWords", "distinctStopWords", 2),
    *_repetition("gopher"),
]
C4 = [
    _most("c4.maxLoremIpsums", "loremIpsums", 0),
    _most("c4.maxCurlyBrackets", "curlyBrackets", 0),
    _least("c4.minSentences", "sentences", 5),
]
FINE_WEB = [
    _least("fineweb.minTerminalLines", "terminalLineShare", 0.12),
    _most("fineweb.maxShortLines", "shortLineShare", 0.67),
    _most("fineweb.maxRepeatedLineCharacters", "repeatedFilledLineCharacterShare", 0.01),
    _most("fineweb.maxNewlinesPerWord", "newlinesPerWord", 0.3),
]
REFINED_WEB = [_most("refinedweb.maxRemovedWords", "removedWordShare", 0.05)]
DCLM = [
    _least("dclm.minWords", "words", 50),
    _most("dclm.maxWords", "words", 100_000),
    _least("dclm.minMeanWordLength", "meanWordLength", 3),
    _most("dclm.maxMeanWordLength", "meanWordLength", 10),
    _most("dclm.maxSymbolsPerWord", "symbolsPerWord", 0.1),
    _most("dclm.maxBulletLines", "bulletLineShare", 0.9),
    _most("dclm.maxEllipsisLines", "ellipsisLineShare", 0.3),
    _least("dclm.minAlphabeticWords", "alphabeticWordShare", 0.8),
    _least("dclm.minStopWords", "stopWords", 2),
    *_repetition("dclm"),
    _most("dclm.maxRemovedWords", "removedWordShare", 0.05),
]
DOLMA = [
    _least("dolma.minWords", "allWords", 50),
    _most("dolma.maxWords", "allWords", 100_000),
    _least("dolma.minMedianWordLength", "medianWordLength", 3),
    _most("dolma.maxMedianWordLength", "medianWordLength", 10),
    _most("dolma.maxSymbolWords", "symbolWordShare", 0.1),
    _most("dolma.maxBulletLines", "markedLineShare", 0.9),
    _most("dolma.maxEllipsisLines", "endedByEllipsisShare", 0.3),
    _least("dolma.minAlphabeticWords", "alphabeticWordShare", 0.8),
    _least("dolma.minStopWords", "stopWords", 2),
    _most("dolma.maxCopiedLines", "copiedLineShare", 0.30),
    _most("dolma.maxCopiedLineCharacters", "copiedLineCharacterShare", 0.30),
    *(_most(f"dolma.maxTop{n}Grams", f"top{n}GramWordCharacterShare", v) for n, v in TOP_GRAMS.items()),
    *(_most(f"dolma.maxCopied{n}Grams", f"copied{n}GramCharacterShare", v) for n, v in REPEATED.items()),
]
PRESETS: dict[FilterPreset, list[Bound]] = {
    FilterPreset.GOPHER: GOPHER,
    FilterPreset.C4: C4,
    FilterPreset.FINE_WEB: FINE_WEB,
    FilterPreset.REFINED_WEB: REFINED_WEB,
    FilterPreset.DCLM_HEURISTIC: DCLM,
    FilterPreset.DOLMA: DOLMA,
}
