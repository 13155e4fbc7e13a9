"""The curated data set as training sees it: sources, their shares in each phase, tokens to look out for."""

import fcntl
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from llmtrain.api.training import Packing, Training
from llmtrain.storage.store import Store, artifact_folder
from llmtrain_jobs.errors import bad_input
from llmtrain_jobs.training.heldout import HeldOut
from llmtrain_jobs.training.mixture import integer_weights
from llmtrain_jobs.training.shards import ShardError, Source, TooShortError
from llmtrain_jobs.training.stream import TokenStream

TRAIN, VALIDATION = "train", "validation"
ALL = "all"
"""Name of the one source of a data set whose shards are not divided by source."""


def fetch(
    store: Store, key: str, manifest: Mapping[str, Any], local: Path, split: str = TRAIN
) -> dict[str, list[Path]]:
    """A split's shards by source, on a local disk or linked from the mounted volume."""
    found: dict[str, list[Path]] = {}
    wanted = {file["name"]: int(file["size"]) for file in manifest["files"] if file["name"].endswith(".bin")}
    folder = local / key
    folder.mkdir(parents=True, exist_ok=True)
    # The processes of a pod share its disk: the first one fetches, the others find the files there.
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in sorted(wanted):
            parts = name.split("/")
            if parts[0] != split:
                continue
            target = folder / name
            if not target.exists() or target.stat().st_size != wanted[name]:
                store.download(f"{artifact_folder('curation', key)}/{name}", target)
            found.setdefault(parts[1] if len(parts) == 3 else ALL, []).append(target)
    return found


def open_sources(
    shards: Mapping[str, Sequence[Path]], dtype: str, context: int, seed: int, vocabulary: int
) -> list[Source]:
    """Sources in the order of their names; one without a whole sequence is said and left out.

    Raises bad_input for shards that cannot be read, or where none is left.
    """
    if not shards:
        raise bad_input("the curated data set holds no training shards", "NoData")
    sources: list[Source] = []
    short: list[TooShortError] = []
    try:
        for name in sorted(shards):
            try:
                sources.append(Source(name, len(sources), shards[name], dtype, context, seed))
            except TooShortError as error:
                short.append(error)
        for source in sources:
            source.check_vocabulary(vocabulary)
    except ShardError as error:
        raise bad_input(str(error), "UnusableShards") from error
    if not sources:
        raise bad_input(str(short[0]), "UnusableShards")
    for problem in short:
        print(f"{problem}; the others are trained on", flush=True)
    return sources


def phase_weights(spec: Training, sources: Sequence[Source], counts: Mapping[str, Any]) -> list[tuple[int, ...]]:
    """Integer shares by phase and source; a phase without a mixture takes each source as often as it has windows."""
    names = [source.name for source in sources]
    given = counts.get("sources", {})
    natural = [source.windows * Decimal(str(given.get(source.name, {}).get("weight", "1"))) for source in sources]
    if not sum(natural):
        raise bad_input("`curation.sources`: at least one source that is trained on needs a weight above 0")
    if not spec.phases:
        return [integer_weights(natural)]
    weights = []
    for index, phase in enumerate(spec.phases):
        shares = {share.source: Decimal(share.weight) for share in phase.mixture}
        unknown = sorted(set(shares) - set(names))
        if unknown:
            raise bad_input(
                f"`training.phases[{index}].mixture`: there is no source `{unknown[0]}`; there are {', '.join(names)}"
            )
        if phase.mixture and not sum(shares.values()):
            raise bad_input(f"`training.phases[{index}].mixture`: at least one weight must be above 0")
        weights.append(integer_weights([shares.get(name, Decimal(0)) for name in names] if shares else natural))
    return weights


def open_stream(spec: Training, sources: Sequence[Source], counts: Mapping[str, Any]) -> TokenStream:
    """The stream at its start."""
    end = int(counts.get("end_of_text", 0)) if spec.packing is Packing.DOCUMENT_MASKED else None
    return TokenStream(sources, phase_weights(spec, sources, counts), end)


def open_held_out(
    spec: Training, shards: Mapping[str, Sequence[Path]], dtype: str, context: int, seed: int
) -> HeldOut | None:
    """What `evaluateEveryTokens` asks for; raises bad_input where there is not a sequence of held-out text."""
    if not spec.evaluate_every_tokens:
        return None
    if spec.parallelism.pipeline > 1:
        raise bad_input("`training.evaluateEveryTokens` does not go with `parallelism.pipeline` above 1", "Parallelism")
    files = [file for name in sorted(shards) for file in shards[name]]
    try:
        return HeldOut(Source(VALIDATION, 0, files, dtype, context, seed), context, spec.evaluate_every_tokens)
    except ShardError as error:
        raise bad_input(f"`training.evaluateEveryTokens`: {error}", "UnusableShards") from error
