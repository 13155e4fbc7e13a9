"""The trained model as one file, read from its last checkpoint: whatever mesh wrote that."""

from typing import IO, Any, cast

import torch
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load

from llmtrain.storage.store import Store, artifact_folder
from llmtrain_jobs.training.checkpoints import Checkpoint
from llmtrain_jobs.training.streams import StoreFiles, named_by_storage, reader

MODEL_FILE = "model.pt"
PREFIX = "model/"


def read_model(store: Store, checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """All parameters by name, on the CPU. Raises StorageError, also where somebody removes the checkpoint meanwhile."""
    source = reader(store, checkpoint.folder)
    listed = source.read_metadata().state_dict_metadata
    state = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype)
        for name, entry in listed.items()
        if name.startswith(PREFIX) and isinstance(entry, TensorStorageMetadata)
    }
    with named_by_storage():
        load(state, storage_reader=source, no_dist=True)
    return {name.removeprefix(PREFIX): tensor for name, tensor in state.items()}


def write_model(store: Store, key: str, checkpoint: Checkpoint) -> dict[str, Any]:
    """Write the file; its name, size and sha256."""
    files, name = StoreFiles(store), f"{artifact_folder('training', key)}/{MODEL_FILE}"
    with files.create_stream(name, "wb") as stream:
        torch.save({"model": read_model(store, checkpoint)}, cast(IO[bytes], stream))
    return {"name": MODEL_FILE, **files.written[name]}
