"""The tasks' files: read and checked before anything is computed, by preflight and by the stage alike."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from llmtrain.api.evaluation import Evaluation, Task
from llmtrain.api.evaluationtasks import Form, JudgeMode, JudgeTask, Opponent, TaskKind
from llmtrain.storage.store import Store
from llmtrain_jobs.errors import bad_input
from llmtrain_jobs.evaluation.ratings import check_sheet, read_ratings
from llmtrain_jobs.evaluation.suites import all_tasks
from llmtrain_jobs.evaluation.tasks.catalogue import check_examples
from llmtrain_jobs.evaluation.tasks.finance import FINANCE
from llmtrain_jobs.evaluation.tasks.forms import in_form
from llmtrain_jobs.evaluation.tasks.rows import Fields, check_rows, filled, rows_of, text
from llmtrain_jobs.evaluation.tasks.shapes import FLAT, SHAPES
from llmtrain_jobs.evaluation.tasks.templates import Renderer, converter
from llmtrain_jobs.evaluation.tasks.texts import check_documents

Convert = Callable[[Fields], Fields]


@dataclass(frozen=True)
class Inputs:
    """Rows of one task in the shape that it is asked in, and the hash of the bytes they came from."""

    docs: list[Fields] = field(default_factory=list)
    examples: list[Fields] = field(default_factory=list)
    sha256: str = ""


def check_all(store: Store, evaluation: Evaluation) -> None:
    """Every file of every task is there and is what its task needs."""
    tasks = all_tasks(evaluation)
    names = [*(task.name for task in tasks), *(suite.name for suite in evaluation.suites)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise bad_input(f"`spec.evaluation`: names must differ; {', '.join(twice)} occurs twice", "DuplicateName")
    _check_suites(evaluation)
    for task in tasks:
        _check_opponent(task, evaluation)
        inputs = read_inputs(store, task)
        if task.task is not None or task.template is not None:
            check_examples(task, inputs.docs, inputs.examples)


def _check_suites(evaluation: Evaluation) -> None:
    there = {task.name for task in evaluation.tasks}
    for suite in evaluation.suites:
        unknown = sorted(set(suite.tasks or []) - there)
        if unknown:
            raise bad_input(
                f"`spec.evaluation.suites`: `{suite.name}` names {', '.join(unknown)}, which is no task", "UnknownTask"
            )


def _check_opponent(task: Task, evaluation: Evaluation) -> None:
    judge = task.judge
    if judge is not None and judge.asks_reference and evaluation.reference is None:
        raise bad_input(f"`{task.name}`: `opponent: Reference` needs `spec.evaluation.reference`", "NoReference")


def read_inputs(store: Store, task: Task) -> Inputs:
    """Rows of a task; raises bad input that names file, line and what is allowed."""
    for file in files_of(task):
        store.info(file)
    if task.judge is not None and task.judge.ratings_file:
        check_sheet(task.judge.ratings_file, read_ratings(store, task.judge.ratings_file))
    if task.perplexity is not None:
        for file in task.perplexity.files:
            check_documents(store, file, task.perplexity.text_field)
    if task.data_file is None:
        return Inputs()
    convert = row_converter(task)
    docs, first = _read(store, task.data_file, convert)
    examples, second = _read(store, task.few_shot_file, convert) if task.few_shot_file else ([], b"")
    return Inputs(docs, examples, hashlib.sha256(first + second).hexdigest())


def files_of(task: Task) -> list[str]:
    """Every file that a task's scores depend on, people's ratings apart."""
    named = [task.data_file, task.few_shot_file, *(task.perplexity.files if task.perplexity else [])]
    return [file for file in named if file]


def _read(store: Store, file: str, convert: Convert) -> tuple[list[Fields], bytes]:
    digest = hashlib.sha256()

    def hashed(lines: Iterable[bytes]) -> Iterable[bytes]:
        for line in lines:
            digest.update(line)
            yield line

    with store.open(file) as lines:
        rows = rows_of(file, hashed(lines))
    return check_rows(file, rows, convert), digest.digest()


def row_converter(task: Task) -> Convert:
    """From a row of the file to a row as it is asked."""
    if task.template is not None:
        return converter(task.template, "template")
    if task.judge is not None:
        return _judged(task.judge)
    if task.task is None:
        raise bad_input(f"`{task.name}` has a data file and nothing that reads it", "NoTask")
    if task.task in FINANCE:
        _only_published(task)
        return FINANCE[task.task]
    return _benchmark(task, task.task)


def _benchmark(task: Task, kind: TaskKind) -> Convert:
    shape = SHAPES[kind]
    # MMLU's published form is the letter form, and the harness has its cloze form as well.
    if task.form is Form.PUBLISHED or kind is TaskKind.MMLU:
        return shape
    if kind not in FLAT:
        _only_published(task)
    return lambda row: in_form(task.form, FLAT[kind](shape(row)))


def _only_published(task: Task) -> None:
    if task.form is not Form.PUBLISHED:
        allowed = ", ".join(sorted(kind.value for kind in FLAT))
        raise bad_input(f"`{task.name}`: `form: {task.form.value}` is possible for {allowed} only", "FormNotPossible")


def _judged(judge: JudgeTask) -> Convert:
    prompt = Renderer("judge.prompt", judge.prompt)
    needs_field = judge.mode is JudgeMode.PAIRWISE and judge.opponent is Opponent.FIELD

    def convert(row: Fields) -> Fields:
        shown = prompt.text(row)
        return {
            "prompt": filled(shown, "judge.prompt"),
            "theirs": text(row, judge.opponent_field) if needs_field else "",
        }

    return convert
