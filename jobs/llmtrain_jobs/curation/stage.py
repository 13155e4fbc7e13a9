"""Curation: files are judged in parallel, their documents merged in the order of the input.

Plain Ray tasks over files, merged in order, instead of Ray Data: the order, and with it every byte of the result, is
then the same whatever the number of workers.
"""

import json
from decimal import Decimal
from typing import Any

from llmtrain.api.curation import FilterPreset, Source
from llmtrain.api.stageconfig import FailureClass, Result
from llmtrain.storage.keys import curation_key
from llmtrain.storage.store import Store
from llmtrain_jobs.cluster import connect
from llmtrain_jobs.context import Context
from llmtrain_jobs.curation import tokens
from llmtrain_jobs.curation.documents import BAD_RECORD, Document, Judged, Ledger, is_held_out, judge
from llmtrain_jobs.curation.read import read_records, source_files
from llmtrain_jobs.entrypoint.driver import store_of
from llmtrain_jobs.errors import StageError, bad_input
from llmtrain_jobs.preflight.stage import source_fingerprint

DUPLICATE, HELD_OUT, KEPT = "duplicate", "heldOut", "kept"


def run(context: Context) -> Result:
    """Make the curated data set, or find it made."""
    key = curation_key(context.config.spec, source_fingerprint(context))
    if manifest := context.store.manifest("curation", key):
        return _result(key, manifest["counts"])
    ledger, train, validation = merge(context, judge_all(context))
    counts, files = tokenize(context, train, validation)
    counts |= {"documents": ledger.documents["read"], "kept_documents": ledger.documents[KEPT]}
    files["report.json"] = report(ledger)
    check_requirements(context, counts)
    context.store.complete("curation", key, files, counts)
    return _result(key, counts)


def judge_all(context: Context) -> list[Judged]:
    """Judge every file on the workers; results in the order of the files."""
    ray = connect(context)
    remote = ray.remote(num_cpus=1, max_retries=5)(judge_file)
    config, work = context.config.to_dict(), input_files(context.store, context.config.spec.curation.sources)
    waiting = [remote.remote(config, index, file) for index, file in work]
    judged: list[Judged] = []
    for number, reference in enumerate(waiting, start=1):
        while not ray.wait([reference], timeout=0.5)[0]:
            context.check_stop()
        judged.append(ray.get(reference))
        context.tell(number, len(waiting), "files", "filtering")
    ray.shutdown()
    return judged


def input_files(store: Store, sources: list[Source]) -> list[tuple[int, str]]:
    """Every file with the index of its source, in order."""
    return [(i, f) for i, s in enumerate(sources) for f in source_files(store, s, f"spec.curation.sources[{i}]")]


def judge_file(config: dict[str, Any], index: int, file: str) -> Judged:
    """The work of one task."""
    from llmtrain.api.stageconfig import StageConfig

    parsed = StageConfig.model_validate(config)
    source, presets = parsed.spec.curation.sources[index], parsed.spec.curation.filters.presets
    return judge(read_records(store_of(parsed), source, file), [FilterPreset(p) for p in presets], file)


def merge(context: Context, judged: list[Judged]) -> tuple[Ledger, list[Document], list[Document]]:
    """Drop repeats over all files, the first occurrence wins; split off what is held out."""
    spec, ledger, seen = context.config.spec, Ledger(), set[bytes]()
    train: list[Document] = []
    validation: list[Document] = []
    share = float(spec.curation.validation.share)
    for part in judged:
        ledger.merge(part.ledger)
        for document in part.documents:
            if spec.curation.deduplication.exact and document.key in seen:
                ledger.add(DUPLICATE, document.size)
                continue
            seen.add(document.key)
            held = is_held_out(document.key, spec.seed, share)
            (validation if held else train).append(document)
            ledger.add(HELD_OUT if held else KEPT, document.size)
    check_ledger(ledger)
    check_bad_records(context, ledger, next((p.first_problem for p in judged if p.first_problem), ""))
    return ledger, train, validation


def check_ledger(ledger: Ledger) -> None:
    """Every document and byte that was read has exactly one fate."""
    for counter in (ledger.documents, ledger.bytes):
        if counter["read"] * 2 != counter.total():
            raise AssertionError(f"the curation ledger does not add up: {dict(counter)}")


def check_bad_records(context: Context, ledger: Ledger, first: str) -> None:
    """An unreadable corpus is not curated silently."""
    bad, total = ledger.documents[BAD_RECORD], ledger.documents["read"]
    allowed = Decimal(context.config.spec.curation.max_bad_record_share)
    if total == 0:
        raise bad_input("`spec.curation.sources`: the sources hold no document", "EmptySources")
    if Decimal(bad) > allowed * total:
        raise bad_input(
            f"{bad} of {total} records are bad, `spec.curation.maxBadRecordShare` allows {allowed}; first: {first}"
        )


def tokenize(
    context: Context, train: list[Document], validation: list[Document]
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Tokenizer, shards and their counts."""
    if not train or not validation:
        raise bad_input(f"filters and split leave {len(train)} training and {len(validation)} validation documents; "
                        "add sources or relax `spec.curation.filters`", "NothingKept")  # fmt: skip
    context.tell(0, 2, "steps", "training the tokenizer")
    texts = [document.text for document in train]
    tokenizer = tokens.train_tokenizer(texts, context.config.spec.curation.tokenizer.train.vocabulary_size)
    context.check_stop()
    context.tell(1, 2, "steps", "encoding")
    size = tokenizer.get_vocab_size()
    dtype = tokens.dtype_of(size)
    train_tokens = tokens.encode(tokenizer, texts, dtype)
    held_out = tokens.encode(tokenizer, [document.text for document in validation], dtype)
    held_bytes = sum(len(document.text.encode()) for document in validation)
    files = {"tokenizer.json": tokenizer.to_str().encode()}
    for split, array in (("train", train_tokens), ("validation", held_out)):
        files |= {f"{split}/{number:05d}.bin": shard for number, shard in enumerate(tokens.shards(array))}
    bar = tokens.unigram_bits_per_byte(train_tokens, held_out, size, held_bytes)
    counts = {"vocabulary_size": size, "dtype": dtype, "train_tokens": len(train_tokens), "validation_tokens": len(held_out),
              "validation_bytes": held_bytes, "unigram_bits_per_byte": round(bar, 6)}  # fmt: skip
    return counts, files


def check_requirements(context: Context, counts: dict[str, Any]) -> None:
    """The gate before training is paid for."""
    need, have = context.config.spec.curation.require.min_tokens, counts["train_tokens"]
    if have < need:
        message = (
            f"{have} tokens were kept, `spec.curation.require.minTokens` asks for {need}: {need - have} are missing"
        )
        raise StageError(FailureClass.BELOW_THRESHOLD, "TooFewTokens", message)


def report(ledger: Ledger) -> bytes:
    """The ledger for people and machines."""
    fates = {"documents": dict(ledger.documents), "bytes": dict(ledger.bytes)}
    return json.dumps(fates, sort_keys=True, indent=1).encode()


def _result(key: str, counts: dict[str, Any]) -> Result:
    shown = ("documents", "kept_documents", "train_tokens", "validation_tokens", "unigram_bits_per_byte")
    scores = {name: str(counts[name]) for name in shown}
    message = f"{counts['train_tokens']} tokens of {counts['kept_documents']} documents"
    return Result(outcome="Succeeded", message=message, artifact=key, scores=scores)
