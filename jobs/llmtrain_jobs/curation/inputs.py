"""What a curation is made from, beside its spec: files, and what identifies their content."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager

from llmtrain.api.job import JobSpec
from llmtrain.storage.store import Store
from llmtrain.text import plain
from llmtrain_jobs.curation.lists import Gone, check_takedown, domain_of, lines_of, numbered_entries
from llmtrain_jobs.curation.reading.parts import source_files
from llmtrain_jobs.curation.scoring import model_files
from llmtrain_jobs.errors import bad_input
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


def takedown_list(store: Store, spec: JobSpec) -> Gone:
    """Ids and URLs that have to go; a line that can take nothing down is refused."""
    path, field = spec.curation.takedown.path, "spec.curation.takedown.path"
    lines = lines_of(store, path, field) if path else []
    for number, line in lines:
        with naming(f"`{field}`: `{path}` line {number}: `{plain(line, 100)}`"):
            check_takedown(line)
    return Gone.of(line for _, line in lines)


def blocked_domains(store: Store, spec: JobSpec) -> frozenset[str]:
    """Domains that no document may come from; a line that can block nothing is refused."""
    path, field = spec.curation.filters.blocked_domains, "spec.curation.filters.blockedDomains"
    found = []
    for number, line in numbered_entries(store, path, field):
        with naming(f"`{field}`: `{path}` line {number}: `{plain(line, 100)}`"):
            found.append(domain_of(line))
    return frozenset(found)


@contextmanager
def naming(entry: str) -> Iterator[None]:
    """A ValueError becomes a refusal of what is named."""
    try:
        yield
    except ValueError as error:
        raise bad_input(f"{entry} {error}") from error


def fingerprint(store: Store, files: list[str]) -> str:
    """Names, sizes and marks of files."""
    marks = [[file, *store.info(file)] for file in files]
    return hashlib.sha256(json.dumps(marks).encode()).hexdigest()[:16]
