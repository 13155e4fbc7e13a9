"""All meshes of docs/parallelism.md over 50 steps."""

from pathlib import Path

import pytest

from tests.unit.training.harness import DEEP
from tests.unit.training.test_parallel import MESHES, compare


@pytest.mark.parametrize("name", list(MESHES))
@pytest.mark.timeout(900)
def test_a_mesh_computes_what_one_process_computes(tmp_path: Path, name: str) -> None:
    """fp64, 50 steps, relative 1e-9; first gradients in fp32 1e-5."""
    compare(tmp_path, {name: MESHES[name]}, DEEP, steps=50)
