"""All signals of one text."""

from llmtrain_jobs.curation.signals.lexicon import Words
from llmtrain_jobs.curation.signals.quality import document_signals, line_signals, word_signals
from llmtrain_jobs.curation.signals.repetition import NGRAM_SIGNALS, repetition_signals

TEXT_SIGNALS = (
    "words", "meanWordLength", "hashesPerWord", "ellipsesPerWord", "symbolsPerWord", "alphabeticWordShare",
    "distinctStopWords", "stopWords", "newlinesPerWord", "bulletLineShare", "ellipsisLineShare", "terminalLineShare",
    "shortLineShare", "curlyBrackets", "loremIpsums", "sentences", "duplicateLineShare", "duplicateLineCharacterShare",
    "duplicateParagraphShare", "duplicateParagraphCharacterShare", "repeatedFilledLineCharacterShare",
    *NGRAM_SIGNALS,
)  # fmt: skip
"""Names of the columns, in order."""


def measure(text: str, words: Words) -> dict[str, float]:
    """Every signal of a text by name."""
    return word_signals(text, words) | line_signals(text) | document_signals(text) | repetition_signals(text, words)
