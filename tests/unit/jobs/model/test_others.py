"""Models that transformers saved are read with transformers' own logits, or refused with the field that stands in the way."""

import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from llmtrain_jobs.errors import StageError
from llmtrain_jobs.model.importing import import_folder
from safetensors.torch import load_file, save_file

from tests.unit.jobs.model.others import READ, REFUSED, Other, copied_head

os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
LARGEST_DIFFERENCE = 1e-4


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """transformers warns of much that is asked of it on purpose here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import transformers

        before = transformers.logging.get_verbosity()
        transformers.logging.set_verbosity(50)
        yield
        transformers.logging.set_verbosity(before)


def tokens() -> torch.Tensor:
    return torch.randint(3, 50, (2, 40), generator=torch.Generator().manual_seed(1))


def theirs(folder: Path) -> torch.Tensor:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.inference_mode():
        logits: torch.Tensor = model(tokens()).logits
    return logits


def ours(folder: Path) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = import_folder(folder).model()(tokens())
    return logits


def refused(folder: Path) -> str:
    with pytest.raises(StageError) as caught:
        import_folder(folder)
    assert caught.value.failure.value == "BadInput"
    return caught.value.message


@pytest.mark.parametrize("name", READ)
def test_what_transformers_reads_has_the_same_logits(name: str, tmp_path: Path) -> None:
    READ[name].save(tmp_path)
    expected = theirs(tmp_path)
    assert float(expected.std()) > 0.5
    assert float((ours(tmp_path) - expected).abs().max()) < LARGEST_DIFFERENCE


@pytest.mark.parametrize("name", REFUSED)
def test_what_ours_cannot_be_is_refused_by_name(name: str, tmp_path: Path) -> None:
    other, words = REFUSED[name]
    other.save(tmp_path)
    assert words in refused(tmp_path)


def test_the_five_families_are_each_read_in_many_configurations() -> None:
    assert len(READ) >= 50
    assert len(READ) + len(REFUSED) >= 60
    assert {other.family for other in READ.values()} == {"gpt2", "llama", "qwen3", "olmo2", "bloom"}


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain one, never changed."""
    folder = tmp_path_factory.mktemp("llama")
    Other("llama").save(folder)
    return folder


@pytest.fixture
def copy(llama: Path, tmp_path: Path) -> Path:
    """One that a test may change."""
    for file in llama.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


WRITTEN = {
    "a list": ("[]", "must hold one JSON object, not []"),
    "a text": ('"llama"', "must hold one JSON object, not 'llama'"),
    "null": ("null", "must hold one JSON object, not None"),
    "no JSON": ("{", "is no JSON"),
    "deep": ("[" * 200_000, "is no JSON"),
    "no UTF-8": ('{"a": "\udcff"}', "is no JSON"),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_a_config_that_is_no_object_is_bad_input(case: str, copy: Path) -> None:
    text, words = WRITTEN[case]
    (copy / "config.json").write_bytes(text.encode(errors="surrogateescape"))
    assert words in refused(copy)


VALUES: dict[str, tuple[dict[str, Any], str]] = {
    "family": ({"model_type": ["llama"]}, "`model_type` is ['llama']"),
    "list of widths": ({"intermediate_size": [48, 48]}, "'intermediate_size'"),
    "list of heads": ({"num_attention_heads": [4, 4]}, "`num_attention_heads` is [4, 4]"),
    "no heads": ({"num_attention_heads": 0}, "`num_attention_heads` is 0"),
    "less than no layers": ({"num_hidden_layers": -1}, "`num_hidden_layers` is -1"),
    "layers beyond memory": ({"num_hidden_layers": 10**7}, "`num_hidden_layers` is 10000000"),
    "a width beyond numbers": ({"hidden_size": 10**30}, "`hidden_size` is 1000000000"),
    "no width": ({"hidden_size": None}, "hidden_size"),
    "a number as text": ({"num_hidden_layers": "2"}, "`num_hidden_layers` is '2'"),
    "true for a number": ({"num_key_value_heads": True}, "num_key_value_heads"),
    "heads that do not divide": ({"num_key_value_heads": 3}, "`heads` must be a multiple of `keyValueHeads`"),
    "width of no head": ({"head_dim": 0}, "`head_dim` is 0"),
    "odd width of heads": ({"head_dim": 7}, "head"),
    "tied as text": ({"tie_word_embeddings": "false"}, "tie_word_embeddings"),
    "tied to nothing": ({"tie_word_embeddings": None}, "tie_word_embeddings"),
    "epsilon that is no number": ({"rms_norm_eps": float("nan")}, "`rms_norm_eps` is nan"),
    "epsilon as a whole number": ({"rms_norm_eps": 1}, "rms_norm_eps"),
    "activations": ({"hidden_act": ["silu"]}, "hidden_act"),
    "biases": ({"attention_bias": 1}, "attention_bias"),
    "rope as a list": ({"rope_parameters": [1]}, "`rope_parameters` is [1]"),
    "rope as a text": ({"rope_scaling": "linear"}, "`rope_scaling` is 'linear'"),
    "rope by kind of layer": (
        {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4}}}, "`rope_parameters` is {'full_attention'"
    ),
    "kinds of rope": ({"rope_scaling": {"type": ["linear"], "factor": 2.0}}, "`rope_scaling` is {'type': ['linear']"),
    "no kind of rope": ({"rope_parameters": {"rope_type": None, "rope_theta": 1e4}}, "`rope_parameters.rope_type` is None"),
    "no factor": ({"rope_scaling": {"type": "linear"}, "rope_parameters": None}, "factor"),
    "a null factor": ({"rope_scaling": {"type": "yarn", "factor": None}}, "`factor` is missing"),
    "a factor as text": ({"rope_scaling": {"type": "linear", "factor": "4"}}, "`factor` is '4'"),
    "a factor of nothing": ({"rope_scaling": {"type": "linear", "factor": 0.0}}, "`factor` is 0.0"),
    "theta as text": ({"rope_parameters": None, "rope_theta": "10000"}, "`rope_theta` is '10000'"),
    "theta of null": ({"rope_parameters": None, "rope_theta": None}, "`rope_theta` is missing"),
    "theta of one": ({"rope_parameters": {"rope_type": "default", "rope_theta": 1.0}}, "`rope_theta` is 1.0"),
    "positions beyond numbers": (
        {"max_position_embeddings": 10**400, "rope_parameters": {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 16}},
        "`max_position_embeddings` is 1000000",
    ),
    "rotations beyond numbers": (
        {"rope_scaling": {"type": "yarn", "factor": 2.0, "beta_fast": 1e308}}, "`beta_fast` is 1e+308"
    ),
    "no context before": (
        {"rope_scaling": {"type": "yarn", "factor": 2.0, "original_max_position_embeddings": 0}}, "`original_max_position_embeddings` is 0"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", VALUES)
def test_a_value_that_is_none_is_refused_with_its_key(case: str, copy: Path) -> None:
    change, words = VALUES[case]
    given = json.loads((copy / "config.json").read_text()) | change
    (copy / "config.json").write_text(json.dumps(given))
    assert words in refused(copy)


INDICES = {
    "a list": ("[]", "is no index of weights"),
    "a list of names": ('{"weight_map": ["a"]}', "is no index of weights"),
    "another folder": ('{"weight_map": {"a": "../a.safetensors"}}', "`../a.safetensors` is no file of its folder"),
    "a file that is not there": ('{"weight_map": {"a": "b.safetensors"}}', "`b.safetensors` is missing"),
    "a number": ('{"weight_map": {"a": 1}}', "`1` is missing"),
}


@pytest.mark.parametrize("case", INDICES)
def test_a_damaged_index_is_bad_input(case: str, copy: Path) -> None:
    text, words = INDICES[case]
    (copy / "model.safetensors").unlink()
    (copy / "model.safetensors.index.json").write_text(text)
    assert words in refused(copy)


def test_one_file_goes_before_an_index_as_in_transformers(copy: Path) -> None:
    stale = {name: torch.zeros_like(value) for name, value in load_file(copy / "model.safetensors").items()}
    save_file(stale, copy / "model-00001-of-00001.safetensors", metadata={"format": "pt"})
    places = dict.fromkeys(stale, "model-00001-of-00001.safetensors")
    (copy / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    assert float((ours(copy) - theirs(copy)).abs().max()) < LARGEST_DIFFERENCE


def test_damaged_weights_are_bad_input(copy: Path) -> None:
    data = (copy / "model.safetensors").read_bytes()
    for damaged in (b"", data[:-100], b"\xff" * 100, data[:8] + b"[" + data[9:]):
        (copy / "model.safetensors").write_bytes(damaged)
        assert "is damaged" in refused(copy)


@pytest.mark.parametrize("family", ["gpt2", "bloom", "llama"])
def test_a_tensor_of_another_shape_is_named(family: str, tmp_path: Path) -> None:
    """Before it is taken apart, which would end otherwise for each packing."""
    Other(family).save(tmp_path)
    whole = load_file(tmp_path / "model.safetensors")
    for name, value in whole.items():
        for wrong in (value[:-1].clone(), value.unsqueeze(0).clone(), torch.ones(())):
            save_file(whole | {name: wrong}, tmp_path / "model.safetensors", metadata={"format": "pt"})
            assert f"`{name}` is {tuple(wrong.shape)}" in refused(tmp_path)
        if ".1." in name:
            break


def test_an_adapter_beside_the_weights_is_told(copy: Path) -> None:
    (copy / "adapter_config.json").write_text("{}")
    assert "`adapter_config.json`: the model has an adapter beside its weights" in refused(copy)


def test_a_copy_of_a_tied_head_may_have_another_type(tmp_path: Path) -> None:
    def narrow(weights: dict[str, torch.Tensor]) -> None:
        copied_head(weights)
        weights["model.embed_tokens.weight"] = weights["model.embed_tokens.weight"].bfloat16()
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"].float()

    Other("llama", {"tie_word_embeddings": True}, weights=narrow).save(tmp_path)
    assert float((ours(tmp_path) - theirs(tmp_path)).abs().max()) < LARGEST_DIFFERENCE
