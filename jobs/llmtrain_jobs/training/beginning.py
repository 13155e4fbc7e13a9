"""The start of a training that continues another one: of this storage, or of a folder with a Hugging Face model."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import torch
from torch.distributed.checkpoint.state_dict_saver import save

from llmtrain.api.training import ContinueFrom, ContinueState
from llmtrain.storage.store import Store, literally
from llmtrain_jobs.errors import bad_input
from llmtrain_jobs.model.config import ModelConfig
from llmtrain_jobs.model.importing import Imported, import_folder
from llmtrain_jobs.training.checkpoints import Archive, Checkpoint
from llmtrain_jobs.training.loop import Trainer
from llmtrain_jobs.training.retention import Retention
from llmtrain_jobs.training.streams import StoreFiles, writer

MODEL = "model/"
FILES = ("config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer.json", "adapter_config.json")


def begin(given: ContinueFrom, config: ModelConfig, trainer: Trainer, local: Path) -> None:
    """First weights from elsewhere, whatever mesh they were trained on; `local`: a folder of this pod for downloads."""
    if given.hugging_face is not None:
        _from_hugging_face(given.hugging_face, config, trainer, local)
    else:
        _from_artifact(given, trainer)


def _from_artifact(given: ContinueFrom, trainer: Trainer) -> None:
    checkpoints = trainer.parts.checkpoints
    archive = Archive(checkpoints.archive.store, str(given.artifact), Retention(1), 1)
    found = checkpoints.agree(archive.complete() if checkpoints.rank == 0 else [])
    chosen = checkpoints.sound(found)
    if chosen is None:
        raise bad_input(
            f"`training.continueFrom.artifact`: `{given.artifact}` has no complete checkpoint", "ArtifactMissing"
        )
    whole = given.state is ContinueState.WEIGHTS_AND_OPTIMIZER
    wanted = {name: t for name, t in trainer.tensors().items() if whole or name.startswith(MODEL)}
    check_shapes(checkpoints.shapes(chosen), wanted, str(given.artifact))
    checkpoints.load(chosen, wanted)


def check_shapes(there: Mapping[str, tuple[int, ...]], wanted: Mapping[str, torch.Tensor], artifact: str) -> None:
    """Refuse a model of other dimensions, by the first name that differs."""
    for name, tensor in wanted.items():
        if there.get(name) != tuple(tensor.shape):
            raise bad_input(
                f"`training.continueFrom.artifact` `{artifact}`: `{name}` is {there.get(name)} there and "
                f"{tuple(tensor.shape)} here; the models must have the same dimensions and vocabulary", "ModelMismatch",
            )  # fmt: skip


def _from_hugging_face(folder: str, config: ModelConfig, trainer: Trainer, local: Path) -> None:
    """The first process writes the model as a checkpoint; each one reads its own part of that."""
    checkpoints = trainer.parts.checkpoints
    store = checkpoints.archive.store
    copy = f"{checkpoints.archive.base}/imported"
    if checkpoints.rank == 0:
        state = imported(store, folder, local).initial_state(config)
        files = StoreFiles(store)
        named = {f"{MODEL}{name}": tensor for name, tensor in state.items()}
        save(named, storage_writer=writer(files, copy), no_dist=True)
    checkpoints.meet()
    checkpoints.load(Checkpoint(copy, 0), {n: t for n, t in trainer.tensors().items() if n.startswith(MODEL)})
    checkpoints.meet()
    if checkpoints.rank == 0:
        store.remove(copy)


def imported(store: Store, folder: str, local: Path) -> Imported:
    """A model of the storage, or of the URL of another one; raises bad_input for what is missing or does not fit."""
    found = [name for pattern in FILES for name in store.glob(f"{literally(folder.rstrip('/'))}/{pattern}")]
    if not found:
        raise bad_input(f"`training.continueFrom.huggingFace`: `{folder}` holds no model", "InputNotFound")
    for name in found:
        store.download(name, local / PurePosixPath(name).name)
    return import_folder(local)
