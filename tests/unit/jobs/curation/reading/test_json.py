"""JSON as it is found: lines, arrays, objects over several lines. What is wrong costs itself alone, and no byte is lost."""

import io
import itertools
import json
import random
import sys
from typing import Any

import pytest
from llmtrain_jobs.curation.reading import values
from llmtrain_jobs.curation.reading.values import DEEPEST, Values, _Scan

from tests.unit.jobs.curation.reading.files import problems, read, texts

ROWS: list[dict[str, Any]] = [
    {"text": f'"{n}" [a] {{b}} \\ ü,\n', "id": n, "more": [{"x": [1, [2]]}, None]} for n in range(20)
]
TEXTS = [row["text"] for row in ROWS]
ARRAY = json.dumps(ROWS)
ONE_BROKEN = ", ".join(json.dumps(row) if n != 7 else '{"text": "a" "b"}' for n, row in enumerate(ROWS))
SPELLINGS = {
    "one line": ARRAY, "indented": json.dumps(ROWS, indent=1), "a line each": "[\n" + ",\n".join(map(json.dumps, ROWS)) + "\n]\n",
    "no ASCII": json.dumps(ROWS, ensure_ascii=False), "a byte order mark": "\ufeff" + ARRAY, "white space before": "\n\n \t" + ARRAY,
    "two arrays": json.dumps(ROWS[:5]) + "\n" + json.dumps(ROWS[5:]), "objects over lines": "\n".join(json.dumps(row, indent=2) for row in ROWS),
    "objects in one line": "".join(map(json.dumps, ROWS)), "objects and blanks in one line": "  ".join(map(json.dumps, ROWS)) + "\n",
    "lines": "\n".join(map(json.dumps, ROWS)), "lines with a byte order mark": "\ufeff" + "\n".join(map(json.dumps, ROWS)),
    "lines that end in CR LF": "\r\n".join(map(json.dumps, ROWS)),
}  # fmt: skip


@pytest.mark.parametrize(("case", "name"), [*itertools.product(SPELLINGS, ["x.json", "x.jsonl"])])
def test_every_spelling_gives_the_same_documents_and_adds_up_to_its_bytes(case: str, name: str) -> None:
    data = SPELLINGS[case].encode()
    found = read(name, data)
    assert texts(found) == TEXTS
    assert not problems(found)
    assert sum(record.size for record in found) == len(data)


WRONG = {
    "a missing comma": ('{"text": "a" "b"}', 1), "a bracket too many": ('{"text": [1}', 1), "a bracket too few": ('{"text": {"a": 1}', 1),
    "no end of its text": ('{"text": "a\n}', 1), "a bare word": ("nothing", 1), "a number": ("12.5", 1), "a text": ('"a"', 1),
    "an array": ("[1, [2]]", 1), "no UTF-8": ('{"text": "\udcff"}', 1), "deep nesting": ("[" * 3000 + "]" * 3000, 1),
    "a stray bracket": ("}", 1), "another field": ('{"txt": "a"}', 1), "nothing between commas": ("", 0),
}  # fmt: skip


@pytest.mark.parametrize("case", list(WRONG))
def test_a_wrong_element_of_an_array_is_one_bad_record(case: str) -> None:
    wrong, count = WRONG[case]
    rows = [*map(json.dumps, ROWS[:7]), wrong, *map(json.dumps, ROWS[7:])]
    for separator in (",", ", ", ",\n  "):
        data = ("[" + separator.join(rows) + "]").encode(errors="surrogateescape")
        found = read("x.json", data)
        assert texts(found) == TEXTS
        assert len(problems(found)) == count
        assert sum(record.size for record in found) == len(data)


def test_an_array_that_is_cut_is_a_damaged_file_and_keeps_what_is_before() -> None:
    whole = json.dumps(ROWS).encode()
    ends = [len(json.dumps(ROWS[: n + 1])) - 1 for n in range(len(ROWS))]
    for end in range(1, len(whole), 17):
        found = read("x.json", whole[:end])
        assert texts(found) == TEXTS[: sum(row <= end for row in ends)]
        assert found[-1].fatal
        assert "not closed" in found[-1].problem
        assert sum(record.size for record in found) == end


def test_a_value_over_the_limit_is_one_bad_record_and_never_whole_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "BLOCK", 1000)
    long = json.dumps({"text": "a" * 50_000})
    data = f"[{json.dumps(ROWS[0])}, {long}, {json.dumps(ROWS[1])}]".encode()
    following = Values(io.BytesIO(data), 2000)
    found, most = [], 0
    while (value := following.next()) is not None:
        found.append(value)
        most = max(most, sys.getsizeof(following._held))
    assert [(number, size, content is None) for number, size, content in found] == [
        (1, len(json.dumps(ROWS[0])), False), (2, len(long), True), (3, len(json.dumps(ROWS[1])), False)
    ]  # fmt: skip
    assert most < 10_000


def test_values_are_the_same_whatever_pieces_the_bytes_come_in(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = random.Random(3)
    for data in [SPELLINGS["indented"].encode(), SPELLINGS["no ASCII"].encode(), f"[{ONE_BROKEN}] x {ARRAY}".encode()]:
        expected = [(value.size, value.text, value.problem) for value in read("x.json", data)]
        for _ in range(6):
            monkeypatch.setattr(values, "BLOCK", generator.randint(1, 40))
            assert [(value.size, value.text, value.problem) for value in read("x.json", data)] == expected


def test_what_is_held_of_open_brackets_is_bounded() -> None:
    """Each that closes looks for its own among them: unbounded, a file of brackets would take for ever."""
    scan = _Scan()
    assert scan.end_in(b"[" * 100_000, 0) is None
    assert len(scan._open) == DEEPEST
    assert scan.end_in(b"[" * 100_000 + b"]" * 99_999, 0) is None
    assert scan.end_in(b"[" * 100_000 + b"]" * 100_000, 0) == 200_000


def test_record_numbers_are_those_of_the_elements() -> None:
    data = f"[{ONE_BROKEN}]".encode()
    assert [record.number for record in read("x.json", data) if record.problem] == [8]


ODD_ORIGINS: dict[str, tuple[Any, str]] = {
    "half a surrogate pair": ("doc-\udcff", "doc-\ufffd"), "two halves": ("\ud83d\ude00", "😀"), "a number": (12, "12"),
    "nothing": (None, ""), "a long one": ("x" * 5000, "x" * 2048),
}  # fmt: skip


@pytest.mark.parametrize("case", list(ODD_ORIGINS))
def test_an_odd_id_or_url_costs_no_document(case: str) -> None:
    value, expected = ODD_ORIGINS[case]
    [record] = read("x.jsonl", json.dumps({"text": "a", "id": value, "url": value, "date": value}).encode())
    assert record.text == "a"
    assert (record.origin.id, record.origin.url) == (expected, expected)
    record.origin.id.encode()


def test_a_nested_id_costs_no_document() -> None:
    depth = sys.getrecursionlimit() // 3
    [record] = read("x.jsonl", b'{"text": "a", "id": ' + b"[" * depth + b"]" * depth + b"}")
    assert record.text == "a"
