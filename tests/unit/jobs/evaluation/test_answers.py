"""What endpoints answer: asked again where it breaks off, no faster than they allow, paid for once."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from email.utils import format_datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from llmtrain_jobs.entrypoint.driver import run_stage
from llmtrain_jobs.entrypoint.scratch import Scratch
from llmtrain_jobs.errors import StageError, interrupted
from llmtrain_jobs.evaluation import setup, stage
from llmtrain_jobs.evaluation.backend import LocalBackend
from llmtrain_jobs.evaluation.endpoints.answers import Answers, names_of
from llmtrain_jobs.evaluation.endpoints.client import TRIES, Client, first_choice
from llmtrain_jobs.evaluation.endpoints.model import EndpointModel, written_text
from llmtrain_jobs.evaluation.endpoints.pace import Pace, Time, seconds_of
from llmtrain_jobs.model.transformer import Transformer
from tokenizers import Tokenizer

from llmtrain.api.stageconfig import FailureClass
from llmtrain.storage.store import Store
from tests.unit.jobs.evaluation.server import CUT, FakeTime, Server, serving
from tests.unit.jobs.evaluation.test_endpoints import ARC, JUDGED, client, endpoint
from tests.unit.jobs.evaluation.test_endpoints import world as world
from tests.unit.jobs.evaluation.world import NoRay, World, make_world

PROMPT = {"prompt": "a b"}


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizer: Tokenizer, model: Transformer) -> Store:
    return make_world(tmp_path / "store", monkeypatch, tokenizer, model).store


CHUNKED = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n{"choices": [{'


@pytest.mark.parametrize(
    "broken",
    [CUT, CUT.split(b"\r\n\r\n")[0], CHUNKED, b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"no HTTP at all\r\n\r\n",
     b'HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n{"error": "out of memory"}'],
)  # fmt: skip
def test_an_answer_that_is_not_whole_is_asked_for_again_a_bounded_number_of_times(
    broken: bytes, server: Server
) -> None:
    server.failures = [broken] * (TRIES - 1)
    fake = FakeTime()
    assert client(server.url, fake).post_all("completions", [PROMPT], written_text) == [" b b"]
    assert (len(server.asked), fake.pauses) == (TRIES, [1.0, 2.0, 4.0])
    server.failures = [broken] * TRIES
    with pytest.raises(StageError) as error:
        client(server.url).post_all("completions", [PROMPT], written_text)
    assert (error.value.failure, error.value.reason) == (FailureClass.UNAVAILABLE, "EndpointUnreachable")


@pytest.mark.parametrize(
    ("header", "pause"),
    [("7", 7.0), ("0.5", 0.5), (format_datetime(FakeTime.START.replace(minute=2), usegmt=True), 120.0),
     ("0", 1.0), ("soon", 1.0), ("\u00b2", 1.0), ("-3", 1.0)],
)  # fmt: skip
@pytest.mark.parametrize("status", [429, 503])
def test_the_time_that_a_server_names_is_kept(status: int, header: str, pause: float, server: Server) -> None:
    server.failures = [(status, header)]
    fake = FakeTime()
    client(server.url, fake).post("completions", PROMPT, first_choice)
    assert fake.pauses == [pause]


def test_a_server_that_is_busy_for_minutes_is_waited_for_and_one_that_is_for_hours_is_not(server: Server) -> None:
    server.failures = [(429, "60")] * 12
    fake = FakeTime()
    client(server.url, fake).post("completions", PROMPT, first_choice)
    assert sum(fake.pauses) == 720.0
    server.failures = [(429, "7200")]
    late = FakeTime()
    with pytest.raises(StageError, match="is busy for 0 s and asks for 7200 s more") as error:
        client(server.url, late).post("completions", PROMPT, first_choice)
    assert (error.value.failure, late.pauses) == (FailureClass.UNAVAILABLE, [])
    server.failures = [429] * 1000
    with pytest.raises(StageError, match="is busy"):
        client(server.url, late).post("completions", PROMPT, first_choice)
    assert sum(late.pauses) <= 900


def test_nobody_asks_before_the_time_that_was_named_to_one(server: Server) -> None:
    fake = FakeTime()
    one = client(server.url, fake)
    with one.pace.turn() as turn:
        one.pace.trouble(turn, 30.0)
    assert one.post_all("completions", [PROMPT] * 3, written_text) == [" b b"] * 3
    assert fake.seconds >= 30.0


def test_requests_in_flight_are_halved_once_for_a_burst_and_grow_by_one_a_round() -> None:
    pace = Pace(16, FakeTime().timing)
    with pace.turn() as one, pace.turn() as two, pace.turn() as three:
        for turn in (one, two, three):
            pace.trouble(turn, 0.0)
    assert pace.width == 8
    with pace.turn() as turn:
        pace.trouble(turn, 0.0)
    assert pace.width == 4
    widths = []
    for _ in range(4):
        for _ in range(pace.width + 1):
            pace.went_well()
        widths.append(pace.width)
    assert widths == [5, 6, 7, 8]
    for _ in range(500):
        pace.went_well()
    assert pace.width == 16
    for _ in range(9):
        with pace.turn() as turn:
            pace.trouble(turn, 0.0)
    assert pace.width == 1


def test_a_server_that_takes_two_at_once_answers_all_in_the_end(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixteen would be in flight, and each past the second is refused."""
    inside, most, refused = [0], 2, [0]
    answer = server.answer

    def crowded(path: str, body: dict[str, Any]) -> dict[str, Any]:
        time.sleep(0.003)
        with server.lock:
            inside[0] -= 1
        return answer(path, body)

    def status_of(body: dict[str, Any]) -> int:
        is_full = inside[0] >= most
        (refused if is_full else inside)[0] += 1
        return 429 if is_full else 200

    monkeypatch.setattr(server, "answer", crowded)
    monkeypatch.setattr(server, "status_of", status_of)
    one = client(server.url, concurrency=16)
    assert one.post_all("completions", [PROMPT] * 60, written_text) == [" b b"] * 60
    assert refused[0] > 0


def test_waiting_ends_where_somebody_asks_the_stage_to_stop(server: Server) -> None:
    server.failures = [(429, "600")]
    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise interrupted("stopped on request")

    one = client(server.url)
    timed = Client(one.endpoint, "", "spec.evaluation.judge", Time(wait=lambda _: stop.set(), check=check))
    with pytest.raises(StageError) as error:
        timed.post_all("completions", [PROMPT] * 5, written_text)
    assert error.value.failure is FailureClass.INTERRUPTED


@pytest.mark.parametrize(("text", "seconds"), [("", None), ("12", 12.0), ("1.5", 1.5), ("1.2.3", None), ("Mon", None)])
def test_what_retry_after_says(text: str, seconds: float | None) -> None:
    assert seconds_of(text, FakeTime.START) == seconds


COUNT = 300


def test_a_failure_at_the_last_question_pays_one_again(server: Server, store: Store) -> None:
    prompts = [{"prompt": f"number {n}", "max_tokens": 4} for n in range(COUNT)]
    server.status_of = lambda body: 500 if body["prompt"] == f"number {COUNT - 1}" else 200
    first = client(server.url, concurrency=8)
    first.answers = Answers(store, "k")
    with pytest.raises(StageError, match="does not answer after 4 tries"):
        first.post_all("completions", prompts, written_text)
    assert len(server.asked) == COUNT - 1 + TRIES
    server.asked, server.status_of = [], lambda body: 200
    again = client(server.url, concurrency=8)
    again.answers = Answers(store, "k")
    assert again.post_all("completions", prompts, written_text) == [f" {n} {n}" for n in range(COUNT)]
    assert [body["prompt"] for _, body, _ in server.asked] == [f"number {COUNT - 1}"]
    assert (again.usage.requests, again.usage.reused, again.usage.prompt_tokens) == (1, COUNT - 1, 100)


def test_an_answer_that_was_cut_as_it_was_stored_is_asked_for_again(server: Server, store: Store) -> None:
    one = client(server.url)
    one.answers = Answers(store, "k")
    (name,) = names_of((one.endpoint.base_url, one.endpoint.model), "completions", [PROMPT])
    one.answers.keep(name, b'{"choi')
    assert one.post_all("completions", [PROMPT], written_text) == [" b b"]
    assert store.read(f"artifacts/evaluation-answers/k/{name}.json").startswith(b'{"choices"')


def test_each_repetition_of_a_question_is_one_of_its_own() -> None:
    names = names_of(("http://a/v1", "m"), "completions", [PROMPT, PROMPT, {"prompt": "c"}])
    assert len(set(names)) == 3
    assert names[:2] == names_of(("http://a/v1", "m"), "completions", [PROMPT, PROMPT])
    assert set(names).isdisjoint(names_of(("http://a/v1", "other"), "completions", [PROMPT, PROMPT]))


def test_a_judged_task_goes_on_where_it_broke_off_and_leaves_no_answers_behind(world: World, server: Server) -> None:
    expected = world.run(tasks=[JUDGED | {"name": "other"}], judge=endpoint(server.url))
    asked = len(server.asked)
    left = iter(range(asked - 1))
    server.status_of = lambda body: 500 if next(left, None) is None else 200
    broken = world.run(tasks=[JUDGED], judge=endpoint(server.url, concurrency=1))
    assert (broken.failure_class, broken.reason) == (FailureClass.UNAVAILABLE, "EndpointUnreachable")
    server.asked, server.status_of = [], lambda body: 200
    done = world.run(tasks=[JUDGED], judge=endpoint(server.url, concurrency=1))
    assert len(server.asked) == 1
    assert done.scores["answers/win_rate"] == expected.scores["other/win_rate"]
    assert world.results(done.artifact)["endpoints"]["judge"]["reused"] == asked - 1
    assert not list((world.folder / "artifacts/evaluation-answers").glob("*/*"))


def test_an_answer_with_half_a_surrogate_pair_is_written_as_a_file_can_hold_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "answer", lambda path, body: {"choices": [{"text": "x\ud83d"}]})
    lm = EndpointModel(client(server.url))
    assert lm.client.post_all("completions", [PROMPT], written_text) == ["x\ufffd"]


def test_the_workers_are_gone_before_anybody_else_is_asked(world: World, server: Server) -> None:
    """Judges and references may take hours; the workers have accelerators."""
    seen: list[str] = []
    model = LocalBackend(world.loaded)

    class Watched:
        def score(self, batches: Sequence[Any]) -> Iterator[Any]:
            seen.append("model")
            return model.score(batches)

        def generate(self, batches: Sequence[Any]) -> Iterator[Any]:
            seen.append("model")
            return model.generate(batches)

    def gone(*_: Any) -> None:
        seen.append("gone")

    def status_of(_: Any) -> int:
        seen.append("endpoint")
        return 200

    server.status_of = status_of
    world.monkeypatch.setattr(stage, "let_workers_go", gone)
    reference = JUDGED | {"name": "both", "judge": {"maxNewTokens": 8, "opponent": "Reference"}}
    evaluation = {"tasks": [JUDGED, ARC, reference], "judge": endpoint(server.url), "reference": endpoint(server.url)}
    config = world.config(evaluation)
    world.monkeypatch.setenv("LLMTRAIN_STORAGE", str(world.folder))
    world.monkeypatch.setattr(stage, "connect", lambda context: NoRay())
    world.monkeypatch.setattr(setup, "ray_backend", lambda context, ray: Watched())
    result = run_stage(config, Scratch(world.folder / "scratch"), threading.Event())
    assert result.outcome == "Succeeded", result.message
    parts = [kind for kind, _ in groupby(seen)]
    assert parts == ["model", "gone", "endpoint"]
    assert list(world.results(result.artifact)["tasks"]) == sorted(["answers", "choices", "both"])


def test_what_our_model_wrote_is_not_written_again_for_a_judge_that_failed(world: World, server: Server) -> None:
    server.status_of = lambda _: 500
    assert world.run(tasks=[JUDGED], judge=endpoint(server.url)).reason == "EndpointUnreachable"
    server.status_of = lambda _: 200

    def fail(*_: Any) -> None:
        raise AssertionError("computed")

    world.monkeypatch.setattr("llmtrain_jobs.evaluation.backend.generate", fail)
    assert world.run(tasks=[JUDGED], judge=endpoint(server.url)).outcome == "Succeeded"


def test_a_long_task_tells_how_far_it_is(world: World, server: Server) -> None:
    """A stage that says nothing new for `stallDeadlineSeconds` is taken for one that hangs."""
    context = world.context(tasks=[JUDGED])
    context.tell(1, 3, "tasks", "answers")
    fake, told = FakeTime(), list[str]()
    one = client(server.url, fake, concurrency=1)

    def tell(how_far: str) -> None:
        told.append(how_far)
        context.tell_part(how_far)

    one.tell = tell
    server.failures = [(429, "5")]
    one.post_all("completions", [PROMPT] * 3, written_text)
    assert told[0].endswith("of 3")
    said = json.loads(context.scratch.progress())
    assert (said["done"], said["total"], said["detail"]) == (1, 3, f"answers, {told[-1]}")
