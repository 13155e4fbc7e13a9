"""Reference models and judges behind an OpenAI-compatible endpoint."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llmtrain_jobs.errors import StageError
from llmtrain_jobs.evaluation import setup
from llmtrain_jobs.evaluation.endpoints.client import Client, first_choice
from llmtrain_jobs.evaluation.endpoints.model import EndpointModel, _sum
from llmtrain_jobs.evaluation.judge import OURS, THEIRS, TIE, UNREAD, agreed, verdict
from llmtrain_jobs.model.transformer import Transformer
from tokenizers import Tokenizer

from llmtrain.api.endpoint import Endpoint
from llmtrain.api.stageconfig import FailureClass, Result
from tests.unit.jobs.evaluation.models import sentences
from tests.unit.jobs.evaluation.server import FakeTime, Server, serving
from tests.unit.jobs.evaluation.world import World, make_world

NOWHERE = "http://127.0.0.1:9/v1"
ROWS: list[dict[str, Any]] = [
    {"query": f"Question: {q}", "choices": [f"a{'b' * n}", "cc", "ddd"], "gold": 1}
    for n, q in enumerate(sentences(6, 5))
]
ARC = {"name": "choices", "task": "arc_easy", "dataFile": "choices.jsonl"}
PROMPTS = [{"prompt": text, "reference": text.split()[-1]} for text in sentences(8, 40)]


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizer: Tokenizer, model: Transformer) -> World:
    made = make_world(tmp_path, monkeypatch, tokenizer, model)
    made.write("choices.jsonl", ROWS)
    made.write("prompts.jsonl", PROMPTS)
    monkeypatch.setattr(setup, "timing_of", lambda context: FakeTime().timing)
    return made


def endpoint(url: str, **fields: Any) -> dict[str, Any]:
    return {
        "baseUrl": url,
        "model": "large",
        "usdPerMillionPromptTokens": "2",
        "usdPerMillionCompletionTokens": "10",
    } | fields


def client(url: str, time: FakeTime | None = None, **fields: Any) -> Client:
    fake = time or FakeTime()
    return Client(Endpoint.model_validate(endpoint(url, **fields)), "", "spec.evaluation.reference", fake.timing)


def samples(world: World, result: Result, name: str) -> list[dict[str, Any]]:
    file = world.folder / f"artifacts/evaluation/{result.artifact}/samples/{name}.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_the_reference_is_asked_the_same_questions_and_scored_by_its_likelihoods(world: World, server: Server) -> None:
    """The server's likelihood falls with length, so it takes the shortest answer."""
    result = world.run(tasks=[ARC], reference=endpoint(server.url))
    found = world.results(result.artifact)
    lengths = [[len(choice) for choice in row["choices"]] for row in ROWS]
    shortest = [each.index(min(each)) for each in lengths]
    assert float(found["referenceScores"]["choices/acc"]) == pytest.approx(sum(s == 1 for s in shortest) / 6, abs=1e-4)
    assert found["endpoints"]["reference"]["requests"] == 18
    assert found["endpoints"]["reference"]["costUsd"] == f"{18 * (100 * 2 + 10 * 10) / 1e6:.6f}"


def test_likelihoods_of_an_endpoint_are_those_of_the_continuations_tokens(server: Server) -> None:
    lm = EndpointModel(client(server.url))
    (found,) = lm._echoed([("what rose", " the gold price")])
    assert found[0] == pytest.approx(-0.5 * len(" the gold price"))
    assert lm.texts(["gold fell"]) == [pytest.approx(-0.5 * len(" fell"))]


def test_a_token_that_reaches_over_the_border_belongs_to_the_continuation() -> None:
    assert _sum([0, 4, 9, 12], [None, -1.0, -2.0, -9.0], [], start=6, end=12) == (-3.0, True)


def test_held_out_text_is_measured_by_the_reference_as_well(world: World, server: Server) -> None:
    result = world.run(tasks=[{"name": "held-out", "perplexity": {}}], reference=endpoint(server.url))
    assert "held-out/bits_per_byte" in world.results(result.artifact)["referenceScores"]


def test_a_busy_server_is_asked_again_and_a_dead_one_a_bounded_number_of_times(server: Server) -> None:
    time = FakeTime()
    server.failures = [503, 429]
    client(server.url, time).post("completions", {"prompt": "a b"}, first_choice)
    assert time.pauses == [1.0, 2.0]
    with pytest.raises(StageError) as error:
        client(NOWHERE, time).post("completions", {"prompt": "a b"}, first_choice)
    assert (error.value.failure, error.value.reason) == (FailureClass.UNAVAILABLE, "EndpointUnreachable")
    assert "after 4 tries" in error.value.message


def test_a_wrong_key_is_denied_and_the_right_one_read_from_its_secret(world: World, server: Server) -> None:
    server.key = "right"
    secret = {"apiKeySecretRef": {"name": "openai"}}
    denied = world.run(tasks=[ARC], reference=endpoint(server.url))
    assert (denied.failure_class, denied.reason) == (FailureClass.DENIED, "EndpointDenied")
    world.monkeypatch.setenv("LLMTRAIN_ENDPOINT_KEYS", str(world.folder / "keys"))
    missing = world.run(tasks=[ARC], reference=endpoint(server.url, **secret))
    assert "Secret `openai` has no OPENAI_API_KEY" in missing.message
    (world.folder / "keys/reference").mkdir(parents=True)
    (world.folder / "keys/reference/OPENAI_API_KEY").write_text("right\n")
    assert world.run(tasks=[ARC], reference=endpoint(server.url, **secret)).outcome == "Succeeded"


def test_a_server_without_likelihoods_is_told_apart(world: World, server: Server) -> None:
    server.likelihoods = False
    result = world.run(tasks=[ARC], reference=endpoint(server.url))
    assert (result.failure_class, result.reason) == (FailureClass.BAD_INPUT, "EndpointHasNoLikelihoods")


def test_what_our_model_scored_is_not_lost_when_the_endpoint_is_unreachable(world: World, server: Server) -> None:
    failed = world.run(tasks=[ARC], reference=endpoint(NOWHERE))
    assert (failed.failure_class, failed.reason) == (FailureClass.UNAVAILABLE, "EndpointUnreachable")
    assert len(list((world.folder / "artifacts/evaluation-task").iterdir())) == 1
    skipped = world.run(tasks=[ARC], reference=endpoint(NOWHERE, onUnavailable="Skip"))
    assert skipped.outcome == "Succeeded"
    assert "does not answer" in world.results(skipped.artifact)["reference"]["choices"]["skipped"]


def test_a_score_is_held_against_the_reference(world: World, server: Server) -> None:
    gate = {"metric": "choices/acc", "noWorseThan": "Reference", "tolerance": "1"}
    assert world.run(tasks=[ARC], reference=endpoint(server.url), require=[gate]).outcome == "Succeeded"
    server.failures = []
    strict = world.run(tasks=[ARC], reference=endpoint(server.url), require=[gate | {"tolerance": "0"}])
    found = world.results(strict.artifact)
    missed = float(found["scores"]["choices/acc"]) < float(found["referenceScores"]["choices/acc"])
    assert (strict.reason == "EvaluationBelowThreshold") == missed


JUDGED = {"name": "answers", "judge": {"maxNewTokens": 8}, "dataFile": "prompts.jsonl"}


def test_both_orders_are_judged_at_temperature_zero_and_every_word_is_kept(world: World, server: Server) -> None:
    result = world.run(tasks=[JUDGED], judge=endpoint(server.url))
    assert result.outcome == "Succeeded", result.message
    kept = samples(world, result, "answers")
    for sample in kept:
        ours, theirs = len(sample["pair"]["ours"]), len(sample["pair"]["theirs"])
        assert sample["outcome"] == (TIE if ours == theirs else OURS if ours > theirs else THEIRS)
        assert all("Verdict" in raw for raw in sample["raw"])
    chats = [body for path, body, _ in server.asked if path.endswith("chat/completions")]
    assert len(chats) == 2 * len(PROMPTS)
    assert {body["temperature"] for body in chats} == {0}
    wins = sum({OURS: 1.0, TIE: 0.5}.get(sample["outcome"], 0) for sample in kept) / len(kept)
    assert float(result.scores["answers/win_rate"]) == pytest.approx(wins, abs=1e-4)
    assert world.results(result.artifact)["endpoints"]["judge"]["costUsd"] == f"{16 * 300 / 1e6:.6f}"


def test_a_judge_that_always_takes_the_first_answer_sways_nothing(world: World, server: Server) -> None:
    server.prefers = lambda a, b: "A"
    assert world.run(tasks=[JUDGED], judge=endpoint(server.url)).scores["answers/win_rate"] == "0.5000"


def test_answers_are_compared_with_the_reference_models(world: World, server: Server) -> None:
    task = JUDGED | {"judge": {"maxNewTokens": 8, "opponent": "Reference"}}
    result = world.run(tasks=[task], judge=endpoint(server.url), reference=endpoint(server.url))
    word = PROMPTS[0]["prompt"].split()[-1]
    assert samples(world, result, "answers")[0]["pair"]["theirs"] == f" {word} {word}"


def test_an_answer_is_graded_by_a_rubric(world: World, server: Server) -> None:
    result = world.run(tasks=[JUDGED | {"judge": {"mode": "Rubric", "maxNewTokens": 8}}], judge=endpoint(server.url))
    grades = [sample["score"] for sample in samples(world, result, "answers")]
    assert float(result.scores["answers/grade"]) == pytest.approx(sum(grades) / len(grades), abs=1e-4)


def test_an_unreachable_judge_fails_or_is_skipped_as_the_manifest_says(world: World) -> None:
    held_out = {"name": "held-out", "perplexity": {}}
    failed = world.run(tasks=[held_out, JUDGED], judge=endpoint(NOWHERE))
    assert (failed.failure_class, failed.reason) == (FailureClass.UNAVAILABLE, "EndpointUnreachable")
    skipped = world.run(tasks=[held_out, JUDGED], judge=endpoint(NOWHERE, onUnavailable="Skip"))
    assert "held-out/bits_per_byte" in skipped.scores
    assert "answers/win_rate" not in skipped.scores


def test_people_rate_the_same_answers_without_knowing_whose_they_are(world: World, server: Server) -> None:
    result = world.run(tasks=[JUDGED], judge=endpoint(server.url))
    sheet = (world.folder / f"artifacts/evaluation/{result.artifact}/human/answers.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(sheet)))
    pairs = [sample["pair"] for sample in samples(world, result, "answers")]
    assert {row["left"] == pair["ours"] for row, pair in zip(rows, pairs, strict=True)} == {True, False}
    for row, pair in list(zip(rows, pairs, strict=True))[:6]:
        row["better"] = "left" if row["left"] == pair["ours"] else "right"
    write_sheet(world.folder / "rated.csv", rows)
    rated = JUDGED | {"judge": {"maxNewTokens": 8, "ratingsFile": "rated.csv"}}
    asked = len(server.asked)
    again = world.run(tasks=[rated], judge=endpoint(server.url))
    assert again.scores["answers/human_win_rate"] == "1.0000"
    assert len(server.asked) == asked, "nothing is judged twice"
    rows[0]["left"] = "another answer"
    write_sheet(world.folder / "rated.csv", rows)
    assert (
        "the answers are not those of this evaluation" in world.run(tasks=[rated], judge=endpoint(server.url)).message
    )


def write_sheet(file: Path, rows: list[dict[str, str]]) -> None:
    out = io.StringIO()
    writer = csv.DictWriter(out, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    file.write_text(out.getvalue())


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [(OURS, OURS, OURS), (THEIRS, THEIRS, THEIRS), (OURS, THEIRS, TIE), (OURS, TIE, OURS), (TIE, THEIRS, THEIRS),
     (TIE, TIE, TIE), (OURS, UNREAD, UNREAD)],
)  # fmt: skip
def test_two_orders_make_one_outcome(first: str, second: str, outcome: str) -> None:
    assert agreed(first, second) == outcome


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Verdict: A", "A"),
        ("verdict: tie.", TIE),
        ("Verdict: A at first.\n**Verdict:** B", "B"),
        ("I cannot say", UNREAD),
    ],
)
def test_the_last_verdict_counts(reply: str, expected: str) -> None:
    assert verdict(reply) == expected
