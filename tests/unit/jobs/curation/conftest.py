"""A storage folder of its own for every test."""

from pathlib import Path

import pytest

from tests.unit.jobs.curation.world import World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)
