"""The status as it is written: without zeros, but with all that somebody reads by its path."""

import json
import re

from llmtrain.api.crd import JOB_COLUMNS, job_crd
from llmtrain.api.status import HighWater, JobStatus, Ledger, LedgerEntry, Split, Stage, StageStatus
from llmtrain.api.transitions import transition_rules

FRESH = JobStatus(stages=[StageStatus(name=stage) for stage in Stage], ledger=Ledger(cost_now_usd="0.00"))
"""As the operator leaves it once it holds the job (owed.py); of an earlier operator's job the column of the cost now is empty."""
LATE = {"forecast", "conditions"}
"""Parts that a status gets later: a column without one shows nothing, which is right."""


def test_what_columns_and_rules_read_is_there_from_the_first_write() -> None:
    written = FRESH.to_dict()
    for _, _, path, _ in JOB_COLUMNS:
        keys = path.split(".")[2:]
        if path.startswith(".status") and keys[0].split("[")[0] not in LATE:
            value = written
            for key in keys:
                value = value[key]
    read = {name for rule in transition_rules() for name in re.findall(r"\bs\.(\w+)", rule["rule"])}
    assert read == {"name", "attempt", "state"}
    assert all(read <= set(stage) for stage in written["stages"])


def test_what_was_left_out_is_read_back_as_it_was() -> None:
    split = Split(working=7)
    entry = LedgerEntry(stage=Stage.TRAINING, role="worker", pods=2, split=split, cost_micro_usd=5)
    status = FRESH.duplicate()
    status.ledger.entries, status.ledger.total_micro_usd = [entry], 5
    status.ledger.high_water = [HighWater(stage=Stage.TRAINING, role="head", uid="u1")]
    written = json.loads(json.dumps(status.to_dict()))
    assert JobStatus.model_validate(written) == status
    assert written["ledger"]["entries"] == [
        {"stage": "Training", "role": "worker", "costMicroUsd": 5, "pods": 2, "split": {"working": 7}}
    ]


def test_the_apiserver_fills_no_zeros_in() -> None:
    schema = job_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    assert '"default":' not in json.dumps(schema)
