"""YAML as kubectl reads it, against what kubectl answered."""

from typing import Any

import pytest
import yaml

from llmtrain.api.kubeyaml import documents, dump_all
from tests.yamlcases import SCALARS, SPECS, TEXTS


def typed(value: Any) -> str:
    """1 and 1.0 and true are different."""
    return repr(value)


@pytest.mark.parametrize("text", list(SCALARS))
def test_what_a_plain_scalar_is(text: str) -> None:
    assert typed(documents(f"a: {text}\n")) == typed([{"a": SCALARS[text]}])


@pytest.mark.parametrize("text", list(SCALARS))
def test_in_quotes_it_is_a_text(text: str) -> None:
    assert documents(f"- '{text}'\n- \"{text}\"\n") == [[text, text]]


@pytest.mark.parametrize("text", list(SPECS))
def test_what_a_mapping_is(text: str) -> None:
    if SPECS[text] is None:
        with pytest.raises(yaml.YAMLError):
            documents(text)
    else:
        assert typed(documents(text)) == typed([SPECS[text]])


@pytest.mark.parametrize("text", list(TEXTS))
def test_which_documents_a_text_has(text: str) -> None:
    wanted = TEXTS[text]
    if wanted is None:
        with pytest.raises(yaml.YAMLError):
            documents(text)
    else:
        assert typed([document["spec"] for document in documents(text)]) == typed(wanted)


@pytest.mark.parametrize("parser", ["CSafeLoader", "SafeLoader"])
def test_both_parsers_of_pyyaml_serve(parser: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml, "CSafeLoader", getattr(yaml, parser))
    assert documents("a: [3e-3, '3e-3', 017, yes]\n") == [{"a": [0.003, "3e-3", 15, True]}]


def test_aliases_of_aliases_end_in_a_message() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(yaml.YAMLError, match="excessive aliasing"):
        documents("\n".join(lines))


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 3000 + "]" * 3000,
        '{"a":' + "[" * 3000 + "]" * 3000 + "}",
        '{"a": 1e999}',
        f'{{"a": {"1" * 5000}}}',
    ],
    ids=["deep YAML", "deep JSON", "no float", "no number"],
)
def test_what_is_too_deep_or_too_large_ends_in_a_message(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        documents(text)


def test_a_number_of_thousands_of_digits_is_a_text_as_one_out_of_range_is() -> None:
    assert documents(f"a: {'1' * 5000}") == [{"a": "1" * 5000}]


def test_what_is_written_is_read_as_it_was() -> None:
    texts = [*SCALARS, ".inf", "plain", "two words", "a: b", "# c", "'", '"', "\n", "é", "- x", "{", "1e-8", ""]
    body = {"texts": texts, "numbers": [1, 0.5, 1e-8, 1e22, True, None], "nested": [{"a": {}}, []]}
    assert typed(documents(dump_all([body, {"b": "6e-4"}]))) == typed([body, {"b": "6e-4"}])
