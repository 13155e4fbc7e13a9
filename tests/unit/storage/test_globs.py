"""Globs of files mean what fsspec documents; folders are no files, and a path's own brackets no pattern."""

from pathlib import Path

import pytest

from llmtrain.api.job import Storage
from llmtrain.storage.errors import StorageError, StorageProblem
from llmtrain.storage.store import open_store

VOLUME = Storage.model_validate({"persistentVolumeClaim": {"claimName": "llm"}})
FILES = [
    "a1.jsonl",
    "a2.jsonl",
    "a[1].jsonl",
    "b{1}.jsonl",
    "c#1?.jsonl",
    "in/x.jsonl",
    "in/deep/y.jsonl",
    "in/deep/er/z.txt",
    ".hidden",
]
GLOBS: dict[str, list[str]] = {
    "*.jsonl": ["a1.jsonl", "a2.jsonl", "a[1].jsonl", "b{1}.jsonl", "c#1?.jsonl"],
    "a[12].jsonl": ["a1.jsonl", "a2.jsonl"], "a[!1].jsonl": ["a2.jsonl"], "a?.jsonl": ["a1.jsonl", "a2.jsonl"],
    "a[[]1].jsonl": ["a[1].jsonl"], "b{1}.jsonl": ["b{1}.jsonl"], "{a1,a2}.jsonl": [], "c#1?.jsonl": ["c#1?.jsonl"],
    "in/*": ["in/x.jsonl"], "in/**": ["in/deep/er/z.txt", "in/deep/y.jsonl", "in/x.jsonl"],
    "in/**/*.jsonl": ["in/deep/y.jsonl", "in/x.jsonl"], "**/y.jsonl": ["in/deep/y.jsonl"],
    "in/x.jsonl": ["in/x.jsonl"], "in": [], "in/": [], "in/deep": [], "nowhere": [], "nowhere/*": [], ".*": [".hidden"],
}  # fmt: skip


@pytest.fixture(params=["plain", "team[a]*"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder: Path = tmp_path / str(request.param)
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"1")
    (tmp_path / "teama").mkdir()
    (tmp_path / "teama" / "a1.jsonl").write_bytes(b"2")
    return folder


def test_files_below_the_root_match_as_documented(root: Path) -> None:
    store = open_store(VOLUME, str(root), {})
    assert {pattern: store.files(pattern) for pattern in GLOBS} == GLOBS
    assert all(store.info(name)[0] == 1 for found in GLOBS.values() for name in found)


def test_files_at_a_url_match_the_same_way(root: Path) -> None:
    store, base = open_store(VOLUME, "/nowhere", {}), f"file://{root.parent}/plain"
    if root.name != "plain":
        return
    for pattern, found in GLOBS.items():
        assert store.files(f"{base}/{pattern}") == [f"{base}/{name}" for name in found]
    assert all(store.info(f"{base}/{name}")[0] == 1 for found in GLOBS.values() for name in found)


def test_two_stars_within_a_component_are_no_pattern(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="entire path component"):
        open_store(VOLUME, str(tmp_path), {}).files("a**b.jsonl")


def test_another_scheme_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="must be s3 or file") as error:
        open_store(VOLUME, str(tmp_path), {}).files("https://host/a.jsonl")
    assert error.value.problem is StorageProblem.BAD_INPUT
