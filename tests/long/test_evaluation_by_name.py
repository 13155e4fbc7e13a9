"""Tasks that lm-evaluation-harness knows by name, without a hub in reach."""

import pytest
from llmtrain_jobs.errors import StageError
from llmtrain_jobs.evaluation.harness import prepare, run_named

from llmtrain.api.stageconfig import FailureClass

prepare(needs_hub=False)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("name", "failure", "message"),
    [
        ("no_such_task", FailureClass.BAD_INPUT, "has no task `no_such_task`"),
        ("sciq", FailureClass.UNAVAILABLE, "the data of `sciq` is not in reach"),
    ],
)
def test_a_name_that_is_unknown_and_data_that_is_away_are_told_apart(
    name: str, failure: FailureClass, message: str
) -> None:
    with pytest.raises(StageError) as error:
        run_named("task", name, None, 0, None, 1234)
    assert error.value.failure is failure
    assert message in error.value.message
