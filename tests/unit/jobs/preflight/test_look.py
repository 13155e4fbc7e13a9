"""Preflight looks at the sources before curation is paid for: much lost is a warning, all lost a refusal."""

import pytest
from llmtrain_jobs.curation.pool import InProcess
from llmtrain_jobs.curation.stage import run_with
from llmtrain_jobs.errors import StageError
from llmtrain_jobs.preflight import look
from llmtrain_jobs.preflight.look import losses, warnings
from llmtrain_jobs.preflight.stage import run

from llmtrain.inspection.looking import Looked
from llmtrain.inspection.report import Request
from tests.unit.inspection.reports import report
from tests.unit.jobs.curation.world import World, jsonl, prose

pytestmark = pytest.mark.timeout(300)
GOOD = [{"text": prose(i)} for i in range(12)]
BAD = [{"text": f"too short {i}"} for i in range(20)]


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path_factory.mktemp("world"), monkeypatch)


def test_a_source_that_would_lose_much_is_told_and_one_of_which_nothing_stays_refused(world: World) -> None:
    jsonl(world.root / "in" / "a.jsonl", GOOD + BAD)
    result = run(world.context({}))
    assert result.outcome == "Succeeded"
    assert "bytes of sources are readable" in result.message
    assert "source `docs` would lose 62.5% of all 32 records" in result.message
    assert "`gopher.minWords` 20" in result.message
    jsonl(world.root / "in" / "a.jsonl", BAD)
    with pytest.raises(
        StageError, match=r"nothing would be kept: .*every one of all 20 records; most .*`gopher.minWords` 20"
    ) as caught:
        run(world.context({}))
    assert (caught.value.failure, caught.value.reason) == ("BadInput", "NothingKept")


def test_of_a_curation_that_exists_nothing_is_looked_at(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    jsonl(world.root / "in" / "a.jsonl", [{"text": prose(i)} for i in range(40)])
    run_with(world.context({}), InProcess)

    def fail(*_: object) -> None:
        raise AssertionError("looked")

    monkeypatch.setattr(look, "look", fail)
    assert "existing results: Curation" in run(world.context({})).message


def test_a_look_that_fails_is_a_warning(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    jsonl(world.root / "in" / "a.jsonl", GOOD)
    monkeypatch.setattr(look, "MEMORY_BYTES", 1)
    [told] = losses(world.context({}))
    assert told.startswith("not looked at: docs (the look ended with exit code")


def test_it_ends_when_the_stage_is_asked_to_stop(world: World) -> None:
    jsonl(world.root / "in" / "a.jsonl", GOOD)
    context = world.context({})
    context.stop.set()
    with pytest.raises(StageError, match="stopped on request"):
        losses(context)


def test_many_findings_are_cut_to_what_a_message_holds() -> None:
    lossy = [report(name=f"s{n}", read=100, kept=10) for n in range(6)]
    told = warnings(Looked(lossy, trouble="no answer within 180 s"), [f"s{n}" for n in range(7)])
    assert [words.split(" would")[0] for words in told[:3]] == ["source `s0`", "source `s1`", "source `s2`"]
    assert told[3:] == [
        "3 findings more, which `llmtrain inspect -f` shows",
        "not looked at: s6 (no answer within 180 s)",
    ]


def test_its_request_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Request] = []

    def answer(request: Request, *_: object) -> Looked:
        asked.append(request)
        return Looked([report()])

    monkeypatch.setattr(look, "look", answer)
    losses(world.context({}))
    [found] = asked
    assert (found.records, found.seconds, found.model_bytes > 0, found.memory_bytes > 0) == (1000, 60.0, True, True)
