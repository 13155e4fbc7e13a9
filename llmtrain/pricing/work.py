"""The work of training and evaluation, from the manifest's fields."""

from llmtrain.api.evaluation import Suite, SuitePreset, Task, TaskKind
from llmtrain.api.job import JobSpec
from llmtrain.api.presets import PRESETS
from llmtrain.api.training import Device, Parallelism, Precision, Sharding
from llmtrain.api.training import Recompute as ApiRecompute
from llmtrain.cost.assumptions import TOKENS_PER_QUESTION
from llmtrain.cost.physics import ModelSize, Recompute
from llmtrain.cost.storage import Files, training_files
from llmtrain.cost.work import EvaluationWork, TrainingWork
from llmtrain.pricing.architecture import model_size

QUESTIONS = {TaskKind.ARC_EASY: 2376, TaskKind.ARC_CHALLENGE: 1172}
"""Questions of the published test splits."""
OTHER_QUESTIONS = 1000
SUITE_TASKS = {SuitePreset.CORE: 22, SuitePreset.OPEN_LLM: 6}
RECOMPUTED = {ApiRecompute.NONE: 0.0, ApiRecompute.ALTERNATE: 0.5, ApiRecompute.FULL: 1.0}
"""Share of the blocks that are computed again."""
SHORT_VOCABULARY = 65536
"""Up to so many entries a token is stored in two bytes."""
MICRO_BATCH_TOKENS = 8192
"""What a worker computes at once where the manifest leaves it open."""


def job_model(spec: JobSpec) -> ModelSize:
    """The job's model."""
    return model_size(spec.model, vocabulary_size(spec), spec.training.tokens)


def vocabulary_size(spec: JobSpec) -> int:
    """Entries of the tokenizer; of one that is given as a file, what the preset was published with."""
    published = PRESETS.get(spec.model.preset) if spec.model.preset else None
    if spec.curation.tokenizer.file and published is not None:
        return published.vocabulary
    return spec.curation.tokenizer.train.vocabulary_size


def training_work(spec: JobSpec, accelerators: int) -> TrainingWork:
    """Tokens, memory and checkpoints of the training."""
    training = spec.training
    context = training.parallelism.context
    sequences = training.compute.micro_batch_sequences or max(
        1, MICRO_BATCH_TOKENS * context // spec.model.context_length
    )
    recomputed = RECOMPUTED[training.compute.recompute]
    on_cpus = accelerators == 0 or training.device is Device.CPU
    return TrainingWork(
        model=job_model(spec),
        tokens=float(training.tokens),
        checkpoint_seconds=float(training.checkpoint.interval.typical_seconds),
        half_speed=not on_cpus and training.precision is Precision.FP32,
        shards=shards(training.parallelism, max(1, accelerators)),
        sequences_per_accelerator=sequences / context,
        recompute=Recompute.FULL if recomputed else Recompute.SELECTIVE,
        recomputed=recomputed,
        on_cpus=on_cpus,
        files=_files(spec, job_model(spec).parameters),
    )


def _files(spec: JobSpec, parameters: int) -> Files:
    """Checkpoints that are kept, and the curated tokens: two bytes each where the vocabulary allows that."""
    training, checkpoint = spec.training, spec.training.checkpoint
    steps = training.tokens // training.global_batch_tokens
    for_good = steps // checkpoint.keep_every if checkpoint.keep_every else 0
    token_bytes = 2 if vocabulary_size(spec) <= SHORT_VOCABULARY else 4
    return training_files(parameters, float(training.tokens), token_bytes, checkpoint.keep_last, for_good)


def shards(parallelism: Parallelism, accelerators: int) -> int:
    """Accelerators that one copy of weights, gradients and optimizer is spread over."""
    model_parallel = parallelism.tensor * parallelism.pipeline
    if parallelism.sharding is Sharding.DDP:
        return min(accelerators, model_parallel)
    if parallelism.sharding is Sharding.HSDP and parallelism.shard_size:
        return min(accelerators, model_parallel * parallelism.shard_size)
    return accelerators


def evaluation_work(spec: JobSpec) -> EvaluationWork:
    """Tokens that the evaluation's tasks and suites have the model read."""
    tasks = spec.evaluation.tasks if spec.evaluation else []
    suites = spec.evaluation.suites if spec.evaluation else []
    tokens = sum(_task_tokens(spec, task) for task in tasks) + sum(_suite_tokens(suite) for suite in suites)
    return EvaluationWork(job_model(spec), tokens)


def _task_tokens(spec: JobSpec, task: Task) -> float:
    if task.perplexity is not None:
        return float(spec.curation.validation.share) * spec.training.tokens
    questions = QUESTIONS.get(task.task, OTHER_QUESTIONS) if task.task else OTHER_QUESTIONS
    asked = min(questions, task.limit) if task.limit else questions
    return asked * ((task.few_shot or 0) + 1) * TOKENS_PER_QUESTION


def _suite_tokens(suite: Suite) -> float:
    """Of a preset; a suite of the job's own tasks asks them once, and they are counted there."""
    if suite.preset is None:
        return 0.0
    asked = min(OTHER_QUESTIONS, suite.limit) if suite.limit else OTHER_QUESTIONS
    return SUITE_TASKS[suite.preset] * asked * TOKENS_PER_QUESTION
