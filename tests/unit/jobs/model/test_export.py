"""A job's artifact becomes a folder that transformers loads; what is wrong with a folder is said."""

import json
import os
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
from llmtrain_jobs.curation.tokens import train_tokenizer
from llmtrain_jobs.errors import StageError
from llmtrain_jobs.model.card import data_set as data_set_of
from llmtrain_jobs.model.config import ModelConfig, resolve
from llmtrain_jobs.model.export import Job, NumberFormat, Words, export_job, main, write_folder
from llmtrain_jobs.model.importing import Imported, import_folder
from llmtrain_jobs.model.transformer import Transformer
from llmtrain_jobs.model.weights import read_weights, write_weights
from tokenizers import Tokenizer, processors
from typer import Typer
from typer.testing import CliRunner

from llmtrain.api.model import PositionKind
from llmtrain.storage.store import Store
from tests.unit.jobs.model.configs import GPT2, LLAMA

os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}

TEXTS = ["the quick brown fox jumps over the lazy dog", "pack my box with five dozen liquor jugs"] * 20
PLAN = {"planRef": {"name": "h100"}}


def job_object(model: dict[str, Any]) -> dict[str, Any]:
    """What kubectl prints of a job that is done."""
    entry = {"stage": "Training", "role": "worker", "plan": "h100", "tenure": "Rented", "podSeconds": 100, "billedSeconds": 120,
             "acceleratorSeconds": 120, "costMicroUsd": 133_000, "pods": 2}  # fmt: skip
    stages = [
        {"name": "Curation", "state": "Succeeded", "artifact": "c0", "reused": True},
        {"name": "Training", "state": "Succeeded", "artifact": "t0", "scores": {"loss": "3.2100"}},
        {"name": "Evaluation", "state": "Succeeded", "scores": SCORES},
    ]
    return {
        "metadata": {"name": "docs-gpt", "namespace": "team-a"},
        "spec": {
            "storage": {"persistentVolumeClaim": {"claimName": "llm"}},
            "curation": {
                "cluster": PLAN,
                "sources": [{"name": "handbook", "path": "corpus/*", "licence": "Apache-2.0"}],
            },
            "model": model | {"contextLength": 32},
            "training": {"cluster": PLAN, "tokens": 20_000_000},
            "evaluation": {"cluster": PLAN, "tasks": TASKS, "suites": SUITES},
        },
        "status": {"stages": stages, "ledger": {"entries": [entry], "totalMicroUsd": 133_000}},
    }


SCORES = {"held-out/bits_per_byte": "1.2345", "arc-easy/acc": "1.0000"}
TASKS = [
    {"name": "held-out", "perplexity": {}},
    {"name": "arc-easy", "task": "arc_easy", "dataFile": "own/modules.jsonl"},
    {"name": "texts", "perplexity": {"files": ["a.txt", "b.txt"]}},
    {"name": "sciq", "harness": "sciq"},
]
SUITES = [
    {"name": "core", "preset": "Core", "dataFolder": "s3://data/"},
    {"name": "ours", "tasks": ["arc-easy", "texts"]},
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(TEXTS, 300)


def store_at(root: Path) -> Store:
    return Store(fsspec.filesystem("file"), str(root), lambda url: (None, url))


def finished(root: Path, model: dict[str, Any], tokenizer: Tokenizer) -> tuple[Job, Transformer]:
    """A job with its artifacts in a folder."""
    job = Job.parse(json.dumps(job_object(model)))
    size = tokenizer.get_vocab_size()
    torch.manual_seed(11)
    trained = Transformer(resolve(job.spec.model, size, job.spec.training.tokens)).eval()
    store, weights = store_at(root), root / "model.pt"
    torch.save({"model": trained.state_dict()}, weights)
    report = {
        "ledger": {"fates": {"Kept": {"documents": 38, "bytes": 1700}, "ExactDuplicate": {"documents": 2, "bytes": 90}}}
    }
    files = {"tokenizer.json": tokenizer.to_str().encode(), "report.json": json.dumps(report).encode()}
    counts = {"vocabulary_size": size, "train_tokens": 4321, "end_of_text": tokenizer.token_to_id("<|endoftext|>"),
              "sources": {"handbook": {"tokens": 4321}}}  # fmt: skip
    store.complete("curation", "c0", files, counts)
    store.complete("training", "t0", {"model.pt": weights}, {"step": 7, "tokens": 20_000_000})
    return job, trained


@pytest.fixture(scope="module")
def transformers() -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import transformers as module

        yield module


@pytest.mark.parametrize("model", [{"preset": "tiny"}, {"preset": "auto"}], ids=["gpt2", "llama"])
def test_transformers_loads_the_export_of_a_job_with_its_logits_and_tokens(
    model: dict[str, Any], tmp_path: Path, tokenizer: Tokenizer, transformers: Any
) -> None:
    job, trained = finished(tmp_path, model, tokenizer)
    export_job(job, store_at(tmp_path), tmp_path / "out")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    words = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    ids = tokenizer.encode(TEXTS[0]).ids
    assert words(TEXTS[0])["input_ids"] == ids
    assert words.eos_token_id == tokenizer.token_to_id("<|endoftext|>")
    assert words.decode(ids) == TEXTS[0]
    batch = torch.tensor([ids[:20]])
    with torch.no_grad():
        assert float((theirs(batch).logits - trained(batch)).abs().max()) < 1e-4
    assert theirs.num_parameters() == sum(p.numel() for p in trained.parameters())
    assert theirs.config.eos_token_id == words.eos_token_id


def test_an_exported_tokenizer_adds_and_cuts_nothing_that_the_training_did_not(
    tmp_path: Path, transformers: Any
) -> None:
    """As Llama 3's file has it: a token before every text, which the tokens of a data set do not have."""
    given = train_tokenizer(TEXTS, 300, ["<|endoftext|>", "<|begin|>"])
    trained_on = given.encode(TEXTS[0]).ids
    begin = processors.TemplateProcessing(single="<|begin|> $A", special_tokens=[("<|begin|>", 1)])
    given.post_processor = processors.Sequence([processors.ByteLevel(), begin])
    given.enable_truncation(5)
    job, _ = finished(tmp_path, {"preset": "auto"}, given)
    export_job(job, store_at(tmp_path), tmp_path / "out")
    words = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert words(TEXTS[0])["input_ids"] == trained_on
    assert given.encode(TEXTS[0]).ids[0] == 1


def test_the_card_tells_data_bill_and_scores_from_the_manifests(tmp_path: Path, tokenizer: Tokenizer) -> None:
    job, trained = finished(tmp_path, {"preset": "tiny"}, tokenizer)
    export_job(job, store_at(tmp_path), tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    count = sum(p.numel() for p in trained.parameters())
    for expected in (
        f"{count:,} parameters", "| handbook | `corpus/*` | Apache-2.0 | 4,321 |", "| train tokens | 4,321 |", "| Kept | 38 | 1,700 |",
        "| held-out/bits_per_byte | 1.2345 | held-out documents of the training data |", "| Training | worker | h100 | Rented | 120 | 120 | 0.13 |", "**0.13 USD**",
        "Reused, paid for by an earlier job: Curation.", "| optimizer steps | 7 |", "`t0`", "| loss | 3.2100 |",
    ):  # fmt: skip
        assert expected in card
    import yaml

    head = yaml.safe_load(card.split("---")[1])
    results = {entry["metrics"][0]["value"]: entry["dataset"] for entry in head["model-index"][0]["results"]}
    assert results[1.2345] == {"name": "held-out documents of the training data", "type": "held-out"}


@pytest.mark.parametrize(
    ("task", "data_set"),
    [
        ("arc-easy", ("own/modules.jsonl", "file")),
        ("texts", ("a.txt, b.txt", "file")),
        ("sciq", ("sciq", "lm-evaluation-harness")),
        ("core-arc-easy", ("s3://data/arc_easy.jsonl", "file")),
        ("core", ("files of s3://data/", "suite")),
        ("ours", ("arc-easy, texts", "suite")),
        ("long-gone", ("not recorded", "not recorded")),
    ],
)
def test_the_card_names_what_was_read_and_no_benchmark_by_a_task_s_name(task: str, data_set: tuple[str, str]) -> None:
    evaluation = Job.parse(json.dumps(job_object({"preset": "tiny"}))).spec.evaluation
    assert data_set_of(evaluation, task) == data_set


def test_another_token_may_end_documents(tmp_path: Path, transformers: Any) -> None:
    named = train_tokenizer(TEXTS, 300, ("<|stop|>", "<|other|>"))
    config = replace(GPT2, vocabulary=300)
    state = Transformer(config).state_dict()
    write_folder(tmp_path / "out", config, state, Words(named, named.token_to_id("<|stop|>")), "card")
    words = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert (words.eos_token, words.eos_token_id) == ("<|stop|>", named.token_to_id("<|stop|>"))


def test_a_job_without_status_has_a_card_that_says_so(tmp_path: Path, tokenizer: Tokenizer) -> None:
    job, _ = finished(tmp_path, {"preset": "tiny"}, tokenizer)
    stages = [stage.model_copy(update={"scores": {}}) for stage in job.status.stages]
    bare = Job(
        job.name, job.spec, job.status.model_copy(update={"stages": stages, "ledger": type(job.status.ledger)()})
    )
    export_job(bare, store_at(tmp_path), tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Bill: not recorded." in card
    assert "Scores: not recorded." in card


def exported(
    tmp_path: Path, config: ModelConfig, tokenizer: Tokenizer, kind: NumberFormat = NumberFormat.FP32
) -> Transformer:
    torch.manual_seed(2)
    model = Transformer(config).eval()
    write_folder(tmp_path / "out", config, model.state_dict(), Words(tokenizer, None), "card", kind)
    return model


SIZED = replace(GPT2, vocabulary=300)


def test_an_export_is_imported_again_bit_by_bit(tmp_path: Path, tokenizer: Tokenizer) -> None:
    model = exported(tmp_path, SIZED, tokenizer)
    found = import_folder(tmp_path / "out")
    assert found.family == "GPT-2"
    assert found.tokenizer is not None
    assert found.tokenizer.to_str() == tokenizer.to_str()
    tokens = torch.tensor([[1, 2, 3]])
    assert torch.equal(found.model()(tokens), model(tokens))


def test_bf16_halves_the_file_and_rounds_the_weights(tmp_path: Path, tokenizer: Tokenizer) -> None:
    model = exported(tmp_path, SIZED, tokenizer, NumberFormat.BF16)
    size = sum(p.numel() for p in model.parameters())
    assert (tmp_path / "out" / "model.safetensors").stat().st_size == pytest.approx(2 * size, rel=0.2)
    found = import_folder(tmp_path / "out").state
    assert all(torch.equal(found[name], value.bfloat16().float()) for name, value in model.state_dict().items())


def test_large_models_are_written_in_shards_with_an_index(tmp_path: Path) -> None:
    tensors = {f"t{number}": torch.full((10,), float(number)) for number in range(5)}
    names = write_weights(tmp_path, tensors.items(), shard_bytes=90)
    assert names == [*(f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)), "model.safetensors.index.json"]
    index = json.loads((tmp_path / names[-1]).read_text())
    assert index["metadata"]["total_size"] == 200
    assert index["weight_map"]["t4"] == names[2]
    found = read_weights(tmp_path)
    assert all(torch.equal(found[name], value) for name, value in tensors.items())
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(names)
    (tmp_path / names[1]).unlink()
    with pytest.raises(StageError, match=r"`model-00002-of-00003.safetensors` is missing"):
        read_weights(tmp_path)


def test_a_damaged_file_is_named(tmp_path: Path, tokenizer: Tokenizer) -> None:
    exported(tmp_path, SIZED, tokenizer)
    file = tmp_path / "out" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(StageError, match=r"model.safetensors` is damaged"):
        import_folder(tmp_path / "out")


def test_weights_of_another_shape_are_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    exported(tmp_path, SIZED, tokenizer)
    config = tmp_path / "out" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"n_positions": 99}))
    with pytest.raises(StageError, match=r"`transformer.wpe.weight` is \(16, 32\), config.json asks for \(99, 32\)"):
        import_folder(tmp_path / "out")


def test_a_tokenizer_with_more_entries_than_the_model_is_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    exported(tmp_path, SIZED, tokenizer)
    large = train_tokenizer([*TEXTS, "a much longer story " * 5], 310)
    (tmp_path / "out" / "tokenizer.json").write_text(large.to_str())
    with pytest.raises(StageError, match=r"numbers 310 entries, the model's vocabulary has 300") as caught:
        import_folder(tmp_path / "out")
    assert caught.value.reason == "VocabularyMismatch"


def test_an_export_does_not_write_over_a_folder(tmp_path: Path, tokenizer: Tokenizer) -> None:
    exported(tmp_path, SIZED, tokenizer)
    with pytest.raises(StageError, match="exists already"):
        exported(tmp_path, SIZED, tokenizer)


def test_a_refused_export_leaves_nothing_behind(tmp_path: Path, tokenizer: Tokenizer) -> None:
    odd = replace(SIZED, positions=PositionKind.SINUSOIDAL)
    with pytest.raises(StageError, match=r"`positions.kind` is Sinusoidal, GPT-2 has Learned"):
        exported(tmp_path, odd, tokenizer)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_a_model_that_has_diverged_is_not_exported(odd: float, tmp_path: Path, tokenizer: Tokenizer) -> None:
    """Whoever loads it would find out last."""
    state = Transformer(SIZED).state_dict()
    state["blocks.1.attention.output.weight"] = torch.full_like(state["blocks.1.attention.output.weight"], odd)
    with pytest.raises(StageError, match=r"`blocks.1.attention.output.weight` holds values that are not finite"):
        write_folder(tmp_path / "out", SIZED, state, Words(tokenizer, 0), "")
    assert not list(tmp_path.iterdir())


def imported(config: ModelConfig) -> Imported:
    return Imported("any", config, Transformer(config).state_dict(), None)


def test_a_job_goes_on_from_imported_weights_with_a_shorter_context() -> None:
    there = imported(GPT2)
    job = replace(GPT2, context=8, dropout=0.1, key_value_heads=GPT2.heads)
    model = Transformer(job)
    model.load_state_dict(there.initial_state(job))
    assert torch.equal(model.get_parameter("embedding.positions.weight"), there.state["embedding.positions.weight"][:8])


@pytest.mark.parametrize("config", [replace(LLAMA, tied=False), replace(LLAMA, tied=True)], ids=["own-head", "tied"])
def test_an_embedding_that_is_larger_than_the_tokenizer_gives_the_same_logits(config: ModelConfig) -> None:
    """As Qwen 3 and OLMo 2 are published: rows are filled up to a round number."""
    there = imported(replace(config, vocabulary=64))
    job = replace(config, vocabulary=50)
    model = Transformer(job).eval()
    model.load_state_dict(there.initial_state(job))
    tokens = torch.randint(0, 50, (2, 12))
    with torch.no_grad():
        torch.testing.assert_close(model(tokens), there.model()(tokens)[..., :50], rtol=0, atol=1e-6)


def test_a_tokenizer_with_fewer_entries_than_the_imported_models_own_is_another_one(tokenizer: Tokenizer) -> None:
    there = replace(imported(replace(LLAMA, vocabulary=320)), tokenizer=tokenizer)
    assert there.initial_state(replace(LLAMA, vocabulary=300))
    assert there.initial_state(replace(LLAMA, vocabulary=310))  # with tokens of its own in the rows that were left
    with pytest.raises(StageError, match=r"tokenizer has 299 entries, the imported model 300"):
        there.initial_state(replace(LLAMA, vocabulary=299))


@pytest.mark.parametrize(
    ("job", "there", "words"),
    [
        (replace(GPT2, vocabulary=51), GPT2, "tokenizer has 51 entries, the imported model 50"),
        (replace(GPT2, context=17), GPT2, "`contextLength` is 17, but the imported model learned 16 positions"),
        (replace(GPT2, layers=3), GPT2, "`layers` is 3, imported 2"),
        (LLAMA, replace(LLAMA, gated=False), "`activation.gated` is True, imported False"),
    ],
)
def test_a_job_that_does_not_fit_the_imported_model_is_told_why(
    job: ModelConfig, there: ModelConfig, words: str
) -> None:
    with pytest.raises(StageError) as caught:
        imported(there).initial_state(job)
    assert words in caught.value.message


def test_the_command_exports_and_ends_with_the_class_of_what_is_wrong(tmp_path: Path, tokenizer: Tokenizer) -> None:
    app, runner = Typer(), CliRunner()
    app.command()(main)
    finished(tmp_path, {"preset": "tiny"}, tokenizer)
    file = tmp_path / "job.json"
    file.write_text(json.dumps(job_object({"preset": "tiny"})))
    options = ["--job", str(file), "--mount", str(tmp_path), "--out", str(tmp_path / "out")]
    good = runner.invoke(app, options)
    assert good.exit_code == 0
    assert good.stdout == f"docs-gpt in {tmp_path / 'out'}, as GPT-2\n"
    again = runner.invoke(app, options)
    assert again.exit_code == 64
    assert "exists already" in again.stderr
    unfinished = job_object({"preset": "tiny"})
    unfinished["status"]["stages"].pop(1)
    file.write_text(json.dumps(unfinished))
    assert "no complete artifact of training" in runner.invoke(app, options).stderr
    file.write_text("{}")
    assert "kubectl get llmjob" in runner.invoke(app, options).stderr
