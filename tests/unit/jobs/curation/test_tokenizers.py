"""Tokenizers as others made them: documents become the tokens of their text, and nothing else."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llmtrain_jobs.curation.tokens import (
    LARGEST_TABLE,
    encode,
    given_tokenizer,
    is_sentencepiece,
    loaded_tokenizer,
    returned,
    table_size,
    train_tokenizer,
)
from llmtrain_jobs.errors import StageError
from llmtrain_jobs.evaluation.heldout import split_documents
from llmtrain_jobs.preflight.stage import check_curation
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from tests.unit.jobs.curation.world import World, jsonl, prose

END, BEGIN = "<|endoftext|>", "<|begin|>"
PLAIN: dict[str, Any] = {"filters": {"presets": []}, "deduplication": {"minHash": {"enabled": False}}}
Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def content() -> str:
    """A tokenizer.json of 500 entries."""
    return train_tokenizer([prose(i) for i in range(40)], 500, [END, BEGIN]).to_str()


def changed(content: str, change: Change) -> bytes:
    """The same tokenizer.json with something else in it."""
    found = json.loads(content)
    change(found)
    return json.dumps(found).encode()


def cut(found: dict[str, Any]) -> None:
    found["truncation"] = {"direction": "Right", "max_length": 20, "strategy": "LongestFirst", "stride": 0}


def filled(found: dict[str, Any]) -> None:
    found["padding"] = {"strategy": {"Fixed": 600}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 1,
                        "pad_type_id": 0, "pad_token": BEGIN}  # fmt: skip


def begun(found: dict[str, Any]) -> None:
    """With the post-processor of Llama 3, which puts a token before every text."""
    template = processors.TemplateProcessing(single=f"{BEGIN} $A", special_tokens=[(BEGIN, 1)])
    both = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    found["post_processor"] = json.loads(both.__getstate__())


def by_chance(found: dict[str, Any]) -> None:
    found["model"]["dropout"] = 0.5


def with_hole(found: dict[str, Any]) -> None:
    """The last token has a number far behind the others."""
    vocabulary = found["model"]["vocab"]
    vocabulary[max(vocabulary, key=vocabulary.__getitem__)] += 5000


def end_behind_hole(found: dict[str, Any]) -> None:
    """The end of a document has a number behind the others, as in files made of cl100k."""
    found["model"]["vocab"][END] = found["added_tokens"][0]["id"] = 502


def end_unmarked(found: dict[str, Any]) -> None:
    """The end of a document is not told to be special."""
    found["added_tokens"][0]["special"] = False


def documents_of(world: World, artifact: Path) -> Iterator[tuple[str, list[int]]]:
    """Text and tokens of every document in the shards of an artifact, its end left out."""
    index = json.loads((artifact / "index.json").read_text())
    tokenizer = Tokenizer.from_file(str(artifact / "tokenizer.json"))
    for shards in index["splits"].values():
        for shard in shards:
            tokens = np.fromfile(artifact / shard["file"], dtype=index["dtype"]).tolist()
            ends = np.fromfile(artifact / shard["boundaries"], dtype="<u8").tolist()
            for start, end in zip([0, *ends], ends, strict=False):
                yield tokenizer.decode(tokens[start : end - 1], skip_special_tokens=False), tokens[start : end - 1]


CHANGES: list[Change] = [cut, filled, begun, by_chance, with_hole, end_behind_hole, end_unmarked]
TEXTS = [prose(i) for i in range(20)] + [f"{prose(i)} {END} ends a document, {BEGIN} does not." for i in range(20, 30)]


@pytest.mark.parametrize("change", CHANGES)
def test_a_given_tokenizer_makes_tokens_of_a_text_and_of_nothing_else(content: str, change: Change) -> None:
    tokenizer = given_tokenizer(changed(content, change), "given.json", END)
    end, size = tokenizer.token_to_id(END), table_size(tokenizer)
    assert end is not None
    tokens, lengths = encode(tokenizer, TEXTS, "uint16", end)
    assert returned(tokenizer, TEXTS, tokens, lengths) == len(TEXTS)
    assert np.flatnonzero(tokens == end).tolist() == (np.cumsum(lengths) - 1).tolist()
    assert int(tokens.max()) < size
    # Written and read again it is the same, and so it is for those who encode without our settings.
    elsewhere = Tokenizer.from_str(tokenizer.to_str())
    assert [*elsewhere.encode(TEXTS[0]).ids, end] == tokens[: lengths[0]].tolist()


def all_settings(found: dict[str, Any]) -> None:
    for change in (cut, filled, begun, by_chance):
        change(found)


def odd_numbers(found: dict[str, Any]) -> None:
    for change in (with_hole, end_behind_hole, end_unmarked):
        change(found)


@pytest.mark.parametrize("change", [all_settings, odd_numbers])
def test_curation_with_a_given_tokenizer_changes_no_document(world: World, content: str, change: Change) -> None:
    texts = TEXTS
    jsonl(world.root / "in" / "a.jsonl", [{"text": text} for text in texts])
    (world.root / "given.json").write_bytes(changed(content, change))
    result = world.run({**PLAIN, "tokenizer": {"file": "given.json"}})
    counts = world.report(result)["counts"]
    found = list(documents_of(world, world.folder(result)))
    assert {text for text, _ in found} == set(texts)
    assert counts["round_trip_share"] == 1
    used = {token for _, tokens in found for token in tokens}
    assert counts["end_of_text"] not in used
    assert max(used | {counts["end_of_text"]}) < counts["vocabulary_size"]
    written = loaded_tokenizer((world.folder(result) / "tokenizer.json").read_bytes())
    assert counts["vocabulary_size"] == table_size(written)
    # What others read from the artifact alone makes the same tokens of a plain text.
    assert Tokenizer.from_file(str(world.folder(result) / "tokenizer.json")).encode(texts[0]).ids in [
        t for _, t in found
    ]


def test_a_document_that_names_the_end_of_text_is_one_document() -> None:
    tokenizer = train_tokenizer([prose(i) for i in range(20)], 400)
    texts = [f"GPT-2 ends each document with {END} and a word.", "text of words"]
    tokens, lengths = encode(tokenizer, texts, "uint16", 0)
    documents = list(split_documents([tokens], 0, len))
    assert [tokenizer.decode(list(document.tokens), skip_special_tokens=False) for document in documents] == texts
    assert lengths.tolist() == [len(document.tokens) + 1 for document in documents]


def pieces(end: str) -> Tokenizer:
    """A model whose vocabulary makes the end of a document out of a text that names it."""
    letters = "abcdefghijklmnopqrstuvwxyz.,<|>/▁"
    tokenizer = Tokenizer(
        models.Unigram([("<unk>", 0.0), (end, 0.0), *((letter, -5.0) for letter in letters)], 0, True)
    )
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    tokenizer.add_special_tokens([AddedToken(end, special=True)])
    return tokenizer


def test_a_model_that_makes_the_end_of_text_out_of_a_text_loses_that_text_alone() -> None:
    tokenizer = given_tokenizer(pieces("</s>").to_str().encode(), "given.json", "</s>")
    texts = ["a tag </s> closes", "no tag"]
    tokens, lengths = encode(tokenizer, texts, "uint16", 1)
    assert np.flatnonzero(tokens == 1).tolist() == (np.cumsum(lengths) - 1).tolist()
    assert returned(tokenizer, texts, tokens, lengths) == 1


def test_every_document_is_held_against_its_tokens(world: World, content: str) -> None:
    """Two of 280 texts lose a letter: more than the first few hundred, and more than a sample, are looked at."""
    tokenizer = json.loads(content)
    tokenizer["normalizer"] = {"type": "Replace", "pattern": {"String": "é"}, "content": "e"}
    (world.root / "given.json").write_text(json.dumps(tokenizer))
    texts = [f"{prose(i, 40)} café" if i in (250, 270) else prose(i, 40) for i in range(280)]
    jsonl(world.root / "in" / "a.jsonl", [{"text": text} for text in texts])
    with pytest.raises(StageError, match=r"a share of 0\.992857143 of the texts come back.*asks for 1") as caught:
        world.run({**PLAIN, "tokenizer": {"file": "given.json"}})
    assert caught.value.reason == "TokensLoseText"
    allowed = world.run({**PLAIN, "tokenizer": {"file": "given.json", "minRoundTripShare": "0.99"}})
    assert world.report(allowed)["counts"]["round_trip_share"] == pytest.approx(278 / 280)


FORMS = {
    "NFC": (normalizers.NFC(), True), "NFD": (normalizers.NFD(), True), "NFKC": (normalizers.NFKC(), False),
    "marks": (normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()]), False),
    "case": (normalizers.Lowercase(), False), "blanks": (normalizers.Strip(), False),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_tokenizer_that_keeps_every_character_in_its_normal_form_loses_none(form: str) -> None:
    tokenizer = train_tokenizer([prose(i) for i in range(20)], 400)
    tokenizer.normalizer, kept = FORMS[form]
    texts = ["Un cafe\u0301 à Łódź. ", "ﬁnd ２ Å (\u212b)", "\u1112\u1161\u11ab 한", "none", "ASCII Alone "]
    tokens, lengths = encode(tokenizer, texts, "uint16", 0)
    found = returned(tokenizer, texts, tokens, lengths)
    assert found == len(texts) if kept else found < len(texts)


def test_a_mark_behind_what_is_taken_out_costs_no_document_its_tokens(world: World, content: str) -> None:
    """The document's own text is composed before a byte order mark within a letter leaves."""
    tokenizer = json.loads(content)
    tokenizer["normalizer"] = {"type": "NFC"}
    (world.root / "given.json").write_text(json.dumps(tokenizer))
    texts = [f"{prose(i, 40)} cafe\ufeff\u0301" for i in range(40)]
    jsonl(world.root / "in" / "a.jsonl", [{"text": text} for text in texts])
    result = world.run({**PLAIN, "tokenizer": {"file": "given.json"}})
    assert world.report(result)["counts"]["round_trip_share"] == 1


SENTENCEPIECE = b"\n\x0e\n\x05<unk>\x15\x00\x00\x00\x00\x18\x02\n\x0c\n\x03<s>\x15\x00\x00\x00\x00\x18\x03"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (SENTENCEPIECE, r"`given.model` is a SentencePiece model; give the tokenizer.json"),
        (b"IQ== 0\nIg== 1\nIw== 2\n", "`given.model` is no tokenizer.json: it does not begin with an object"),
        (b"\x1f\x8b\x08\x00", "`given.model` is no tokenizer.json"),
        (b"", "`given.model` is no tokenizer.json"),
    ],
)
def test_preflight_refuses_what_is_no_tokenizer_json(world: World, data: bytes, words: str) -> None:
    jsonl(world.root / "in" / "a.jsonl", [{"text": prose(0)}])
    (world.root / "given.model").write_bytes(data)
    with pytest.raises(StageError, match=words):
        check_curation(world.context({**PLAIN, "tokenizer": {"file": "given.model"}}))


@pytest.mark.parametrize("data", [b'\n{\n\n"version": 1}', b"{}", b"\n\n\n{", b"", b"\n\x0e\n", b"\n\x0e\n\xff"])
def test_what_is_no_sentencepiece_model_is_not_taken_for_one(data: bytes) -> None:
    assert not is_sentencepiece(data)
    assert is_sentencepiece(SENTENCEPIECE)


def far(found: dict[str, Any]) -> None:
    found["model"]["vocab"][BEGIN] = found["added_tokens"][1]["id"] = LARGEST_TABLE


def test_numbers_that_no_model_has_rows_for_are_refused_before_anything_is_read(world: World, content: str) -> None:
    (world.root / "given.json").write_bytes(changed(content, far))
    jsonl(world.root / "in" / "a.jsonl", [{"text": prose(0)}])
    with pytest.raises(StageError, match=r"`given.json` numbers its tokens up to 1000000; .* 1000000 at most"):
        world.run({**PLAIN, "tokenizer": {"file": "given.json"}})
    assert not (world.root / "work").exists()
