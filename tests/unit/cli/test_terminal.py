"""`llmtrain watch` on a real terminal, wide or narrow: what a person sees, frame by frame."""

import json
import os
import pty
import re
import struct
import subprocess
import sys
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

import pytest

from tests.unit.report.job import finished, running

ROWS = 40
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A kubectl whose job runs at the first look and has ended at the next."""
    (tmp_path / "1").write_text(json.dumps(running()))
    (tmp_path / "2").write_text(json.dumps(finished()))
    script = (
        f"#!/bin/sh\n[ -f {tmp_path}/seen ] && cat {tmp_path}/2 || {{ touch {tmp_path}/seen; cat {tmp_path}/1; }}\n"
    )
    (tmp_path / "kubectl").write_text(script)
    (tmp_path / "kubectl").chmod(0o755)
    kept = {name: os.environ[name] for name in ("HOME", "PYTHONPATH", "LANG") if name in os.environ}
    return {**kept, "PATH": f"{tmp_path}:{os.environ['PATH']}", "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}


def capture(environment: dict[str, str], columns: int, *arguments: str) -> tuple[int, str]:
    """Exit code and everything that was written to the terminal."""
    ours, theirs = pty.openpty()
    ioctl(theirs, TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    command = [sys.executable, "-c", "from llmtrain.cli.main import main; main()", *arguments]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        parts = []
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # how Linux says that nobody has the terminal open any more
                break
            if not part:
                break
            parts.append(part)
    os.close(ours)
    return process.returncode, b"".join(parts).decode()


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 160])
def test_a_person_sees_progress_cost_and_time_left_and_then_the_bill(environment: dict[str, str], columns: int) -> None:
    code, written = capture(environment, columns, "watch", "docs-gpt", "-n", "team-a")
    assert code == 0
    live, _, after = written.rpartition(SHOW)
    lines = [line.rstrip() for line in ESCAPE.sub("", live).replace("\r", "\n").splitlines()]
    shown = "\n".join(lines)
    assert re.search(r"^team-a/docs-gpt  cost \$0\.2674 of \$40\.00, cost now \$0\.\d{4}.*", shown, re.MULTILINE)
    assert re.search(r"^Training +Running +[━╸╺]{4,} +600,000/1,000,000 tokens +\S+ +\$0\.2660$", shown, re.MULTILINE)
    assert re.search(r"^Curation +Succeeded +━{4,} .* \$0\.0014$", shown, re.MULTILINE)
    assert "Training: loss 3.21  tok/s 2000" in shown
    assert "…" not in shown
    assert max(map(len, lines)) <= columns
    assert "0.267358" in after
    # The frames replace each other, in colour, and the cursor is hidden meanwhile.
    assert written.index(HIDE) < written.index(SHOW)
    assert re.search(r"\x1b\[\d*A", live)
    assert "\x1b[36m" in live


@pytest.mark.slow
def test_a_list_is_whole_on_a_narrow_terminal(environment: dict[str, str], tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / str(number)).write_text(json.dumps({"items": [finished()]}))
    code, written = capture(environment, 60, "list", "-A")
    assert code == 0
    assert "…" not in written
    assert re.search(r"docs-gpt +Evaluation +Succeeded .*\$0\.267358", written)
