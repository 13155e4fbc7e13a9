"""Rows as files have them: what preflight lets pass, the evaluation can ask; the rest is told with file and line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llmtrain_jobs.errors import StageError
from llmtrain_jobs.evaluation.harness import run_parts
from llmtrain_jobs.evaluation.inputs import row_converter
from llmtrain_jobs.evaluation.tasks.catalogue import PUBLISHED, PUBLISHED_SHOTS, parts_of, published
from llmtrain_jobs.evaluation.tasks.metrics import rouge1, rouge_l, words
from llmtrain_jobs.evaluation.tasks.rows import Fields, RowError, index, rows_of
from llmtrain_jobs.evaluation.tasks.shapes import SHAPES
from llmtrain_jobs.model.transformer import Transformer
from llmtrain_jobs.preflight.stage import check_tasks
from tokenizers import Tokenizer

from llmtrain.api.evaluation import Task, TaskKind
from tests.unit.jobs.evaluation.models import sentences
from tests.unit.jobs.evaluation.test_tasks import PUBLISHED as ROWS
from tests.unit.jobs.evaluation.test_tasks import WRITTEN, Guesser
from tests.unit.jobs.evaluation.world import World, make_world

ODD: list[Any] = [
    None, True, 0, 1, 2, -1, 1.0, 10**30, "", " ", "0", "1", " 1 ", "2", "\u0661", "\u00b2", "1\n", "no", "half \ud83d", "[x]", "a _ b",
    "a _", "word ", "two  words", "#### 7", "so\n#### 7", "so\n#### 7 \n", "so ####7", "so\n#### \u0667", [], [1], ["a"], ["a", "b"],
    ["a", "\udc00"], ["[a]", "b"], ["a", "b", "c", "d"], [1, 0, 0, 0], [1, 0, 0, True], [[1], 0, 0, 0], {}, {"text": ["a", "b"], "label": ["1", "2"]},
    {"text": ["a", "b"], "label": [1, 2]}, {"text": ["a", "b"], "label": [" A", "B "]}, {"text": ["a", "b"], "label": ["A", "A"]},
    {"choices": ["a", "b"], "labels": [1, 0]}, {"choices": ["a", "b"], "labels": [True, 0.0]}, {"choices": ["a", "\ud83d"], "labels": [1, 0]},
    [{"text": "A (b)", "type": "ORG"}], [{"text": "Acme, Inc.", "type": "ORG"}], [{"text": "A", "type": "X"}], [3],
]  # fmt: skip
"""Values as exporters write them, each put into each field of a good row."""


def base_rows(kind: TaskKind) -> list[Fields]:
    texts, makers = sentences(10, 17), ROWS | WRITTEN
    if kind is TaskKind.TRUTHFULQA_MC2:
        return [{"question": "why", "mc2_targets": {"choices": texts[:2], "labels": [1, 0]}}] * 2
    made = [makers[kind](n, texts[5 * n : 5 * n + 5]) for n in range(2)]
    if kind is TaskKind.GSM8K:
        made.append({"question": "3 and 4?", "answer": "so\n#### 7"})
    if kind is TaskKind.LAMBADA:
        made.append({"text": texts[0]})
    return made


@pytest.mark.parametrize("kind", list(TaskKind))
def test_every_row_that_is_let_pass_is_asked(kind: TaskKind) -> None:
    """All rows that pass are one task: columns have one type each, and the harness' templates fill in each of them."""
    task = Task(name="asked", task=kind, data_file="rows.jsonl", few_shot=0)
    convert, base = row_converter(task), base_rows(kind)
    tried = [row | {field: value} for row in base for field in row for value in ODD]
    tried += [{key: value for key, value in row.items() if key != field} for row in base for field in row]
    tried += [
        row | extra
        for row in base
        for extra in ({"id": 1}, {"id": "Mercury_7"}, {"meta": {"year": "n/a"}}, {"x": "\ud83d"})
    ]
    passed: list[Fields] = []
    for row in [*base, *tried]:
        try:
            passed.append(convert(row))
        except RowError:
            continue
    assert len(passed) >= len(base) + 4 * len(base), "what a template does not read may be anything"
    result = run_parts("asked", parts_of(task, passed, []), Guesser(), 1)
    assert result.count == len(passed)


def labelled(**changes: Any) -> Fields:
    return {
        "question": "Which?",
        "choices": {"text": ["red", "green", "blue", "white"], "label": ["1", "2", "3", "4"]},
        "answerKey": "2",
    } | changes


@pytest.mark.parametrize("kind", [TaskKind.ARC_EASY, TaskKind.OPENBOOKQA])
@pytest.mark.parametrize("key", [2, "2", " 2 ", "2\t"])
def test_a_key_is_read_as_number_or_text_with_blanks_or_without(kind: TaskKind, key: Any) -> None:
    field = "question" if kind is TaskKind.ARC_EASY else "question_stem"
    row = {field if name == "question" else name: value for name, value in labelled(answerKey=key).items()}
    assert SHAPES[kind](row)["answerKey"] == "2"


@pytest.mark.parametrize(
    ("value", "number"), [(1, 1), ("1", 1), (" 1 ", 1), ("\u00b2", None), ("\u0661", None), ("1" * 5000, None), (1.0, None), (True, None)]
)  # fmt: skip
def test_an_index_is_in_digits_from_0_to_9_or_told(value: Any, number: int | None) -> None:
    if number is not None:
        assert index(value, "gold", 3) == number
        return
    with pytest.raises(RowError, match="an index from 0 to 2"):
        index(value, "gold", 3)


@pytest.mark.parametrize(
    ("kind", "row", "expected"),
    [
        (TaskKind.GSM8K, {"question": "q", "answer": "so\n#### \u0667"}, "digits from 0 to 9"),
        (TaskKind.GSM8K, {"question": "q", "answer": "so\n####7"}, "a blank and the number"),
        (TaskKind.WINOGRANDE, {"sentence": "It was _", "option1": "a", "option2": "b", "answer": 1}, "go on after the _"),
        (TaskKind.HELLASWAG, {"activity_label": "a", "ctx_a": "b", "ctx_b": "", "endings": ["[x]", "c"], "label": 0}, "marks in brackets"),
        (TaskKind.TRUTHFULQA_MC1, {"question": "q", "mc1_targets": {"choices": ["a", "b"], "labels": [[1], 0]}}, "0 or 1 for each"),
        (TaskKind.ARC_EASY, labelled(choices={"text": ["a", "b"], "label": ["A", "A"]}, answerKey="A"), "a label of its own"),
        (TaskKind.ARC_EASY, labelled(question="half \ud83d"), "half of a surrogate pair"),
        (TaskKind.FINANCIAL_NER, {"sentence": "s", "entities": [{"text": "AT&T (US)", "type": "ORG"}]}, "must not end in brackets"),
    ],
)  # fmt: skip
def test_what_the_harness_would_stumble_over_is_told(kind: TaskKind, row: Fields, expected: str) -> None:
    convert: Callable[[Fields], Fields] = row_converter(Task(name="t", task=kind, data_file="rows.jsonl"))
    with pytest.raises(RowError, match=expected):
        convert(row)


def test_lines_are_counted_as_the_file_has_them() -> None:
    lines = [b'{"a": 1}\n', b"\n", b"  \n", b'{"a": 2}\n']
    assert rows_of("f", lines) == [(1, {"a": 1}), (4, {"a": 2})]


@pytest.mark.parametrize("line", [b'{"a": NaN}', b'{"a": -Infinity}', b"[" * 200_000, b"\xff\xfe{}", b'{"a": 1} x'])
def test_a_line_that_is_no_strict_json_is_told(line: bytes) -> None:
    with pytest.raises(StageError, match="`f`: line 2: is no JSON"):
        rows_of("f", [b'{"a": 1}', line])


def test_published_numbers_of_examples_are_the_harness_own() -> None:
    own = {kind: int(published(file).get("num_fewshot") or 0) for kind, file in PUBLISHED.items()}
    assert {kind: shots for kind, shots in own.items() if shots} == PUBLISHED_SHOTS


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizer: Tokenizer, model: Transformer) -> World:
    return make_world(tmp_path, monkeypatch, tokenizer, model)


OWN = {"prompt": "{{text}}\nQueue:", "choices": "{{ ['billing', 'network'] }}", "answer": "{{queue}}"}
SUMMARY = {"kind": "Generation", "prompt": "{{text}}", "answer": "{{queue}}", "metrics": ["rouge_l"]}
GOOD = {"text": "the sun", "queue": "billing"}


@pytest.mark.parametrize(
    ("task", "row", "expected"),
    [
        ({"template": OWN}, {"text": "half an emoji \ud83d", "queue": "billing"}, "line 2: `template.prompt` has half of a surrogate"),
        ({"template": OWN | {"answer": "{{gold}}"}}, GOOD | {"gold": "\u00b2"}, "line 1: `template.answer`"),
        ({"template": SUMMARY}, GOOD | {"queue": "\U0001f600 !"}, "line 2: `template.answer` has no word"),
        ({"template": OWN, "fewShot": 2}, GOOD, "`fewShot` is 2, but there are 0 other rows"),
        ({"judge": {"prompt": "{{text}}", "opponentField": "queue"}}, GOOD | {"queue": "\udc00"}, "line 2: `queue` has half"),
        ({"template": OWN | {"prompt": "{{ text.x.y }}"}}, GOOD, "line 1: `template.prompt` cannot be rendered"),
    ],
)  # fmt: skip
def test_preflight_does_to_each_row_what_the_evaluation_will(
    task: dict[str, Any], row: Fields, expected: str, world: World
) -> None:
    world.write("rows.jsonl", [GOOD, row])
    judge = {"judge": {"baseUrl": "http://judge/v1", "model": "m"}} if "judge" in task else {}
    with pytest.raises(StageError, match=r"`rows\.jsonl`|`own`") as error:
        check_tasks(world.context(tasks=[{"name": "own", "dataFile": "rows.jsonl", **task}], **judge))
    assert expected in error.value.message


SHEET = "id,prompt,left,right,better\n0,why,a,b,left\n"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (SHEET.encode("utf-8-sig"), ""),
        (SHEET.replace("\n", "\r\n").encode(), ""),
        (SHEET.encode() + b"1,how,a,b,Tie \n2,who,a,b,\n", ""),
        (b"id;prompt;left;right;better\n0;why;a;b;left\n", "needs the columns"),
        (SHEET.encode() + b"1,how,a,b,both\n", "id 1: `better` is 'both'"),
        (SHEET.encode() + b"1,how,a\n", "id 1: the row has not all columns"),
        (SHEET.encode() + b"1,how,\xff,b,\n", "is no UTF-8"),
        (SHEET.encode() + b"1,how," + b"a" * 200_000 + b",b,\n", "after line 2: field larger"),
        (b"", "needs the columns"),
    ],
)
def test_a_sheet_of_ratings_is_looked_at_before_anything_is_judged(data: bytes, problem: str, world: World) -> None:
    world.write("rows.jsonl", [{"prompt": "why", "reference": "b"}])
    (world.folder / "rated.csv").write_bytes(data)
    task = {"name": "own", "dataFile": "rows.jsonl", "judge": {"ratingsFile": "rated.csv"}}
    context = world.context(tasks=[task], judge={"baseUrl": "http://judge/v1", "model": "m"})
    if not problem:
        check_tasks(context)
        return
    with pytest.raises(StageError, match=r"`rated\.csv`") as error:
        check_tasks(context)
    assert problem in error.value.message


TEXTS = [{"body": text} for text in sentences(5, 30)]


@pytest.mark.parametrize("name", ["t.jsonl", "t.ndjson", "t.JSONL", "t.jsonl.gz", "t.parquet"])
def test_texts_to_measure_are_read_as_curation_reads_its_sources(name: str, world: World) -> None:
    file = world.folder / name
    data = b"".join(json.dumps(row).encode() + b"\n" for row in TEXTS)
    if name.endswith(".gz"):
        import gzip

        data = gzip.compress(data)
    if name.endswith(".parquet"):
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(TEXTS), file)
    else:
        file.write_bytes(data)
    result = world.run(tasks=[{"name": "t", "perplexity": {"files": [name], "textField": "body"}}])
    assert result.outcome == "Succeeded", result.message
    assert world.results(result.artifact)["tasks"]["t"]["count"] == len(TEXTS)


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("t.jsonl", b'{"text": "a"}\n\n{"text": 3}\n', "line 3: no text in field `text`"),
        ("t.jsonl", b'{"text": "a \\ud83d"}\n', "line 1: "),
        ("t.txt", b"\xff\xfe\xfd", "line 1: "),
        ("t.txt", b" \n", "it has no rows"),
        ("t.parquet", b"PAR1 not really", "damaged file"),
    ],
)
def test_a_text_that_cannot_be_measured_is_told_in_preflight(
    name: str, data: bytes, expected: str, world: World
) -> None:
    (world.folder / name).write_bytes(data)
    with pytest.raises(StageError) as error:
        check_tasks(world.context(tasks=[{"name": "t", "perplexity": {"files": [name]}}]))
    assert f"`{name}`" in error.value.message
    assert expected in error.value.message


def test_a_tokenizer_that_says_to_cut_texts_measures_them_whole(
    world: World, tmp_path: Path, model: Transformer, tokenizer: Tokenizer
) -> None:
    cutting = Tokenizer.from_str(tokenizer.to_str())
    cutting.enable_truncation(16)
    other = make_world(tmp_path / "other", world.monkeypatch, cutting, model)
    bits = []
    for each in (world, other):
        each.write("t.jsonl", [{"text": " ".join(sentences(9, seed))} for seed in range(3)])
        result = each.run(tasks=[{"name": "t", "perplexity": {"files": ["t.jsonl"]}}])
        bits.append(result.scores["t/bits_per_byte"])
    assert bits[0] == bits[1]


@pytest.mark.parametrize(
    "text",
    ["the cat sat", "Кошка сидела", "猫坐在垫子上", "แมวนั่งบนเสื่อ", "बिल्ली चटाई पर", "القطة جالسة", "고양이가 앉았다", "γάτα", "cafe\u0301 noir", "12 30"],
)  # fmt: skip
def test_rouge_of_a_text_with_itself_is_one_in_any_script(text: str) -> None:
    assert rouge_l([text], [text]) == pytest.approx(1.0)
    assert rouge1([text], ["zzz"]) == 0.0


def test_words_of_rouge() -> None:
    assert words("Ein Käse, 12_30; naïve") == ["ein", "käse", "12", "30", "naïve"]
    assert words("我在2026年") == ["我", "在", "2026", "年"]
    assert words("cafe\u0301") == words("caf\u00e9"), "composed or not"
    assert rouge1(["猫坐在垫子上"], ["狗坐在垫子上"]) == pytest.approx(5 / 6)


def test_english_words_are_those_of_rouge_score() -> None:
    from rouge_score.tokenizers import DefaultTokenizer

    text = "The companies' profits were falling; can't 3.5% of U.S. banks_x recover? Skies: generalizations, running."
    assert words(text) == DefaultTokenizer(use_stemmer=True).tokenize(text)
