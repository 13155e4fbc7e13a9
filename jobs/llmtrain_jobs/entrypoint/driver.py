"""The stage's driver: a child of PID 1 in the head, or a plain process on one machine (`llmtrain run-local`)."""

import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

from llmtrain.api.stageconfig import (
    CONFIG_PATH,
    CREDENTIALS_DIR,
    EXIT_CODES,
    STORAGE_MOUNT,
    FailureClass,
    Result,
    StageConfig,
)
from llmtrain.api.status import Stage
from llmtrain.storage.errors import StorageError
from llmtrain.storage.store import PATIENCE_SECONDS, Store, open_store
from llmtrain.text import plain
from llmtrain_jobs.context import Context
from llmtrain_jobs.entrypoint.main import SCRATCH_FOLDER
from llmtrain_jobs.entrypoint.scratch import Scratch
from llmtrain_jobs.errors import StageError

FIRST_CONTACT_SECONDS = 15.0
"""Preflight finds out whether the storage is there at all: a wrong address should not be waited for."""


def store_of(config: StageConfig) -> Store:
    """The job's storage as this pod reaches it."""
    folder = Path(os.environ.get("LLMTRAIN_CREDENTIALS", CREDENTIALS_DIR))
    files = [file for file in folder.glob("*") if file.is_file()] if folder.is_dir() else []
    credentials = {file.name: file.read_text().strip() for file in files}
    patience = FIRST_CONTACT_SECONDS if config.stage is Stage.PREFLIGHT else PATIENCE_SECONDS
    return open_store(config.spec.storage, os.environ.get("LLMTRAIN_STORAGE", STORAGE_MOUNT), credentials, patience)


def run_stage(config: StageConfig, scratch: Scratch, stop: threading.Event) -> Result:
    """Run the stage; every failure that has a class becomes a result."""
    try:
        run = _runner(config)
        result: Result = run(Context(config, store_of(config), scratch, stop))
    except StageError as error:
        return _failed(error.failure, error.reason, error.message, error.checkpoint)
    except StorageError as error:
        return _failed(FailureClass(error.problem.value), error.problem.value, error.message)
    return result


def _runner(config: StageConfig) -> Callable[[Context], Result]:
    """What this pod runs: the stage, or in an evaluator the watch over its checkpoints."""
    if os.environ.get("LLMTRAIN_ROLE") == "evaluator":
        during = importlib.import_module("llmtrain_jobs.evaluation.during")
        return partial(during.run, evaluator=int(os.environ.get("LLMTRAIN_INDEX", "0")))
    stage = importlib.import_module(f"llmtrain_jobs.{config.stage.value.lower()}.stage")
    run: Callable[[Context], Result] = stage.run
    return run


def _failed(failure: FailureClass, reason: str, message: str, checkpoint: str = "") -> Result:
    text = plain(message, 1000)  # a file's name may hold bytes that are no text
    return Result(outcome="Failed", failure_class=failure, reason=reason, message=text, checkpoint=checkpoint)


def _report_crash(scratch: Scratch) -> None:
    """Make `sys.excepthook` leave the last line of a traceback as last words; the whole of it is in the log."""

    def hook(kind: type[BaseException], error: BaseException, _trace: object) -> None:
        traceback.print_exception(error)
        last = traceback.format_exception_only(error)[-1].strip()
        scratch.put_result(_failed(FailureClass.INTERNAL, kind.__name__, last))

    sys.excepthook = hook


def main() -> None:
    """Entry point."""
    config = StageConfig.model_validate_json(Path(os.environ.get("LLMTRAIN_CONFIG", CONFIG_PATH)).read_text())
    scratch = Scratch(Path(os.environ.get("LLMTRAIN_SCRATCH", SCRATCH_FOLDER)))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    _report_crash(scratch)
    result = run_stage(config, scratch, stop)
    scratch.put_result(result)
    sys.exit(EXIT_CODES[result.failure_class] if result.failure_class else 0)


if __name__ == "__main__":
    main()
