"""Weights as safetensors, in the layout that Hugging Face's loaders expect: one file, or shards with an index."""

import json
from collections.abc import Iterable
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from llmtrain_jobs.errors import bad_input

SHARD_BYTES = 5_000_000_000
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
READABLE = 0o644
METADATA = {"format": "pt"}


def write_weights(folder: Path, tensors: Iterable[tuple[str, Tensor]], shard_bytes: int = SHARD_BYTES) -> list[str]:
    """Write tensors in order; the files' names. Only one shard is held in memory beside what the caller holds."""
    shards: list[list[str]] = []
    pending: dict[str, Tensor] = {}
    total = 0
    for name, tensor in tensors:
        if pending and _size(pending.values()) + tensor.nbytes > shard_bytes:
            shards.append(_flush(folder, len(shards), pending))
            pending = {}
        pending[name] = tensor
        total += tensor.nbytes
    shards.append(_flush(folder, len(shards), pending))
    return _finish(folder, shards, total)


def _size(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def _flush(folder: Path, number: int, tensors: dict[str, Tensor]) -> list[str]:
    save_file(tensors, folder / _partial(number), metadata=METADATA)
    return list(tensors)


def _partial(number: int) -> str:
    return f"shard-{number:05d}.partial"


def _finish(folder: Path, shards: list[list[str]], total: int) -> list[str]:
    """Final names carry the number of shards, which is known only now."""
    count = len(shards)
    names = [SINGLE] if count == 1 else [f"model-{n:05d}-of-{count:05d}.safetensors" for n in range(1, count + 1)]
    for number, name in enumerate(names):
        # safetensors makes files that their owner alone may read, unlike the other files of an export.
        (folder / _partial(number)).chmod(READABLE)
        (folder / _partial(number)).rename(folder / name)
    if count == 1:
        return names
    places = {tensor: name for name, tensors in zip(names, shards, strict=True) for tensor in tensors}
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": places}, indent=1))
    return [*names, INDEX]


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder; BadInput where files are missing or damaged."""
    tensors: dict[str, Tensor] = {}
    for name in _files(folder):
        if not (folder / name).is_file():
            raise bad_input(f"`{folder}`: `{name}` is missing")
        try:
            tensors |= load_file(folder / name)
        except SafetensorError as error:
            raise bad_input(f"`{folder / name}` is damaged ({error})") from error
    return tensors


def _files(folder: Path) -> list[str]:
    index = folder / INDEX
    if not index.is_file():
        return [SINGLE]
    try:
        return sorted(set(json.loads(index.read_text())["weight_map"].values()))
    except (ValueError, KeyError, AttributeError) as error:
        raise bad_input(f"`{index}` is no index of weights ({error!r})") from error
