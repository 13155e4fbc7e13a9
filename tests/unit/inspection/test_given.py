"""Sources by the paths of a command line."""

import os
from pathlib import Path

import pytest

from llmtrain.cost.errors import InputError
from llmtrain.inspection.given import MOST, name_of, where, with_sources
from tests.unit.cost.jobs import job_spec


def test_a_path_is_a_file_a_folder_or_a_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "a[1].jsonl").touch()
    here = f"file://{os.path.realpath(tmp_path)}"
    assert where("folder") == f"{here}/folder/**"
    assert where("a[1].jsonl") == f"{here}/a[[]1].jsonl"
    assert where("folder/*.jsonl") == f"{here}/folder/*.jsonl"
    assert where("s3://bucket/*.jsonl") == "s3://bucket/*.jsonl"


@pytest.mark.parametrize("path", ["corpus/*.jsonl.gz", "/", "Ä.txt", "x" * 500, "-a-/-"])
def test_every_path_has_a_name_that_a_manifest_allows(path: str) -> None:
    spec = with_sources(None, [path, path])
    names = [source.name for source in spec.curation.sources]
    assert names == [name_of(path, 1), name_of(path, 2)]
    assert names[0] != names[1]


def test_the_paths_stand_in_place_of_a_manifests_sources_and_its_rules_stay() -> None:
    spec = job_spec()
    found = with_sources(spec, ["/data/a.jsonl"])
    assert [source.path for source in found.curation.sources] == ["file:///data/a.jsonl"]
    assert found.curation.filters == spec.curation.filters
    assert found.training == spec.training


def test_too_many_paths_are_refused_with_a_way_out() -> None:
    with pytest.raises(InputError, match="put a pattern in quotes"):
        with_sources(None, ["a"] * (MOST + 1))
    with pytest.raises(InputError, match="longer than 1000 characters"):
        with_sources(None, ["a" * 1001])
