"""A small model against a byte-level Kneser-Ney 5-gram fitted on exactly the bytes that it consumed."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from llmtrain_jobs.curation import tokens as curation
from llmtrain_jobs.model.transformer import Transformer, loss_sum
from llmtrain_jobs.training.build import Job, build
from llmtrain_jobs.training.export import read_model
from tokenizers import Tokenizer

from llmtrain.api.job import JobSpec
from llmtrain.cli.corpus import default_folders, gather
from tests.long.kneser_ney import bits_per_byte, distribution, fit
from tests.unit.training.harness import Heard, store_in

CONTEXT, VOCABULARY, CORPUS_BYTES, TOKENS = 128, 4096, 8_000_000, 2_000_000
DATA, KEY = "d" * 16, "a" * 16


def spec() -> JobSpec:
    cluster = {"planRef": {"name": "cpu"}}
    return JobSpec.model_validate({
        "storage": {"persistentVolumeClaim": {"claimName": "llm"}},
        "curation": {"cluster": cluster, "sources": [{"name": "docs", "path": "x"}]},
        "model": {"preset": "tiny", "contextLength": CONTEXT},
        "training": {
            "cluster": cluster, "tokens": TOKENS, "globalBatchTokens": 1024,
            # Few tokens: many small steps, and Muon for the matrices, learn most of them.
            "optimizer": {"name": "Muon", "peakLearningRate": "3e-3", "warmupTokens": 40_000},
            "compute": {"microBatchSequences": 8},
        },
    })  # fmt: skip


def consumed(job: Job, tokenizer: Tokenizer) -> bytes:
    """The bytes of the windows that a run drew, each window once for every time it was seen."""
    made = build(job, torch.device("cpu"), 1, Heard(job.store), lambda: False)
    stream, timeline = made.parts.stream, made.parts.timeline
    stream.cursors.drawn, stream.cursors.in_phase = [0], [0]
    parts = []
    for number in range(timeline.steps):
        shape = timeline.shape(number)
        parts.append(stream.share(stream.advance(shape), shape, 0, 1).tokens.ravel())
    return tokenizer.decode([int(t) for t in np.concatenate(parts)], skip_special_tokens=True).encode()


@pytest.mark.timeout(3600)
def test_a_small_model_beats_a_kneser_ney_five_gram_on_held_out_text(tmp_path: Path) -> None:
    gather(tmp_path / "corpus.jsonl.gz", CORPUS_BYTES, default_folders())
    with gzip.open(tmp_path / "corpus.jsonl.gz", "rt") as file:
        texts = [json.loads(line)["text"] for line in file]
    held, kept = texts[::20], [text for number, text in enumerate(texts) if number % 20]
    tokenizer = curation.train_tokenizer(kept, VOCABULARY)
    end = tokenizer.token_to_id(curation.END_OF_TEXT)
    assert end is not None
    train, _ = curation.encode(tokenizer, kept, "uint16", end)
    store = store_in(tmp_path)
    counts = {"vocabulary_size": tokenizer.get_vocab_size(), "dtype": "uint16"}
    store.complete("curation", DATA, {"train/00000.bin": train.tobytes()}, counts)
    job = Job(spec(), store, DATA, KEY, local=tmp_path / "local")
    torch.set_num_threads(2)
    made = build(job, torch.device("cpu"), 1, Heard(store), lambda: False)
    assert made.run()
    newest = made.parts.checkpoints.archive.newest()
    assert newest is not None
    trained = made.parts.engine.modules[0].get_submodule("model")
    assert isinstance(trained, Transformer)
    model = Transformer(trained.config)
    model.load_state_dict(read_model(store, newest))

    text = "".join(held)[:400_000]
    nats = held_out_nats(model, np.asarray(curation.encode(tokenizer, [text], "uint16", end)[0], dtype=np.int64)[:-1])
    ours = nats / np.log(2) / len(text.encode())
    orders = fit(consumed(job, tokenizer))
    theirs = bits_per_byte(orders, text.encode())
    assert distribution(orders, b"import ") == pytest.approx(1.0)
    print(f"bits per byte on held-out text: ours {ours:.4f}, Kneser-Ney 5-gram {theirs:.4f}")
    assert ours < theirs


def held_out_nats(model: Transformer, tokens: np.ndarray) -> float:
    """Every token but the first, in windows that do not overlap: nothing before a window helps to predict it."""
    nats = 0.0
    with torch.inference_mode():
        for start in range(0, len(tokens) - 1, CONTEXT):
            nats += float(loss_sum(model.eval(), torch.from_numpy(tokens[None, start : start + CONTEXT + 1].copy())))
    return nats
