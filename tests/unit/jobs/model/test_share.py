"""What a part of a sequence sees: the queries are its own, the keys are everybody's."""

import math
from dataclasses import replace

import pytest
import torch
from llmtrain_jobs.model.config import ModelConfig
from llmtrain_jobs.model.share import Share
from llmtrain_jobs.model.sight import look, packed

from llmtrain.api.model import PositionKind

CONFIG = ModelConfig(layers=1, heads=2, embedding=8, feed_forward=8, context=12, vocabulary=10,
                     positions=PositionKind.ROPE)  # fmt: skip
LIKE = torch.zeros(1, dtype=torch.float64)


def expected(first: int, length: int, window: int) -> list[list[bool]]:
    """By one comparison at a time: nothing that comes later, nothing further back than the window."""
    return [[key <= query and (not window or key > query - window) for key in range(12)]
            for query in range(first, first + length)]  # fmt: skip


@pytest.mark.parametrize("window", [0, 3, 5])
@pytest.mark.parametrize("count", [2, 3, 12])
def test_each_part_sees_all_before_it_and_nothing_later(count: int, window: int) -> None:
    length = 12 // count
    for index in range(count):
        sight = look(replace(CONFIG, sliding_window=window), length, LIKE, share=Share(index, count))
        seen = expected(index * length, length, window)
        assert sight.positions.tolist() == [*range(index * length, (index + 1) * length)]
        if sight.mask is None:
            assert seen == [[True] * 12]
            assert not sight.causal
        else:
            assert sight.mask.tolist() == seen


def test_alibi_counts_from_the_parts_own_place() -> None:
    sight = look(replace(CONFIG, positions=PositionKind.ALIBI), 4, LIKE, share=Share(2, 3))
    assert sight.mask is not None
    slope = 2.0 ** (-8 / 2)
    for row, query in enumerate(range(8, 12)):
        assert sight.mask[0, row].tolist() == [
            -slope * (query - key) if key <= query else -math.inf for key in range(12)
        ]


def test_documents_that_cross_parts_are_seen_across_them() -> None:
    documents = [0, 0, 0, 1, 1, 1, 1, 1, 2, 3, 3, 3]
    for index in range(3):
        share = Share(index, 3)
        positions, mask = packed(torch.tensor([documents]), share.own(4))
        assert positions.tolist() == [[0, 1, 2, 0, 1, 2, 3, 4, 0, 0, 1, 2]]
        own = range(index * 4, index * 4 + 4)
        assert mask.tolist() == [[[k <= q and documents[k] == documents[q] for k in range(12)] for q in own]]
        sight = look(CONFIG, 4, LIKE, positions_BS=positions, mask_BTS=mask, share=share)
        assert sight.positions.tolist() == [positions[0, index * 4 : index * 4 + 4].tolist()]
