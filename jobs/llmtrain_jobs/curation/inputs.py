"""What a curation is made from, beside its spec: files, and what identifies their content."""

import hashlib
import json

from llmtrain.api.job import JobSpec
from llmtrain.storage.store import Store
from llmtrain_jobs.curation.lists import entries_of, lines_of
from llmtrain_jobs.curation.reading.parts import source_files
from llmtrain_jobs.curation.scoring import model_files
from llmtrain_jobs.evaluation.suites import all_tasks


def source_fingerprint(store: Store, spec: JobSpec) -> str:
    """Names, sizes and marks of all source files and models."""
    sources = enumerate(spec.curation.sources)
    files = [f for i, s in sources for f in source_files(store, s, f"spec.curation.sources[{i}]")]
    filters = spec.curation.filters
    models = [file for model in filters.classifiers for file in model_files(store, model)]
    lists = [path for path in (filters.language_model, filters.blocked_words) if path]
    return fingerprint(store, [*files, *models, *lists])


def curation_fingerprint(store: Store, spec: JobSpec) -> str:
    """The same of everything that decides the result: the takedown list, a given tokenizer, the benchmarks."""
    paths = (spec.curation.takedown.path, spec.curation.tokenizer.file, spec.curation.filters.blocked_domains)
    own = [path for path in paths if path]
    benchmarks = [file for _, file in benchmark_files(spec)]
    return hashlib.sha256(
        (source_fingerprint(store, spec) + fingerprint(store, own + benchmarks)).encode()
    ).hexdigest()[:16]


def benchmark_files(spec: JobSpec) -> list[tuple[str, str]]:
    """(task, file) of the evaluation's data files that the corpus must not hold."""
    if not spec.curation.decontaminate or spec.evaluation is None:
        return []
    return [(task.name, task.data_file) for task in all_tasks(spec.evaluation) if task.data_file]


def takedown_list(store: Store, spec: JobSpec) -> frozenset[str]:
    """Ids and URLs that have to go."""
    if not spec.curation.takedown.path:
        return frozenset()
    return frozenset(lines_of(store, spec.curation.takedown.path, "spec.curation.takedown.path"))


def blocked_domains(store: Store, spec: JobSpec) -> frozenset[str]:
    """Domains that no document may come from."""
    entries = entries_of(store, spec.curation.filters.blocked_domains, "spec.curation.filters.blockedDomains")
    return frozenset(entry.lower().strip(".") for entry in entries)


def fingerprint(store: Store, files: list[str]) -> str:
    """Names, sizes and marks of files."""
    marks = [[file, *store.info(file)] for file in files]
    return hashlib.sha256(json.dumps(marks).encode()).hexdigest()[:16]
