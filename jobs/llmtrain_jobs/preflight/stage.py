"""Sources readable, storage writable, benchmarks there; and which results exist already."""

import hashlib
import json

from llmtrain.api.stageconfig import Result
from llmtrain.api.status import Stage
from llmtrain.storage.keys import curation_key, evaluation_key, training_key
from llmtrain_jobs.context import Context
from llmtrain_jobs.curation.read import read_records, source_files
from llmtrain_jobs.errors import bad_input
from llmtrain_jobs.evaluation.inputs import check_all, files_of
from llmtrain_jobs.evaluation.requirements import check
from llmtrain_jobs.evaluation.stored import bars_of, baseline_of, stored_results
from llmtrain_jobs.evaluation.suites import all_tasks

PROBE = b"llmtrain preflight probe\n"


def run(context: Context) -> Result:
    """Check everything that can be checked from one small pod."""
    check_writable(context)
    size = sum(check_source(context, index) for index in range(len(context.config.spec.curation.sources)))
    check_tasks(context)
    keys = keys_of(context)
    check_existing_scores(context, keys)
    existing = {stage: key for stage, key in keys.items() if context.store.manifest(stage.value.lower(), key)}
    message = f"{size} bytes of sources are readable; existing results: {', '.join(existing) or 'none'}"
    return Result(outcome="Succeeded", message=message, existing=existing, scores={"source_bytes": str(size)})


def check_writable(context: Context) -> None:
    """Write, read and remove a small file."""
    name = f"probe/{context.config.job_uid}/probe"
    context.store.write(name, PROBE)
    if context.store.read(name) != PROBE:
        raise bad_input("`spec.storage`: what was written is not what was read")
    context.store.remove(f"probe/{context.config.job_uid}")


def check_source(context: Context, index: int) -> int:
    """Every source matches files, and the first of them starts with a document; bytes of the source."""
    source = context.config.spec.curation.sources[index]
    field = f"spec.curation.sources[{index}]"
    files = source_files(context.store, source, field)
    first = next(iter(read_records(context.store, source, files[0])), None)
    if first is None:
        raise bad_input(f"`{field}.path`: `{files[0]}` is empty")
    if first.problem:
        raise bad_input(f"`{field}`: `{files[0]}` line {first.line}: {first.problem}")
    return sum(context.store.info(file)[0] for file in files)


def check_tasks(context: Context) -> None:
    """Every file that evaluation reads is there and is what its task needs, before training is paid for."""
    if context.config.spec.evaluation:
        check_all(context.store, context.config.spec.evaluation)


def check_existing_scores(context: Context, keys: dict[Stage, str]) -> None:
    """An evaluation that exists already is held against the requirements here: no cluster is needed for the answer."""
    evaluation, key = context.config.spec.evaluation, keys.get(Stage.EVALUATION)
    if evaluation and key and (found := stored_results(context.store, key)):
        check(evaluation.require, bars_of(found, baseline_of(context.store, evaluation)))


def keys_of(context: Context) -> dict[Stage, str]:
    """Keys of the artifacts that this job's stages make."""
    spec = context.config.spec
    curation = curation_key(spec, source_fingerprint(context))
    training = training_key(spec, curation)
    keys = {Stage.CURATION: curation, Stage.TRAINING: training}
    if spec.evaluation:
        keys[Stage.EVALUATION] = evaluation_key(spec, training, task_fingerprint(context))
    return keys


def source_fingerprint(context: Context) -> str:
    """Names, sizes and marks of all source files."""
    sources = enumerate(context.config.spec.curation.sources)
    files = [f for i, s in sources for f in source_files(context.store, s, f"spec.curation.sources[{i}]")]
    return _fingerprint(context, files)


def task_fingerprint(context: Context) -> str:
    """The same of the files that evaluation reads."""
    evaluation = context.config.spec.evaluation
    tasks = all_tasks(evaluation) if evaluation else []
    rated = [task.judge.ratings_file for task in tasks if task.judge and task.judge.ratings_file]
    return _fingerprint(context, [*(file for task in tasks for file in files_of(task)), *rated])


def _fingerprint(context: Context, files: list[str]) -> str:
    marks = [[file, *context.store.info(file)] for file in files]
    return hashlib.sha256(json.dumps(marks).encode()).hexdigest()[:16]
