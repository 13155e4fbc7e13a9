"""Ten thousand questions to a server of this machine: a failure at the last of them pays that one again, and no other."""

from pathlib import Path

import fsspec
import pytest
from llmtrain_jobs.errors import StageError
from llmtrain_jobs.evaluation.endpoints.answers import Answers
from llmtrain_jobs.evaluation.endpoints.client import TRIES
from llmtrain_jobs.evaluation.endpoints.model import written_text

from llmtrain.storage.store import Store
from tests.unit.jobs.evaluation.server import FakeTime, serving
from tests.unit.jobs.evaluation.test_endpoints import client

COUNT = 10_000


@pytest.mark.timeout(900)
def test_a_failure_at_the_last_of_ten_thousand_pays_one_again(tmp_path: Path) -> None:
    """The clock is false: a server that is busy in between is waited for in no time."""
    store = Store(fsspec.filesystem("file"), str(tmp_path), lambda url: (None, url))
    prompts = [{"prompt": f"number {n}", "max_tokens": 4} for n in range(COUNT)]
    with serving() as server:
        server.failures = [429, (503, "20")] * 5
        server.status_of = lambda body: 500 if body["prompt"] == f"number {COUNT - 1}" else 200
        first, fake = client(server.url, FakeTime(), concurrency=8), FakeTime()
        first.answers = Answers(store, "k")
        with pytest.raises(StageError, match="does not answer after 4 tries"):
            first.post_all("completions", prompts, written_text)
        assert len(server.asked) == COUNT - 1 + TRIES + 10
        server.asked, server.status_of = [], lambda _: 200
        again = client(server.url, fake, concurrency=8)
        again.answers = Answers(store, "k")
        assert again.post_all("completions", prompts, written_text) == [f" {n} {n}" for n in range(COUNT)]
        assert [body["prompt"] for _, body, _ in server.asked] == [f"number {COUNT - 1}"]
        assert (again.usage.requests, again.usage.reused, fake.pauses) == (1, COUNT - 1, [])
