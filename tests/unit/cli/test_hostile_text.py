"""Words of a pod reach a terminal and a page as words: no escape sequence passes, and no markup crashes a table."""

import io
from datetime import UTC, datetime
from typing import Any

import pytest
import typer
from rich.console import Console

from llmtrain.api.status import JobStatus
from llmtrain.cli.kubectl import KubectlError, or_exit
from llmtrain.cli.live import draw, view_of
from llmtrain.cli.tables import job_table, line, report
from llmtrain.report.facts import facts_of
from llmtrain.report.page import render
from llmtrain.text import escaped, lines
from tests.unit.report.job import finished, running

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202efine[/x] [link=http://evil]:bomb: <script>"
FORBIDDEN = ("\x1b]0", "\x1b[2J", "\x9b", "\u202e", "\x07")


def hostile(job: dict[str, Any]) -> dict[str, Any]:
    """The job with such words wherever a pod's words may end."""
    status = job["status"]
    stage = status["stages"][-1]
    stage["progress"] = {"done": 1, "total": 2, "unit": EVIL, "detail": EVIL, "loss": EVIL, "scores": {EVIL: EVIL}}
    stage |= {"scores": {EVIL: EVIL}, "message": EVIL, "artifact": EVIL, "checkpoint": EVIL, "state": "Running"}
    status["waiting"] = {"reason": EVIL, "message": EVIL, "since": "2026-03-01T12:00:00Z"}
    status["ledger"]["costUsd"] = EVIL
    condition = {"status": "False", "reason": "A", "lastTransitionTime": "2026-03-01T12:00:00Z", "message": EVIL}
    status["conditions"] = [{"type": kind} | condition for kind in ("Accepted", "Succeeded")]
    return job


def drawn(what: Any) -> str:
    """As a terminal with colours gets it."""
    console = Console(width=240, file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(what)
    out: Any = console.file
    return str(out.getvalue())


def shown(job: dict[str, Any]) -> dict[str, str]:
    status = JobStatus.model_validate(job["status"])
    return {
        "watch": drawn(draw(view_of(job, NOW, None), NOW)),
        "list": drawn(job_table([job], NOW)),
        "line": line(status),
        "status": report(status),
    }


@pytest.mark.parametrize("job", [running(), finished()], ids=["running", "finished"])
@pytest.mark.parametrize("command", ["watch", "list", "line", "status"])
def test_no_command_of_a_pod_reaches_the_terminal_and_its_words_do(job: dict[str, Any], command: str) -> None:
    text = shown(hostile(job))[command]
    assert [mark for mark in FORBIDDEN if mark in text] == []
    assert "fine[/x]" in text.replace("\n", "")
    assert "\n" not in text or command != "line"


def test_what_kubectl_says_is_told_without_its_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(or_exit(KubectlError(f"one\n{EVIL}")), typer.Exit)
    told = capsys.readouterr().err
    assert [mark for mark in ("\x1b]0", "\x1b[2J", "\u202e") if mark in told] == []
    assert told.startswith("error: one\nfine[/x]")


def test_the_page_holds_no_mark_of_a_pods() -> None:
    page = render(facts_of(hostile(finished()), None), "now")
    assert [mark for mark in FORBIDDEN if mark in page] == []
    assert "fine[/x]" in page
    assert "<script>" not in page.split("fine[/x]")[1][:60]


def test_text_of_several_lines_keeps_them() -> None:
    assert lines("a\x1b[2J\nb\u202e\n") == "a\nb\n"
    assert escaped("<b>\x00\n") == "&lt;b&gt; \n"
