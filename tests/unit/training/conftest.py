"""Data for the tests of training."""

from pathlib import Path

import pytest

from tests.unit.training.harness import Setup, write_shards


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    """The plain case."""
    write_shards(tmp_path)
    return Setup(tmp_path)
