"""When a look is worth a word."""

from typing import Any

import pytest

from llmtrain.inspection.findings import findings
from llmtrain.inspection.report import Amount, Share, Stop
from tests.unit.inspection.reports import report

CASES: dict[str, tuple[dict[str, Any], str]] = {
    "half": ({"kept": 50}, ""),
    "more than half": ({"kept": 49}, "source `docs` would lose 51.0% of the first 100 records, 51.0% of their bytes"),
    "all of a short one": ({"kept": 40, "stopped": Stop.END}, "source `docs` would lose 60.0% of all 100 records, 60.0% of their bytes"),
    "bytes alone": (
        {"kept": Share(records=99, bytes=100, share=0.99)},
        "source `docs` would lose 1.0% of the first 100 records, 90.0% of their bytes",
    ),
    "every one": ({"kept": 0, "most_taken": "; most were taken by `pii` 100"}, "source `docs` would lose every one of the first 100 records; most were taken by `pii` 100"),
    "one behind": ({"kept": 0, "read_in_all": 900, "kept_at_all": True}, "source `docs` would lose every one of the first 100 records; of 900 that were read one would be kept"),
    "none behind": ({"kept": 0, "read_in_all": 900}, "source `docs` would lose every one of the first 100 records; of 900 that were read none would be kept"),
    "empty": ({"read": 0, "kept": 0, "whole": True}, "source `docs` holds no document"),
    "unreadable": ({"unreadable": "2 of 100 records are bad"}, "source `docs`: 2 of 100 records are bad"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(CASES))
def test_a_source_that_would_lose_over_half_is_a_finding(name: str) -> None:
    changed, wanted = CASES[name]
    kept = changed.pop("kept", 100)
    found = (
        report(kept=kept, **changed) if isinstance(kept, int) else report(**changed).model_copy(update={"kept": kept})
    )
    assert [finding.message for finding in findings([found])] == ([wanted] if wanted else [])


def test_bytes_count_though_most_records_stay() -> None:
    assert report(read=10, kept=10).model_copy(update={"read": Amount(records=10, bytes=1000)}).lost_bytes_share == 0.9
