"""All signals of one text."""

from llmtrain_jobs.curation.signals.characters import codes_of, kinds_for
from llmtrain_jobs.curation.signals.lines import filled, parts
from llmtrain_jobs.curation.signals.quality import document_signals, line_signals, mark_signals, word_signals
from llmtrain_jobs.curation.signals.repetition import COPIED_SIGNALS, NGRAM_SIGNALS, repetition_signals
from llmtrain_jobs.curation.signals.words import Words

TEXT_SIGNALS = (
    "words", "meanWordLength", "hashesPerWord", "ellipsesPerWord", "symbolsPerWord", "alphabeticWordShare",
    "distinctStopWords", "stopWords", "newlinesPerWord", "bulletLineShare", "ellipsisLineShare", "terminalLineShare",
    "shortLineShare", "curlyBrackets", "loremIpsums", "sentences", "duplicateLineShare", "duplicateLineCharacterShare",
    "duplicateParagraphShare", "duplicateParagraphCharacterShare", "repeatedFilledLineCharacterShare",
    *NGRAM_SIGNALS, "allWords", "normalWords", "medianWordLength", "symbolWordShare", "markedLineShare", "endedByEllipsisShare",
    "copiedLineShare", "copiedLineCharacterShare", *COPIED_SIGNALS,
)  # fmt: skip
"""Names of the columns, in order."""


def measure(text: str, words: Words) -> dict[str, float]:
    """Every signal of a text by name."""
    codes, kinds = codes_of(text), kinds_for(text)
    lines = parts(codes, 0, len(codes), 1)
    some = filled(codes, kinds, lines)
    signals = word_signals(text, words) | document_signals(text) | mark_signals(codes, lines)
    return signals | line_signals(codes, kinds, some) | repetition_signals(codes, kinds, lines, some, words)
