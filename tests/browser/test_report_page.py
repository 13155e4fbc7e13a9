"""The page of a run in a real Chromium, at the width of a desk and of a phone."""

import json
import re
from pathlib import Path

import pytest

from llmtrain.api.job import Storage
from llmtrain.api.status import JobStatus
from llmtrain.report.artifacts import keys_of, read_artifacts
from llmtrain.report.facts import facts_of
from llmtrain.report.page import render
from llmtrain.storage.store import open_store
from tests.browser.chromium import measured
from tests.unit.report.job import finished

VOLUME = Storage.model_validate({"persistentVolumeClaim": {"claimName": "llm"}})


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    store = open_store(VOLUME, str(tmp_path_factory.mktemp("store")), {})
    lines = [json.dumps({"step": s, "tokens": 8192 * s, "loss": 9.0 / s, "time": 1.0}) for s in range(1, 200)]
    store.write("artifacts/training/t1/loss/attempt-0001-1.jsonl", "\n".join(lines).encode())
    store.write("artifacts/training/t1/record.json", b'{"torch": "2.9"}')
    fates = {"documents": {"read": 10, "kept": 7, "aVeryLongNameOfARuleThatDropsDocuments": 3}}
    store.complete("curation", "c1", {"report.json": json.dumps(fates).encode()}, {"train_tokens": 4000})
    keys = keys_of(JobStatus.model_validate(finished()["status"]))
    return render(facts_of(finished(), read_artifacts(store, keys)), "2026-03-01 12:30 UTC")


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_cut_off_nothing_is_fetched_and_the_bill_is_there(page: str, width: int, tmp_path: Path) -> None:
    seen = measured(page, width, tmp_path)
    assert seen["loaded"] == 0
    assert seen["scrollWidth"] <= seen["clientWidth"]
    for text in (
        "team-a/docs-gpt",
        "$0.267358",
        "USD per pod-hour",
        "held-out/bits_per_byte",
        "h100-owned (Owned)",
        "torch",
    ):
        assert text in seen["text"]
    assert re.search(r"total\s+0\.0611\s+0\.0667\s+\$0\.267358", seen["text"])
