"""Scores of a document by models from the job's storage: fastText, or a sequence classifier in Hugging Face's format."""

import json
import math
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from llmtrain.api.curation import Classifier, ClassifierKind
from llmtrain.storage.store import Store, literally
from llmtrain_jobs.curation.language import labels_of, model_from, probability
from llmtrain_jobs.curation.tokens import is_said_by_tokenizers
from llmtrain_jobs.errors import bad_input

Score = Callable[[str], float]
MOST_TOKENS = 512
"""What the published encoders were trained on; FineWeb-Edu's classifier cuts there too."""
MOST_LABELS = 20
"""In a message."""
QUANTIZED = "quantization_config"


def model_files(store: Store, classifier: Classifier) -> list[str]:
    """The files that a model consists of; none is an error that names the field."""
    if classifier.kind is ClassifierKind.FAST_TEXT:
        return [classifier.path]
    folder = literally(classifier.path.rstrip("/"))
    found = [file for file in store.glob(f"{folder}/*") if "." in file.rsplit("/", 1)[-1]]
    if not any(file.endswith("/config.json") for file in found):
        raise bad_input(f"`{field_of(classifier)}.path`: no config.json in the folder `{classifier.path}`")
    return found


def check_config(store: Store, classifier: Classifier) -> None:
    """What a classifier's config.json tells without its weights: BadInput for one that will be refused."""
    if classifier.kind is ClassifierKind.FAST_TEXT:
        return
    name = f"{classifier.path.rstrip('/')}/config.json"
    model_files(store, classifier)
    with store.open(name) as file:
        try:
            given = json.loads(file.read())
        except (ValueError, RecursionError) as error:
            raise bad_input(f"`{field_of(classifier)}.path`: `{name}` is no JSON ({error})"[:900]) from error
    if not isinstance(given, dict):
        raise bad_input(f"`{field_of(classifier)}.path`: `{name}` must hold one JSON object")
    if given.get(QUANTIZED) is not None:
        raise bad_input(f"`{field_of(classifier)}.path`: `{name}` has `{QUANTIZED}`; quantized weights are not read")
    labels = given.get("id2label")
    if isinstance(labels, dict) and len(labels) > 1:
        check_label(classifier, [str(label) for label in labels.values()])


def field_of(classifier: Classifier) -> str:
    """For people."""
    return f"spec.curation.filters.classifiers[{classifier.name}]"


def score_of(store: Store, classifier: Classifier) -> Score:
    """What gives a text its score; a score that is no number is bad input that names the field."""
    score = _score_of(store, classifier)

    def checked(text: str) -> float:
        value = score(text)
        if not math.isfinite(value):
            where = f"`{field_of(classifier)}.path`: `{classifier.path}`"
            raise bad_input(f"{where} scores a text of {len(text)} characters as {value}", "NotFinite")
        return value

    return checked


def _score_of(store: Store, classifier: Classifier) -> Score:
    if classifier.kind is ClassifierKind.SEQUENCE_CLASSIFICATION:
        return sequence_score(store, classifier)
    where = f"`{field_of(classifier)}.path`: `{classifier.path}`"
    with store.open(classifier.path) as file:
        model = model_from(file.read(), where)
    labels = sorted(labels_of(model, where))
    if labels:
        check_label(classifier, labels)
    return lambda text: probability(model, text, classifier.label)


def check_label(classifier: Classifier, labels: Sequence[str]) -> None:
    """The label is one of the model's; BadInput names some that are."""
    if classifier.label not in labels:
        some = ", ".join(labels[:MOST_LABELS]) + (", ..." if len(labels) > MOST_LABELS else "")
        raise bad_input(f"`{field_of(classifier)}.label`: the model has {some}, not `{classifier.label}`")


def sequence_score(store: Store, classifier: Classifier) -> Score:
    """Probability of the label, or the one output of a regression, of the text's first tokens.

    Computed in float32 whatever the file has: in sixteen bits more texts share a score than differ.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name in model_files(store, classifier):
            with store.open(name) as file:
                (Path(folder) / name.rsplit("/", 1)[-1]).write_bytes(file.read())
        tokenizer, model = _loaded(folder, classifier)
    return partial(scored, tokenizer, model, _place_of(model, classifier))


def _loaded(folder: str, classifier: Classifier) -> tuple[Any, Any]:
    """Tokenizer and model, every weight of which was in the folder."""
    # Half a second to import, and only few curations have such a model.
    import torch
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    unreadable = (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        ImportError,
        RuntimeError,
        SafetensorError,
        StrictDataclassError,
    )
    own: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    wrong = f"`{field_of(classifier)}.path`: `{classifier.path}` is no sequence classifier: "
    try:
        config = AutoConfig.from_pretrained(folder, **own)
        if getattr(config, QUANTIZED, None) is not None:
            raise bad_input(f"{wrong}quantized weights (`{QUANTIZED}`) are not read")
        tokenizer = AutoTokenizer.from_pretrained(folder, **own)
        model, found = AutoModelForSequenceClassification.from_pretrained(
            folder, config=config, dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True, **own
        )
    except Exception as error:
        if not (is_said_by_tokenizers(error) or isinstance(error, unreadable)):
            raise
        raise bad_input(f"{wrong}{error}"[:900]) from error
    absent = sorted(found["missing_keys"]) + sorted(name for name, *_ in found["mismatched_keys"])
    if absent:
        raise bad_input(f"{wrong}its weights lack `{absent[0]}`, or have it in another shape"[:900])
    return tokenizer, model.eval()


def _place_of(model: Any, classifier: Classifier) -> int:
    names = {int(place): str(name) for place, name in model.config.id2label.items()}
    if len(names) == 1:
        return 0
    check_label(classifier, list(names.values()))
    places = [place for place, name in names.items() if name == classifier.label]
    if len(places) > 1:
        raise bad_input(
            f"`{field_of(classifier)}.label`: the model has {len(places)} outputs named `{classifier.label}`"
        )
    return places[0]


def scored(tokenizer: Any, model: Any, place: int, text: str) -> float:
    """One text through the model, rounded so that the order of sums on another machine does not show.

    What the tokenizer makes nothing of has a score of 0.
    """
    import torch

    positions = getattr(model.config, "max_position_embeddings", None) or MOST_TOKENS
    longest = min(MOST_TOKENS, tokenizer.model_max_length, positions)
    tokens = tokenizer(text, truncation=True, max_length=longest, return_tensors="pt")
    if not tokens["input_ids"].shape[1]:
        return 0.0
    with torch.inference_mode():
        outputs = model(**tokens).logits[0].double()
    if len(outputs) > 1:
        several = model.config.problem_type == "multi_label_classification"
        outputs = outputs.sigmoid() if several else outputs.softmax(dim=0)
    return round(float(outputs[place]), 5)
