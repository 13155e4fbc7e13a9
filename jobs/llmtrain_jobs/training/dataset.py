"""The curated data set as training sees it: sources, their shares in each phase, tokens to look out for."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from llmtrain.api.training import Packing, Training
from llmtrain.storage.store import Store, artifact_folder
from llmtrain_jobs.errors import bad_input
from llmtrain_jobs.training.mixture import integer_weights
from llmtrain_jobs.training.shards import ShardError, Source
from llmtrain_jobs.training.stream import TokenStream

ALL = "all"
"""Name of the one source of a data set whose shards are not divided by source."""


def fetch(store: Store, key: str, manifest: Mapping[str, Any], local: Path) -> dict[str, list[Path]]:
    """Training shards by source, on a local disk or linked from the mounted volume."""
    found: dict[str, list[Path]] = {}
    for name in sorted(file["name"] for file in manifest["files"]):
        parts = name.split("/")
        if parts[0] != "train" or not name.endswith(".bin"):
            continue
        target = local / key / name
        store.download(f"{artifact_folder('curation', key)}/{name}", target)
        found.setdefault(parts[1] if len(parts) == 3 else ALL, []).append(target)
    return found


def open_sources(
    shards: Mapping[str, Sequence[Path]], dtype: str, context: int, seed: int, vocabulary: int
) -> list[Source]:
    """Sources in the order of their names; raises bad_input for one that cannot be trained on."""
    if not shards:
        raise bad_input("the curated data set holds no training shards", "NoData")
    try:
        sources = [Source(name, i, shards[name], dtype, context, seed) for i, name in enumerate(sorted(shards))]
        for source in sources:
            source.check_vocabulary(vocabulary)
    except ShardError as error:
        raise bad_input(str(error), "UnusableShards") from error
    return sources


def phase_weights(spec: Training, sources: Sequence[Source], counts: Mapping[str, Any]) -> list[tuple[int, ...]]:
    """Integer shares by phase and source; a phase without a mixture takes each source as often as it has windows."""
    names = [source.name for source in sources]
    given = counts.get("sources", {})
    natural = [source.windows * Decimal(str(given.get(source.name, {}).get("weight", "1"))) for source in sources]
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
