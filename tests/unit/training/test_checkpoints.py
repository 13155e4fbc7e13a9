"""A checkpoint exists once it is complete; what is damaged is passed over; what went wrong in a save is said."""

import errno
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest
import torch
from llmtrain_jobs.training.checkpoints import Archive, Checkpoints
from llmtrain_jobs.training.export import read_model, write_model
from llmtrain_jobs.training.retention import Retention

from llmtrain.storage.errors import StorageError, StorageProblem
from llmtrain.storage.store import Store
from tests.unit.training.harness import KEY, Setup, same, store_in, trainer, weights


def folder(setup: Setup) -> Path:
    return setup.folder / "artifacts" / "training" / KEY / "checkpoints"


def names(setup: Setup) -> list[str]:
    return sorted(path.name for path in folder(setup).iterdir())


def test_the_manifest_lists_every_file_with_size_and_hash(setup: Setup) -> None:
    import hashlib

    trainer(setup).run()
    made = folder(setup) / "step-00000012-a1"
    listed = json.loads((made / "COMPLETE").read_text())["files"]
    assert sorted(listed) == sorted(path.name for path in made.iterdir() if path.name != "COMPLETE")
    for name, entry in listed.items():
        data = (made / name).read_bytes()
        assert entry == {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


@pytest.mark.parametrize("damage", ["truncated", "changed", "missing", "incomplete"])
def test_a_damaged_newest_checkpoint_is_passed_over_and_said(
    setup: Setup, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer(setup).run()
    file = folder(setup) / "step-00000012-a1" / ("COMPLETE" if damage == "incomplete" else "__0_0.distcp")
    data = file.read_bytes()
    if damage in ("missing", "incomplete"):
        file.unlink()
    else:
        file.write_bytes(data[:-9] if damage == "truncated" else data[:50] + bytes([data[50] ^ 1]) + data[51:])
    assert trainer(replace(setup, attempt=2)).step == 8
    assert ("checkpoint of step 12 is passed over" in capsys.readouterr().out) == (damage != "incomplete")


def test_old_ones_go_milestones_and_the_newest_stay(setup: Setup) -> None:
    made = trainer(replace(setup, every=2))
    made.parts.checkpoints.archive._retention = Retention(last=1, every=4)
    made.run()
    assert names(setup) == [f"step-{step:08d}-a1" for step in (4, 8, 10, 12)]


def test_orphans_of_an_earlier_attempt_are_swept(setup: Setup) -> None:
    orphan = folder(setup) / "step-00000099-a1"
    orphan.mkdir(parents=True)
    (orphan / "__0_0.distcp").write_bytes(b"half")
    trainer(replace(setup, attempt=2)).run()
    assert "step-00000099-a1" not in names(setup)


def test_a_save_in_the_background_holds_the_state_of_its_step(setup: Setup) -> None:
    """Steps after the copy do not show in it."""
    made = trainer(setup)
    made._one_step()
    made.step = 1
    before = weights(made)
    made.parts.checkpoints.save(made.tensors(), made.facts() | {"regular": True})
    made._one_step()
    made.parts.checkpoints.wait()
    assert not same(before, weights(made))
    assert same(before, weights(trainer(setup)))


class Full:
    """A file on a volume that is full after some bytes."""

    def __init__(self, file: IO[bytes], room: int) -> None:
        self._file, self._room = file, room

    def write(self, data: Any) -> int:
        self._room -= len(data)
        if self._room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@pytest.mark.parametrize("in_background", [True, False])
def test_storage_that_fills_up_in_the_middle_of_a_save_is_said_and_the_older_one_stays(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, in_background: bool
) -> None:
    setup = replace(setup, in_background=in_background)
    calls = iter([False] * 5 + [True])
    trainer(setup, stop=lambda: next(calls)).run()
    honest = Store.create

    from contextlib import contextmanager

    @contextmanager
    def full(store: Store, name: str) -> Any:
        with honest(store, name) as file:
            yield Full(file, 2000)

    monkeypatch.setattr(Store, "create", full)
    with pytest.raises(
        StorageError, match=r"storage is full: `artifacts/training/.*step-00000008-a2.*enlarge"
    ) as error:
        trainer(replace(setup, attempt=2)).run()
    assert error.value.problem is StorageProblem.FULL
    monkeypatch.undo()
    assert trainer(replace(setup, attempt=3)).step == 6


def test_the_exported_model_is_the_trained_one(setup: Setup) -> None:
    made = trainer(setup)
    made.run()
    store = store_in(setup.folder)
    newest = made.parts.checkpoints.archive.newest()
    assert newest is not None
    entry = write_model(store, KEY, newest)
    path = setup.folder / "artifacts" / "training" / KEY / "model.pt"
    assert entry["size"] == path.stat().st_size
    state = torch.load(path, weights_only=True)["model"]
    engine_model = made.parts.engine.modules[0].get_submodule("model")
    assert state.keys() == engine_model.state_dict().keys()
    engine_model.load_state_dict(state)
    assert same(
        {f"model/{n}": t for n, t in state.items()}, {n: t for n, t in weights(made).items() if n.startswith("model/")}
    )
    assert read_model(store, newest).keys() == state.keys()


def test_a_folder_is_never_used_twice(setup: Setup) -> None:
    archive = Archive(store_in(setup.folder), KEY, Retention(2), 1)
    checkpoints = Checkpoints(archive, None, False)
    for value in (1.0, 2.0):
        checkpoints.save({"x": torch.tensor([value])}, {"step": 3, "regular": True, "generation": 0})
    assert names(setup) == ["step-00000003-a1", "step-00000003-a1-1"]
    x = torch.zeros(1)
    newest = archive.newest()
    assert newest is not None
    checkpoints.load(newest, {"x": x})
    assert x.item() == 2.0


def test_a_checkpoint_that_goes_while_it_is_read_is_storage_s_trouble(setup: Setup) -> None:
    """For the one that exports it, and for the one that goes on from it; the library's exception is no Exception."""
    made = trainer(setup)
    made.run()
    archive = made.parts.checkpoints.archive
    newest = archive.newest()
    assert newest is not None
    archive.drop(newest.folder)
    metadata = folder(setup) / "step-00000008-a1" / ".metadata"
    (folder(setup) / "step-00000012-a1").mkdir()
    (folder(setup) / "step-00000012-a1" / ".metadata").write_bytes(metadata.read_bytes())
    for file in ("__0_0.distcp", ".metadata"):
        with pytest.raises(StorageError, match=f"{re.escape(file)}` does not exist"):
            read_model(archive.store, newest)
        with pytest.raises(StorageError, match=f"{re.escape(file)}` does not exist"):
            made.parts.checkpoints.load(newest, made.tensors())
        shutil.rmtree(folder(setup) / "step-00000012-a1", ignore_errors=True)


def test_a_mark_that_goes_between_two_looks_is_no_checkpoint(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody sweeps while another process looks; a storage that fails is told all the same."""
    trainer(setup).run()
    archive = Archive(store_in(setup.folder), KEY, Retention(3), 1)
    read = archive.store.read

    def swept(name: str) -> bytes:
        if "step-00000012" in name:
            archive.drop(name.rsplit("/", 1)[0])
        return read(name)

    monkeypatch.setattr(archive.store, "read", swept)
    found = archive.latest()
    assert found is not None
    assert found.step == 8
    (folder(setup) / "step-00000008-a1" / "COMPLETE").unlink()
    (folder(setup) / "step-00000008-a1" / "COMPLETE").mkdir()
    monkeypatch.setattr(archive.store, "exists", lambda _: True)
    with pytest.raises(StorageError):
        archive.complete()
