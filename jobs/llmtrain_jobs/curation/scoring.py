"""Scores of a document by models from the job's storage: fastText, or a sequence classifier in Hugging Face's format."""

import math
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from llmtrain.api.curation import Classifier, ClassifierKind
from llmtrain.storage.store import Store, literally
from llmtrain_jobs.curation.language import model_from, probability
from llmtrain_jobs.errors import bad_input

Score = Callable[[str], float]
MOST_TOKENS = 512
"""What the published encoders were trained on; FineWeb-Edu's classifier cuts there too."""


def model_files(store: Store, classifier: Classifier) -> list[str]:
    """The files that a model consists of; none is an error that names the field."""
    if classifier.kind is ClassifierKind.FAST_TEXT:
        return [classifier.path]
    folder = literally(classifier.path.rstrip("/"))
    found = [file for file in store.glob(f"{folder}/*") if "." in file.rsplit("/", 1)[-1]]
    if not any(file.endswith("/config.json") for file in found):
        raise bad_input(f"`{field_of(classifier)}.path`: no config.json in the folder `{classifier.path}`")
    return found


def field_of(classifier: Classifier) -> str:
    """For people."""
    return f"spec.curation.filters.classifiers[{classifier.name}]"


def score_of(store: Store, classifier: Classifier) -> Score:
    """What gives a text its score."""
    if classifier.kind is ClassifierKind.SEQUENCE_CLASSIFICATION:
        return sequence_score(store, classifier)
    with store.open(classifier.path) as file:
        model = model_from(file.read(), f"`{field_of(classifier)}.path`: `{classifier.path}`")
    return lambda text: probability(model, text, classifier.label)


def sequence_score(store: Store, classifier: Classifier) -> Score:
    """Probability of the label, or the one output of a regression, of the text's first tokens."""
    # Half a second to import, and only few curations have such a model.
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    with tempfile.TemporaryDirectory() as folder:
        for name in model_files(store, classifier):
            with store.open(name) as file:
                (Path(folder) / name.rsplit("/", 1)[-1]).write_bytes(file.read())
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True).eval()
        except (OSError, ValueError) as error:
            message = f"`{field_of(classifier)}.path`: `{classifier.path}` is no sequence classifier: {error}"
            raise bad_input(message[:900]) from error
    return partial(scored, tokenizer, model, _place_of(model, classifier))


def _place_of(model: Any, classifier: Classifier) -> int:
    names = {str(name): int(place) for place, name in model.config.id2label.items()}
    if len(names) == 1:
        return 0
    if classifier.label not in names:
        raise bad_input(f"`{field_of(classifier)}.label`: the model has {', '.join(names)}, not `{classifier.label}`")
    return names[classifier.label]


def scored(tokenizer: Any, model: Any, place: int, text: str) -> float:
    """One text through the model, rounded so that the order of sums on another machine does not show."""
    import torch

    tokens = tokenizer(text, truncation=True, max_length=MOST_TOKENS, return_tensors="pt")
    with torch.inference_mode():
        outputs = model(**tokens).logits[0].double().tolist()
    if len(outputs) == 1:
        return round(float(outputs[0]), 5)
    most = max(outputs)
    return round(math.exp(outputs[place] - most) / sum(math.exp(output - most) for output in outputs), 5)
