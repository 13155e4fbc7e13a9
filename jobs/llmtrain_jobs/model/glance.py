"""A Hugging Face model in storage as far as it shows without its weights: preflight refuses what training could not read."""

from torch import Tensor

from llmtrain.storage.store import Store, literally
from llmtrain_jobs.errors import bad_input
from llmtrain_jobs.model.config import ModelConfig
from llmtrain_jobs.model.huggingface.convert import to_ours, understood
from llmtrain_jobs.model.huggingface.reading import parsed
from llmtrain_jobs.model.importing import ADAPTER, CONFIG, adapter_beside
from llmtrain_jobs.model.weights import INDEX, SINGLE, header, shards


def glance(store: Store, folder: str, field: str) -> ModelConfig:
    """Dimensions of the model; BadInput for what its config.json and the heads of its files tell. `field` is for people."""
    folder = folder.rstrip("/")
    there = {name for name in (CONFIG, ADAPTER, SINGLE, INDEX) if _exists(store, f"{folder}/{name}")}
    if CONFIG not in there:
        raise bad_input(f"`{field}`: there is no `{folder}/{CONFIG}`", "InputNotFound")
    if ADAPTER in there:
        raise adapter_beside(f"{folder}/{ADAPTER}")
    if not there & {SINGLE, INDEX}:
        message = f"`{field}`: `{folder}` has neither `{SINGLE}` nor `{INDEX}`; other formats are not read"
        raise bad_input(message, "InputNotFound")
    family, config = understood(parsed(_read(store, f"{folder}/{CONFIG}"), f"{folder}/{CONFIG}"))
    names = [SINGLE] if SINGLE in there else shards(_read(store, f"{folder}/{INDEX}"), f"{folder}/{INDEX}")
    tensors: dict[str, Tensor] = {}
    for name in names:
        tensors |= _header(store, f"{folder}/{name}")
    to_ours(family, config, tensors)
    return config


def _exists(store: Store, name: str) -> bool:
    return bool(store.glob(literally(name)))


def _read(store: Store, name: str) -> bytes:
    with store.open(name) as file:
        return file.read()


def _header(store: Store, name: str) -> dict[str, Tensor]:
    if not _exists(store, name):
        raise bad_input(f"weights: `{name}` is missing", "InputNotFound")
    with store.open(name) as file:
        return header(file, name)
