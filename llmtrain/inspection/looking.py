"""Asks the process that looks at sources, and waits for it no longer than agreed."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from llmtrain.inspection.report import Answer, Refusal, Request, SourceReport
from llmtrain.text import plain

MODULE = "llmtrain_jobs.curation.look"
START_SECONDS = 120.0
"""Before the clock starts: models are loaded, and loops are compiled, which takes 11 s of CPU."""
POLL_SECONDS = 0.5
LATE_FACTOR = 2.0
"""By the clock, for what cannot be interrupted within its seconds: libraries, loops that are compiled, one long document."""


@dataclass(frozen=True)
class Looked:
    """Reports of the sources in order, of as many as there are; why there is none of the others, if that is known."""

    reports: list[SourceReport]
    refusal: Refusal | None = None
    trouble: str = ""


def look(request: Request, environment: Mapping[str, str], check: Callable[[], None]) -> Looked:
    """Look at the sources. `environment`: where the storage and its credentials are, beside this process's own.

    `check` is called every half second, and ends the look by raising.
    """
    where = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", MODULE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | where | dict(environment),
    )
    try:
        return _answered(process, request, check)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def _answered(process: "subprocess.Popen[bytes]", request: Request, check: Callable[[], None]) -> Looked:
    """What it says, or said until its time was over."""
    asked: bytes | None = request.model_dump_json(by_alias=True, exclude_none=True).encode()
    patience = START_SECONDS + LATE_FACTOR * request.seconds
    end = time.monotonic() + patience
    while time.monotonic() < end:
        check()
        try:
            out, errors = process.communicate(asked, POLL_SECONDS)
        except subprocess.TimeoutExpired:
            asked = None  # it has it
            continue
        return _looked(out, _trouble(process.returncode, errors))
    process.kill()
    return _looked(process.communicate()[0], f"no answer within {patience:g} s")


def _trouble(code: int, errors: bytes) -> str:
    """Why the process ended otherwise than well, by its last words."""
    said = errors.decode(errors="replace").strip().rpartition("\n")[2]
    return plain(f"the look ended with exit code {code}: {said}", 300) if code else ""


def _looked(out: bytes, trouble: str) -> Looked:
    """Whole lines alone: the last one may be cut."""
    lines = out.decode(errors="replace").split("\n")[:-1]
    answers = [Answer.model_validate_json(line) for line in lines]
    refusal = next((answer.refusal for answer in answers if answer.refusal), None)
    return Looked([answer.source for answer in answers if answer.source], refusal, trouble)
