"""Every field that may change, in every phase, changed and changed back: the job is what it would be without."""

import pytest

from tests.unit.operator.changes import PHASES, changes, deviations


@pytest.mark.parametrize("phase", PHASES)
async def test_a_field_changed_and_changed_back_leaves_the_job_as_it_was(phase: str) -> None:
    found, accepted = await deviations(phase, changes())
    assert found == []
    assert accepted > 100
