"""All meshes of docs/parallelism.md over 50 steps."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.training.harness import MODEL
from tests.unit.training.test_parallel import MESHES, compare

DEEP = replace(MODEL, layers=4)
"""A layer for each of four stages."""


@pytest.mark.parametrize("name", list(MESHES))
@pytest.mark.timeout(900)
def test_a_mesh_computes_what_one_process_computes(tmp_path: Path, name: str) -> None:
    """fp64, 50 steps, relative 1e-9; first gradients in fp32 1e-5."""
    compare(tmp_path, {name: MESHES[name]}, DEEP, steps=50)
