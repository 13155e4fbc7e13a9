"""What a training says of itself at its end."""

from typing import Any

import pytest
from llmtrain_jobs.training.accounts import Accounts
from llmtrain_jobs.training.checkpoints import Checkpoint
from llmtrain_jobs.training.stage import scores_of


@pytest.mark.parametrize(("held_out", "said"), [(3.21987, "3.2199"), (None, None)])
def test_the_loss_on_held_out_text_is_told_where_it_was_measured(held_out: float | None, said: str | None) -> None:
    state: dict[str, Any] = {"last": None, "counts": {"roll_backs": 0}, "validation_loss": held_out}
    newest = Checkpoint("checkpoints/9", 9, {"loss": 3.5, "tokens": 9000})
    found = scores_of(state, newest, Accounts())
    assert found.get("validation_loss") == said
    assert found["loss"] == "3.5000"
