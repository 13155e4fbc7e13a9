"""Progress of the whole stage: one share from 0 to 1 over all steps, by what they cost."""

import json
from itertools import pairwise
from typing import Any

import pytest
from llmtrain_jobs.context import Context
from llmtrain_jobs.curation.telling import STEP_SECONDS, Teller, share_of, steps_of
from llmtrain_jobs.entrypoint.scratch import Scratch

from llmtrain.api.status import Progress
from tests.unit.jobs.curation.world import World, context_in, jsonl, prose


@pytest.mark.timeout(300)
def test_the_share_of_the_stage_grows_from_step_to_step_and_ends_at_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in range(2):
        jsonl(
            world.root / "in" / f"{file}.jsonl",
            [{"id": f"{file}-{i}", "text": prose(file * 99 + i)} for i in range(20)],
        )
    told: list[Progress] = []
    monkeypatch.setattr(Scratch, "put_progress", lambda scratch, progress: told.append(progress))
    world.run({})
    shares = [float(progress.share) for progress in told]
    assert all(before <= after for before, after in pairwise(shares))
    assert shares[0] == 0.0
    assert shares[-1] == 1.0
    ends = {
        progress.detail.split(",")[0]: float(progress.share) for progress in told if progress.done == progress.total
    }
    assert ends["prepare"] == pytest.approx(51.0 / (sum(STEP_SECONDS.values()) - 3.0 - 0.8 - 0.3), abs=1e-5)


@pytest.mark.parametrize(
    ("curation", "decontaminates", "left_out"),
    [
        ({}, True, {"paragraphs", "repeats"}),
        ({}, False, {"decontaminate", "paragraphs", "repeats"}),
        ({"deduplication": {"minHash": {"enabled": False}, "paragraphs": {"enabled": True}}}, True, {"lsh", "gather", "verify"}),
        ({"tokenizer": {"file": "tokenizer.json"}}, True, {"tokenizer", "paragraphs", "repeats"}),
    ],
)  # fmt: skip
def test_steps_that_a_curation_does_not_have_are_no_part_of_it(
    world: World, curation: dict[str, Any], decontaminates: bool, left_out: set[str]
) -> None:
    spec = context_in(world.root, curation).config.spec.curation
    assert set(STEP_SECONDS) - set(steps_of(spec, decontaminates)) == left_out


def test_a_share_is_what_the_steps_cost() -> None:
    steps = ["prepare", "encode"]
    assert share_of(steps, "prepare", 1, 2) == pytest.approx(25.5 / 55.9)
    assert share_of(steps, "encode", 0, 10) == pytest.approx(51 / 55.9)
    assert share_of(steps, "encode", 0, 0) == 1.0
    assert share_of(steps, "unknown", 1, 2) == 0.0


def test_a_step_that_is_told_late_takes_nothing_back(world: World) -> None:
    context: Context = context_in(world.root, {})
    teller = Teller(context)
    list(teller.follow("encode", [1], 1))
    list(teller.follow("judge", [1], 1))
    assert json.loads(context.scratch.progress())["share"] == f"{share_of(tuple(STEP_SECONDS), 'encode', 1, 1):.6f}"
