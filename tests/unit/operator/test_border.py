"""What others write is bounded where it comes in: tables of what is used, what is left out, and what is said of it."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from llmtrain_operator import progress
from llmtrain_operator.border import (
    Kind,
    LastWords,
    Rejections,
    Told,
    put_back,
    read,
    read_text,
)
from llmtrain_operator.memory import Head, Memory
from llmtrain_operator.metrics import RejectedCollector
from llmtrain_operator.names import HEAD, WORKER, Attempt, PodName, read_pod_name

from llmtrain.api.status import Progress, Stage
from llmtrain.text import plain

LONG = "x" * 3000
WORDS: list[tuple[str, dict[str, Any], str]] = [
    ("{}", {}, "outcome"),
    ('{"outcome": "Succeeded", "workingSeconds": Infinity}', {"working_seconds": 0.0}, "workingSeconds"),
    ('{"outcome": "Succeeded", "workingSeconds": NaN}', {"working_seconds": 0.0}, "workingSeconds"),
    ('{"outcome": "Succeeded", "workingSeconds": 1e300}', {"working_seconds": 0.0}, "workingSeconds"),
    ('{"outcome": "Succeeded", "redoneSeconds": -5}', {"redone_seconds": 0.0}, "redoneSeconds"),
    ('{"outcome": "Succeeded", "checkpointSeconds": 12.5}', {"checkpoint_seconds": 12.5}, ""),
    ('{"outcome": "Succeeded", "artifact": "../../other"}', {"artifact": ""}, "artifact"),
    (f'{{"outcome": "Succeeded", "artifact": "{LONG}"}}', {"artifact": ""}, "artifact"),
    ('{"outcome": "Succeeded", "artifact": "0a1b"}', {"artifact": "0a1b"}, ""),
    ('{"outcome": "Failed", "checkpoint": "steps/00000100"}', {"checkpoint": "steps/00000100"}, ""),
    ('{"outcome": "Failed", "checkpoint": "/etc/passwd"}', {"checkpoint": ""}, "checkpoint"),
    (f'{{"outcome": "Failed", "reason": "{LONG}"}}', {"reason": "x" * 252 + "…"}, ""),
    ('{"outcome": "Failed", "failureClass": "Cosmic"}', {"failure_class": None}, "failureClass"),
    ('{"outcome": "Succeeded", "existing": {"Baking": "k", "Training": "t1"}}', {"existing": {Stage.TRAINING: "t1"}}, "Baking"),
    ('{"outcome": "Failed", "message": "a\\u001b[2Jb\\nc\\u202ed"}', {"message": "ab cd"}, ""),
    ('{"outcome": "Succeeded", "scores": {"acc": "0.5", "deep": {"a": {}}}}', {"scores": {"acc": "0.5"}}, "scores.deep"),
    ('{"outcome": "Succeeded", "later": {"a": 1}}', {"outcome": "Succeeded"}, ""),
]  # fmt: skip


@pytest.mark.parametrize(("text", "fields", "flaw"), WORDS)
def test_last_words_are_used_as_far_as_they_fit(text: str, fields: dict[str, Any], flaw: str) -> None:
    found = read_text(LastWords, text)
    assert flaw in found.flaws
    assert bool(flaw) == bool(found.flaws)
    if fields:
        assert found.value is not None
        assert {name: getattr(found.value, name) for name in fields} == fields


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"outcome": ' + "9" * 5000 + "}", "7", "[]", '"', "{", "\ud800", "null"]
)
def test_what_is_no_result_at_all_is_none_and_says_why(text: str) -> None:
    found = read_text(LastWords, text)
    assert found.value is None
    assert 0 < len(found.flaws) <= 1024


def test_scores_beyond_the_bound_are_left_out_and_the_outcome_stays() -> None:
    found = read(LastWords, {"outcome": "Succeeded", "scores": {f"s{n}": "1" for n in range(257)}})
    assert found.value is not None
    assert (found.value.outcome, found.value.scores) == ("Succeeded", {})
    assert "scores" in found.flaws


ANSWERS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"done": 7, "total": 9, "unit": "tokens"}, {"done": 7, "total": 9, "unit": "tokens"}, ""),
    ({"done": 10**400}, {"done": 0}, "done"),
    ({"done": -1}, {"done": 0}, "done"),
    ({"total": float("nan")}, {"total": 0}, "total"),
    ({"workingSeconds": 3.9, "saveSeconds": float("inf")}, {"working_seconds": 3, "save_seconds": 0}, "saveSeconds"),
    ({"tokensPerSecond": "1e-300"}, {"tokens_per_second": ""}, "tokensPerSecond"),
    ({"tokensPerSecond": "nan"}, {"tokens_per_second": ""}, "tokensPerSecond"),
    ({"tokensPerSecond": "0"}, {"tokens_per_second": ""}, "tokensPerSecond"),
    ({"tokensPerSecond": "2000"}, {"tokens_per_second": "2000"}, ""),
    ({"loss": "nan"}, {"loss": "nan"}, ""),
    ({"group": "0-3,5"}, {"group": "0-3,5"}, ""),
    ({"group": "0-999999999"}, {"group": ""}, "group"),
    ({"group": "4096"}, {"group": ""}, "group"),
    ({"group": "²"}, {"group": ""}, "group"),
    ({"detail": "\x1b]0;owned\x07step 5"}, {"detail": "step 5"}, ""),
    ({"scores": {f"s{n}": "1" for n in range(33)}, "done": 1}, {"scores": {}, "done": 1}, "scores"),
]


@pytest.mark.parametrize(("answer", "fields", "flaw"), ANSWERS)
def test_an_answer_of_progress_is_used_as_far_as_it_fits(
    answer: dict[str, Any], fields: dict[str, Any], flaw: str
) -> None:
    found = read(Told, answer)
    assert found.value is not None
    assert {name: getattr(found.value, name) for name in fields} == fields
    assert flaw in found.flaws
    assert bool(flaw) == bool(found.flaws)
    assert Progress(**found.value.model_dump()).to_dict()


def test_what_is_left_out_can_be_put_back_where_it_was() -> None:
    raw = {"outcome": "Succeeded", "workingSeconds": "many", "scores": {"a": "1", "b": [2]}}
    found = read(LastWords, raw)
    assert found.value is not None
    again = {"outcome": "Succeeded", "scores": {"a": "1"}}
    put_back(again, found.removed)
    assert again == raw
    assert raw["workingSeconds"] == "many", "what was read is left alone"


def test_a_rejection_is_counted_and_told_once_until_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    rejections = Rejections()
    news = [rejections.note(Kind.LABELS, "pod a/x", why) for why in ("no", "no", "another", "another", "no")]
    assert news == [True, False, True, False, True]
    assert rejections.note(Kind.LABELS, "pod a/y", "no")
    assert rejections.note(Kind.PROGRESS, "pod a/x", "\x1b[2Jno\nforged line")
    assert len(caplog.records) == 5
    assert "\n" not in caplog.records[-1].getMessage()
    assert "\x1b" not in caplog.records[-1].getMessage()
    counts = {s.labels["kind"]: s.value for f in RejectedCollector(rejections).collect() for s in f.samples}
    assert (counts["labels"], counts["progress"], counts["ledger"]) == (4, 1, 0)
    assert set(counts) == {kind.value for kind in Kind}


def test_a_pods_name_says_who_it_is_and_nothing_else_does() -> None:
    attempt = Attempt("my-job-1", "team-a", "u", Stage.TRAINING, 12)
    assert read_pod_name(attempt.head) == PodName("my-job-1", Stage.TRAINING, 12, HEAD)
    worker = read_pod_name(attempt.worker(7, 3))
    assert worker == PodName("my-job-1", Stage.TRAINING, 12, WORKER, 7, 3)
    assert worker is not None
    assert worker.labels("u").items() <= attempt.labels(WORKER, 7, 3).items()
    assert len(worker.labels("u")) == 7
    assert read_pod_name(attempt.evaluator(1, 2)) == PodName("my-job-1", Stage.TRAINING, 12, "evaluator", 1, 2)
    for name in (
        "intruder",
        "gpt-trn-1",
        "gpt-trn-x-head",
        "gpt-trn-1-w0",
        "gpt-xxx-1-head",
        f"gpt-trn-{'9' * 10}-head",
    ):
        assert read_pod_name(name) is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("\x1b]0;owned\x07\x1b[2J\x1b[31mall fine", "all fine"),
        ("\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\", "click"),
        ("\x9b31mred", "red"),
        ("\x1b]0;never ended", ""),
        ("a\r\n\tb\x00c\x7f", "a   b c "),
        ("\u202eabc\u2066d\u200e", "abcd"),
        ("a\u2028b", "a b"),
        ("\ud800", "\ufffd"),
        ("👩\u200d🚀 می\u200cخواهم", "👩\u200d🚀 می\u200cخواهم"),
    ],
)
def test_text_of_others_is_one_harmless_line(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_text_is_cut_and_says_so() -> None:
    assert plain("x" * 11, 10) == "x" * 9 + "…"
    assert len(plain("\x1b" * 10**7, 10)) <= 10
    assert plain("abc", 0) == ""


@contextmanager
def served(answer: tuple[int, dict[str, str], bytes], seen: list[str]) -> Iterator[int]:
    """A server that gives one answer to everything. Its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            status, headers, body = answer
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Not here."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


async def ask(monkeypatch: pytest.MonkeyPatch, port: int) -> tuple[Memory, Rejections]:
    monkeypatch.setattr(progress, "HTTP_PORT", port)
    rejections, memory = Rejections(), Memory()
    reader = progress.ProgressReader(rejections)
    reader.ask(Head("u", "127.0.0.1"), memory)
    await asyncio.gather(*reader._asking.values())
    await reader.close()
    return memory, rejections


async def test_a_redirect_of_a_pod_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    inner, asked = list[str](), list[str]()
    with served((200, {}, b'{"detail": "secret"}'), inner) as port:
        there = {"Location": f"http://127.0.0.1:{port}/internal/admin?do=it"}
        with served((302, there, b""), asked) as pod:
            memory, _ = await ask(monkeypatch, pod)
    assert (asked, inner) == (["/progress"], [])
    assert memory.progress is None


@pytest.mark.parametrize(
    ("body", "counted"),
    [
        (b'{"done": 5, "total": 7}', 0),
        (b"[" * 60_000, 1),
        (b'{"detail": "' + b"x" * 70_000 + b'"}', 1),
        (b"\xff\xfe", 1),
    ],
)
async def test_a_strange_answer_costs_one_count_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, body: bytes, counted: int
) -> None:
    with served((200, {"Set-Cookie": "a=b"}, body), []) as port:
        memory, rejections = await ask(monkeypatch, port)
    assert rejections.counts["progress"] == counted
    assert memory.progress == (None if counted else Progress(done=5, total=7))


def test_the_cases_are_json_that_a_pod_could_send() -> None:
    assert all(json.loads(text) is not None for text, _, _ in WORDS)
