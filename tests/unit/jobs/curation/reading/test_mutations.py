"""Two thousand changed files; twenty thousand are tried by tests/long/reading."""

import pytest

from tests.unit.jobs.curation.reading.mutations import KINDS, check


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_changed_file_costs_no_more_than_its_damage(kind: str) -> None:
    for number in range(286):
        check(kind, number)
