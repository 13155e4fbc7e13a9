"""Data for the tests of training."""

from pathlib import Path

import pytest
import torch

from tests.unit.training.harness import Setup, write_shards

torch.set_num_threads(1)  # Many threads only wait for each other on models this small.


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    """The plain case."""
    write_shards(tmp_path)
    return Setup(tmp_path)
