"""Twenty thousand files that were changed at random: never an error without a class, never a hang, every byte counted."""

import pytest

from tests.unit.jobs.curation.reading.mutations import KINDS, check


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_changed_file_costs_no_more_than_its_damage(kind: str) -> None:
    for number in range(10_000, 13_000):
        check(kind, number)
