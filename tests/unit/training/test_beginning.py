"""A training that starts from a Hugging Face model computes what transformers computes."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from llmtrain_jobs.context import Context
from llmtrain_jobs.entrypoint.scratch import Scratch
from llmtrain_jobs.errors import StageError
from llmtrain_jobs.model.config import resolve
from llmtrain_jobs.model.transformer import Transformer
from llmtrain_jobs.preflight.stage import check_beginning
from llmtrain_jobs.training.export import read_model
from safetensors.torch import load_file, save_file

from llmtrain.api.job import JobSpec
from llmtrain.api.stageconfig import StageConfig
from llmtrain.api.status import Stage
from llmtrain.api.training import ContinueFrom
from tests.unit.api.parsed import parse_manifest
from tests.unit.training.harness import store_in
from tests.unit.training.test_build import DATA, KEY, built, job_in, refused, spec_of

VOCABULARY = 64
LLAMA = {
    "layers": 2, "heads": 2, "keyValueHeads": 1, "embedding": 16, "feedForward": 32, "norm": {"kind": "RMSNorm", "epsilon": "1e-6"},
    "activation": {"kind": "Silu", "gated": True}, "positions": {"kind": "Rope"}, "biases": "None", "tiedEmbeddings": False,
}  # fmt: skip
FROM = {"huggingFace": "models/llama"}


@pytest.fixture
def llama(tmp_path: Path) -> Any:
    """A model of transformers' own with random weights, saved by transformers into the job's storage."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=16, rms_norm_eps=1e-6, tie_word_embeddings=False,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    model.save_pretrained(tmp_path / "models" / "llama")
    return model


def llama_spec(changes: dict[str, Any] | None = None, **training: Any) -> JobSpec:
    model = {"architecture": LLAMA | (changes or {}), "contextLength": 16}
    return spec_of(model, continueFrom=FROM, **training)


def test_training_starts_from_a_hugging_face_model(tmp_path: Path, llama: Any) -> None:
    job = job_in(tmp_path, llama_spec(), vocabulary=VOCABULARY)
    trainer = built(job)
    ours = trainer.parts.engine.modules[0].get_submodule("model")
    tokens = torch.randint(0, VOCABULARY, (3, 16))
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(tokens), llama(tokens).logits, rtol=0, atol=1e-5)
    assert trainer.step == 0
    assert not job.store.exists(f"{trainer.parts.checkpoints.archive.base}/imported")


def test_a_continued_training_goes_on_from_its_own_checkpoints(tmp_path: Path, llama: Any) -> None:
    """The weights that it began with are taken once, not at every restart."""
    job = job_in(tmp_path, llama_spec(), vocabulary=VOCABULARY)
    first = built(job)
    assert first.run()
    newest = first.parts.checkpoints.archive.newest()
    assert newest is not None
    second = built(job)
    assert second.step == first.step > 0
    model = Transformer(resolve(job.spec.model, VOCABULARY, job.training.tokens))
    model.load_state_dict(read_model(job.store, newest))
    same = second.parts.engine.modules[0].get_submodule("model").state_dict()
    assert all(torch.equal(value, same[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("changes", "vocabulary", "message"),
    [
        ({"feedForward": 48}, VOCABULARY, "`feedForward` is 48, imported 32"),
        ({}, 70, "the job's tokenizer has 70 entries, the imported model 64"),
    ],
)
def test_another_model_is_refused(
    changes: dict[str, Any], vocabulary: int, message: str, tmp_path: Path, llama: Any
) -> None:
    job = job_in(tmp_path, llama_spec(changes), vocabulary=vocabulary, largest=vocabulary - 1)
    assert message in refused(job)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    job = job_in(tmp_path, llama_spec(), vocabulary=VOCABULARY)
    assert "`training.continueFrom.huggingFace`: `models/llama` holds no model" in refused(job)


def context_of(folder: Path, spec: JobSpec) -> Context:
    config = StageConfig(job="gpt", namespace="a", job_uid="u", stage=Stage.PREFLIGHT, attempt=1, workers=0,
                         head_address="h", spec=spec)  # fmt: skip
    return Context(config, store_in(folder), Scratch(folder / "scratch"), threading.Event())


def test_preflight_refuses_another_model_before_anything_is_paid_for(tmp_path: Path, llama: Any) -> None:
    check_beginning(context_of(tmp_path, llama_spec()), resolve(llama_spec().model, 300, 512))
    other = llama_spec({"layers": 3})
    with pytest.raises(StageError, match="`layers` is 3, imported 2"):
        check_beginning(context_of(tmp_path, other), resolve(other.model, 300, 512))
    with pytest.raises(StageError, match=r"there is no `models/llama/config.json`"):
        check_beginning(context_of(tmp_path / "elsewhere", other), resolve(other.model, 300, 512))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("config.json", b"[]"), r"`models/llama/config.json` must hold one JSON object, not \[\]"),
        (("config.json", b"{"), r"`models/llama/config.json` is no JSON"),
        (("adapter_config.json", b"{}"), r"`models/llama/adapter_config.json`: the model has an adapter"),
        (("model.safetensors", b"\xff" * 20), r"`models/llama/model.safetensors` is damaged"),
        (("model.safetensors", b"\x02\0\0\0\0\0\0\0[]"), r"`models/llama/model.safetensors` is damaged"),
        (("model.safetensors", b"\x02\0\0\0\0\0\0\0{}"), r"weights: `model.embed_tokens.weight` is missing"),
        (
            ("model.safetensors", None),
            r"`models/llama` has neither `model.safetensors` nor `model.safetensors.index.json`",
        ),
    ],
)
def test_preflight_refuses_a_folder_that_training_cannot_read(
    change: tuple[str, bytes | None], words: str, tmp_path: Path, llama: Any
) -> None:
    name, data = change
    file = tmp_path / "models" / "llama" / name
    file.unlink() if data is None else file.write_bytes(data)
    with pytest.raises(StageError, match=words):
        check_beginning(context_of(tmp_path, llama_spec()), resolve(llama_spec().model, 300, 512))


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ({"weight_map": {"a": "one.safetensors"}}, r"weights: `models/llama/one.safetensors` is missing"),
        ({"weight_map": {"a": "../one.safetensors"}}, r"`../one.safetensors` is no file of its folder"),
        ([], r"`models/llama/model.safetensors.index.json` is no index of weights"),
    ],
)
def test_preflight_looks_at_every_shard(index: Any, words: str, tmp_path: Path, llama: Any) -> None:
    folder = tmp_path / "models" / "llama"
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(StageError, match=words):
        check_beginning(context_of(tmp_path, llama_spec()), resolve(llama_spec().model, 300, 512))


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("lm_head.weight", None, r"weights: `lm_head.weight` is missing"),
        (
            "model.norm.weight",
            torch.zeros(17),
            r"weights: `model.norm.weight` is \(17,\), config.json asks for \(16,\)",
        ),
        ("model.norm.weight", torch.zeros(16, dtype=torch.int8), r"weights: `model.norm.weight` is torch.int8"),
        ("model.norm.scales", torch.zeros(1), r"weights: Llama with this config.json has no `model.norm.scales`"),
    ],
)
def test_preflight_sees_weights_that_are_not_the_config_s(
    name: str, change: torch.Tensor | None, words: str, tmp_path: Path, llama: Any
) -> None:
    file = tmp_path / "models" / "llama" / "model.safetensors"
    tensors = {key: value for key, value in load_file(file).items() if key != name}
    save_file(tensors if change is None else tensors | {name: change}, file, metadata={"format": "pt"})
    with pytest.raises(StageError, match=words):
        check_beginning(context_of(tmp_path, llama_spec()), resolve(llama_spec().model, 300, 512))


def test_training_refuses_weights_that_are_no_numbers(tmp_path: Path, llama: Any) -> None:
    with torch.no_grad():
        llama.model.layers[1].mlp.up_proj.weight[2, 3] = torch.nan
    llama.save_pretrained(tmp_path / "models" / "llama")
    job = job_in(tmp_path, llama_spec(), vocabulary=VOCABULARY)
    assert "`blocks.1.feed_forward.up.weight` holds values that are not finite" in refused(job)


@pytest.mark.parametrize("given", [{}, FROM | {"artifact": KEY}, FROM | {"state": "WeightsAndOptimizer"}])
def test_one_origin_is_named_and_weights_alone_come_from_a_folder(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"exactly one of `artifact` and `huggingFace`|weights only"):
        parse_manifest(ContinueFrom, given)
    assert parse_manifest(ContinueFrom, FROM).artifact is None
    assert parse_manifest(ContinueFrom, {"artifact": DATA}).hugging_face is None
