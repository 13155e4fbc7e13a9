"""Weights as safetensors, in the layout that Hugging Face's loaders expect: one file, or shards with an index."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import IO

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from llmtrain_jobs.errors import bad_input

SHARD_BYTES = 5_000_000_000
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
READABLE = 0o644
METADATA = {"format": "pt"}
MOST_HEADER = 10_000_000
"""Bytes of a file's own index that are looked at: enough for 50,000 tensors."""
_TYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2, "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


def check_finite(state: Mapping[str, Tensor]) -> None:
    """No weight is infinite or no number; BadInput names the first tensor that has one."""
    for name, tensor in state.items():
        if not bool(torch.isfinite(tensor).all()):
            raise bad_input(f"weights: `{name}` holds values that are not finite", "NotFinite")


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
    """As transformers looks for them: one file goes before shards."""
    index = folder / INDEX
    return [SINGLE] if (folder / SINGLE).is_file() or not index.is_file() else shards(index.read_bytes(), str(index))


def shards(data: bytes, name: str) -> list[str]:
    """Files that an index of weights names, all beside it; BadInput where it is none."""
    try:
        names = set(map(str, json.loads(data)["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise bad_input(f"`{name}` is no index of weights ({error!r})"[:900]) from error
    elsewhere = sorted(file for file in names if PurePosixPath(file).name != file)
    if elsewhere:
        raise bad_input(f"`{name}`: `{elsewhere[0]}` is no file of its folder"[:900])
    return sorted(names)


def header(file: IO[bytes], name: str) -> dict[str, Tensor]:
    """Names, types and shapes of a safetensors file, as tensors without content; BadInput where it is damaged."""
    size = int.from_bytes(file.read(8), "little")
    data = file.read(size) if size <= MOST_HEADER else b""
    try:
        found = {key: entry for key, entry in json.loads(data).items() if key != "__metadata__"}
        return {
            key: torch.empty(entry["shape"], dtype=_TYPES[entry["dtype"]], device="meta")
            for key, entry in found.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, RuntimeError) as error:
        raise bad_input(f"`{name}` is damaged, or of types that are not read ({error!r})"[:900]) from error
