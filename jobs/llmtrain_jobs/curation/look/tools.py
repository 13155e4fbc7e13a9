"""What a look judges by: the manifest's rules, less the models that are too large for where it runs."""

from dataclasses import dataclass

from llmtrain.api.curation import ClassifierKind, Curation, Language
from llmtrain.api.job import JobSpec
from llmtrain.inspection.report import LANGUAGE_MODEL
from llmtrain.storage.store import Store
from llmtrain_jobs.curation.contamination import Benchmarks, read_items
from llmtrain_jobs.curation.inputs import benchmark_files, blocked_domains, takedown_list
from llmtrain_jobs.curation.judge import Lists
from llmtrain_jobs.curation.prepare import Preparer


@dataclass(frozen=True)
class Tools:
    """Made once for all sources. `not_applied`: fields of the models that were left out."""

    curation: Curation
    seed: int
    preparer: Preparer
    lists: Lists
    benchmarks: Benchmarks
    not_applied: list[str]


def tools_of(store: Store, spec: JobSpec, model_bytes: int) -> Tools:
    """`model_bytes`: largest model that is loaded; 0: any. Raises BadInput for lists and models that are none."""
    curation, left_out = without_large_models(store, spec.curation, model_bytes)
    lists = Lists(takedown_list(store, spec), blocked_domains(store, spec))
    benchmarks = Benchmarks(read_items(store, benchmark_files(spec)))
    return Tools(curation, spec.seed, Preparer(store, curation), lists, benchmarks, left_out)


def without_large_models(store: Store, curation: Curation, most: int) -> tuple[Curation, list[str]]:
    """The rules by models of at most so many bytes, and the fields of the others.

    A sequence classifier is left out wherever there is a bound: the library that runs it takes more than any bound.
    """
    if not most:
        return curation, []
    filters, kept, left_out = curation.filters, [], list[str]()
    for classifier in filters.classifiers:
        is_small = classifier.kind is ClassifierKind.FAST_TEXT and store.info(classifier.path)[0] <= most
        kept += [classifier] if is_small else []
        left_out += [] if is_small else [f"filters.classifiers[{classifier.name}]"]
    changed: dict[str, object] = {"classifiers": kept}
    if filters.language_model and store.info(filters.language_model)[0] > most:
        left_out.append(LANGUAGE_MODEL)
        changed |= {"language_model": "", "languages": list[Language]()}
    return curation.model_copy(update={"filters": filters.model_copy(update=changed)}), left_out
