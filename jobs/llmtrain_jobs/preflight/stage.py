"""Sources readable, storage writable, benchmarks there; and which results exist already."""

from dataclasses import replace

from llmtrain.api.elastic import processes_per_worker
from llmtrain.api.stageconfig import Result
from llmtrain.api.status import Stage
from llmtrain.storage.keys import curation_key, evaluation_key, training_key
from llmtrain.storage.store import literally
from llmtrain.text import plain
from llmtrain_jobs.context import Context
from llmtrain_jobs.curation.gates import check_requirements
from llmtrain_jobs.curation.inputs import (
    blocked_domains,
    curation_fingerprint,
    fingerprint,
    takedown_list,
)
from llmtrain_jobs.curation.reading.formats import records
from llmtrain_jobs.curation.reading.opened import Part
from llmtrain_jobs.curation.reading.parts import source_files
from llmtrain_jobs.curation.reading.record import Record
from llmtrain_jobs.curation.rules import bounds_of
from llmtrain_jobs.curation.scoring import check_config
from llmtrain_jobs.curation.tokens import check_head
from llmtrain_jobs.entrypoint.main import SAVE_SECONDS
from llmtrain_jobs.errors import bad_input
from llmtrain_jobs.evaluation.chat import chat_of, files_of_chat
from llmtrain_jobs.evaluation.inputs import check_all, files_of
from llmtrain_jobs.evaluation.requirements import check
from llmtrain_jobs.evaluation.stored import bars_of, baseline_of, stored_results
from llmtrain_jobs.evaluation.suites import all_tasks
from llmtrain_jobs.model.config import ModelConfig
from llmtrain_jobs.preflight.look import losses
from llmtrain_jobs.training.fp8 import check_accelerator
from llmtrain_jobs.training.refusals import (
    SaveTime,
    check_training,
    expected_save,
    experimental,
    write_speed,
)

HEAD_BYTES = 1024
LONGEST_MESSAGE = 1000
PROBE = b"llmtrain preflight probe\n"


def run(context: Context) -> Result:
    """Check everything that can be checked from one small pod."""
    check_writable(context)
    size = sum(check_source(context, index) for index in range(len(context.config.spec.curation.sources)))
    check_curation(context)
    check_tasks(context)
    save = check_saves(context)
    keys = keys_of(context)
    check_existing_scores(context, keys)
    existing = {stage: key for stage, key in keys.items() if context.store.manifest(stage.value.lower(), key)}
    check_gates(context, existing)
    told = [save.warning, *experimental(context.config.spec.training)]
    if Stage.CURATION not in existing:
        told += losses(context)
    message = f"{size} bytes of sources are readable; existing results: {', '.join(existing) or 'none'}"
    message = plain("; ".join([message, *filter(None, told)]), LONGEST_MESSAGE)
    scores = {"source_bytes": str(size), "expected_save_seconds": f"{save.expected:.2f}"}
    return Result(outcome="Succeeded", message=message, existing=existing, scores=scores)


def check_writable(context: Context) -> None:
    """Write, read and remove a small file."""
    name = f"probe/{context.config.job_uid}/probe"
    context.store.write(name, PROBE)
    if context.store.read(name) != PROBE:
        raise bad_input("`spec.storage`: what was written is not what was read")
    context.store.remove(f"probe/{context.config.job_uid}")


def check_saves(context: Context) -> SaveTime:
    """Refuse a training that cannot be divided like this; how long its saves will take, and have at a stop."""
    spec = context.config.spec
    model = check_training(spec)
    check_accelerator(spec.training, context.config.training_accelerator)
    check_beginning(context, model)
    speed = write_speed(context.store, f"probe/{context.config.job_uid}")
    fewest = spec.training.cluster.workers.least * processes_per_worker(spec.training)
    return expected_save(model, fewest, speed, SAVE_SECONDS)


def check_beginning(context: Context, model: ModelConfig) -> None:
    """A Hugging Face model that training starts from is the job's; its vocabulary is held against the data's later."""
    given = context.config.spec.training.continue_from
    if given is None or given.hugging_face is None:
        return
    from llmtrain_jobs.model.glance import glance
    from llmtrain_jobs.model.importing import check_fits

    theirs = glance(context.store, given.hugging_face, "spec.training.continueFrom.huggingFace")
    check_fits(replace(model, vocabulary=theirs.vocabulary), theirs)


def check_source(context: Context, index: int) -> int:
    """Every source matches files, and they start with a document; bytes of the source."""
    source = context.config.spec.curation.sources[index]
    field = f"spec.curation.sources[{index}]"
    files = source_files(context.store, source, field)
    found = next(((file, record) for file in files if (record := first_record(context, index, file))), None)
    if found is None:
        raise bad_input(f"`{field}.path`: `{files[0]}` is empty")
    file, record = found
    if record.problem:
        raise bad_input(f"`{field}`: `{file}` line {record.number}: {record.problem}")
    return sum(context.store.info(file)[0] for file in files)


def first_record(context: Context, index: int, file: str) -> Record | None:
    """The first document of a file, or what is wrong with it; None: the file has none."""
    curation = context.config.spec.curation
    with context.store.open(file) as raw:
        found = records(raw, curation.sources[index], Part(0, index, file), curation.limits.document_bytes)
        return next((record for record in found if record.text or record.problem), None)


def check_curation(context: Context) -> None:
    """What curation needs beside its sources is there, and names of rules are names of rules."""
    curation = context.config.spec.curation
    bounds_of(curation.filters)
    paths = {"takedown.path": curation.takedown.path, "tokenizer.file": curation.tokenizer.file}
    paths |= {f"filters.classifiers[{i}].path": model.path for i, model in enumerate(curation.filters.classifiers)}
    for field, path in paths.items():
        if path and not context.store.glob(literally(path)):
            raise bad_input(f"`spec.curation.{field}`: `{path}` does not exist", "InputNotFound")
    if curation.tokenizer.file:
        # Its beginning alone: a vocabulary of 262,000 entries, whole, needs 280 MiB of preflight's small pod.
        with context.store.open(curation.tokenizer.file) as file:
            check_head(file.read(HEAD_BYTES), curation.tokenizer.file)
    for model in curation.filters.classifiers:
        check_config(context.store, model)
    takedown_list(context.store, context.config.spec)
    blocked_domains(context.store, context.config.spec)


def check_gates(context: Context, existing: dict[Stage, str]) -> None:
    """A finished curation that does not meet this job's requirements is not trained on."""
    if Stage.CURATION in existing:
        manifest = context.store.manifest("curation", existing[Stage.CURATION]) or {}
        check_requirements(context.config.spec.curation.require, manifest["counts"])


def check_tasks(context: Context) -> None:
    """Every file that evaluation reads is there and is what its task needs, before training is paid for."""
    if context.config.spec.evaluation:
        check_all(context.store, context.config.spec.evaluation)
        chat_of(context.store, context.config.spec)


def check_existing_scores(context: Context, keys: dict[Stage, str]) -> None:
    """An evaluation that exists already is held against the requirements here: no cluster is needed for the answer."""
    evaluation, key = context.config.spec.evaluation, keys.get(Stage.EVALUATION)
    if evaluation and key and (found := stored_results(context.store, key)):
        check(evaluation.require, bars_of(found, baseline_of(context.store, evaluation)))


def keys_of(context: Context) -> dict[Stage, str]:
    """Keys of the artifacts that this job's stages make."""
    spec = context.config.spec
    curation = curation_key(spec, curation_fingerprint(context.store, spec))
    training = training_key(spec, curation)
    keys = {Stage.CURATION: curation, Stage.TRAINING: training}
    if spec.evaluation:
        keys[Stage.EVALUATION] = evaluation_key(spec, training, task_fingerprint(context))
    return keys


def task_fingerprint(context: Context) -> str:
    """The same of the files that evaluation reads."""
    evaluation = context.config.spec.evaluation
    tasks = all_tasks(evaluation) if evaluation else []
    rated = [task.judge.ratings_file for task in tasks if task.judge and task.judge.ratings_file]
    chat = files_of_chat(context.store, context.config.spec)
    return fingerprint(context.store, [*(file for task in tasks for file in files_of(task)), *rated, *chat])
