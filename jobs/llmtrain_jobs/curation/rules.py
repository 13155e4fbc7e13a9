"""Rules over stored signals: which of them every document of a table breaks. No text is read."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from llmtrain.api.curation import Filters
from llmtrain_jobs.curation.presets import PRESETS, Bound, Side
from llmtrain_jobs.curation.signals.stopwords import UNSPACED
from llmtrain_jobs.errors import bad_input

BY_SPACES = (
    "meanWordLength", "medianWordLength", "hashesPerWord", "ellipsesPerWord", "symbolsPerWord", "symbolWordShare",
    "alphabeticWordShare", "newlinesPerWord",
)  # fmt: skip
"""Signals that say nothing where no spaces part words; those of n-grams say nothing either."""
Columns = Mapping[str, NDArray[np.float64]]


def bounds_of(filters: Filters) -> list[Bound]:
    """The bounds that apply, in order, with the overrides; an override of no applied rule is an error."""
    published = [bound for preset in dict.fromkeys(filters.presets) for bound in PRESETS[preset]]
    known = {bound.name for bound in published}
    for name in filters.overrides:
        if name not in known:
            raise bad_input(
                f"`spec.curation.filters.overrides`: no rule `{name}` among the presets; there are {', '.join(sorted(known))}"
            )
    settled = [_overridden(bound, filters.overrides) for bound in published]
    blocked = [Bound("blockedWords", "blockedWords", Side.MOST, 0)] if filters.blocked_words else []
    return (
        settled
        + blocked
        + [
            Bound(f"classifier.{model.name}", f"classifier.{model.name}", Side.LEAST, float(model.min_score))
            for model in filters.classifiers
        ]
    )


def _overridden(bound: Bound, overrides: Mapping[str, str]) -> Bound:
    return replace(bound, value=float(overrides[bound.name])) if bound.name in overrides else bound


def broken(bounds: Sequence[Bound], columns: Columns) -> NDArray[np.bool_]:
    """Which document breaks which bound: (documents, bounds). A signal that is not a number breaks nothing."""
    count = len(next(iter(columns.values())))
    result = np.zeros((count, len(bounds)), dtype=np.bool_)
    for index, bound in enumerate(bounds):
        values = columns[bound.signal]
        result[:, index] = values < bound.value if bound.side is Side.LEAST else values > bound.value
    return result


def broken_by_language(bounds: Sequence[Bound], columns: Columns, languages: NDArray[np.str_]) -> NDArray[np.bool_]:
    """`broken`, but of languages without spaces between words: words in normal form count in place of others.

    Rules over lengths, shares and runs of words that spaces part judge none of their documents.
    """
    without = np.isin(languages, UNSPACED)
    result = broken(bounds, columns)
    for index, bound in enumerate(bounds):
        if bound.signal in ("words", "allWords"):
            counted = broken([replace(bound, signal="normalWords")], columns)[:, 0]
            result[:, index] = np.where(without, counted, result[:, index])
        elif bound.signal in BY_SPACES or "Gram" in bound.signal:
            result[without, index] = False
    return result


def wrong_language(filters: Filters, languages: NDArray[np.str_], scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which documents are in none of the languages asked for: (documents,)."""
    if not filters.languages:
        return np.zeros(len(scores), dtype=np.bool_)
    kept = np.zeros(len(scores), dtype=np.bool_)
    for language in filters.languages:
        kept |= (languages == language.code) & (scores >= float(language.min_score))
    return ~kept
