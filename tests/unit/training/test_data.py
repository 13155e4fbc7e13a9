"""Which tokens a step sees: a function of seed and position, in the shares asked for, whatever the number of processes."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from llmtrain_jobs.training.mixture import UNITS, Cursors, draw, integer_weights
from llmtrain_jobs.training.shards import ShardError, Source, permuted
from llmtrain_jobs.training.stream import IGNORED, Ahead, mask_documents
from llmtrain_jobs.training.timeline import Change, Ramp, Timeline

from tests.unit.training.harness import CONTEXT, Setup, sources_in, stream_of


@pytest.mark.parametrize("count", [1, 2, 3, 64, 1000, 4097])
def test_each_pass_is_a_permutation_of_its_own(count: int) -> None:
    everything = np.arange(count)
    one, two = (permuted(everything, count, 1, 0, epoch) for epoch in (0, 1))
    assert sorted(one) == sorted(two) == list(range(count))
    assert count < 64 or not np.array_equal(one, two)


def test_the_order_is_as_good_as_random() -> None:
    """Spearman's correlation with the original order: for a random one its standard deviation is 1 / sqrt(n - 1)."""
    order = permuted(np.arange(10_000), 10_000, 5, 2, 3)
    assert abs(np.corrcoef(np.arange(10_000), order)[0, 1]) < 4 / np.sqrt(9_999)
    assert abs((np.diff(order) > 0).mean() - 0.5) < 0.02


def test_a_pass_sees_every_window_once(setup: Setup) -> None:
    source = sources_in(setup.folder)[1]
    assert source.windows == 30 + 20
    first, second = source.read(range(50)), source.read(range(50, 100))
    assert {tuple(w) for w in first} == {tuple(w) for w in second}
    assert len({tuple(w) for w in first}) == 50
    assert not np.array_equal(first, second)


def test_shares_hold_after_every_draw() -> None:
    weights, cursors = (UNITS * 6 // 10, UNITS * 3 // 10, UNITS // 10), Cursors([0, 0, 0])
    for number in range(1, 500):
        draw(cursors, 0, weights, 1)
        assert all(abs(have - number * w / UNITS) <= 1 for have, w in zip(cursors.drawn, weights, strict=True))


def test_a_new_phase_counts_its_own_shares_and_goes_on_where_each_source_was() -> None:
    cursors = Cursors([0, 0])
    draw(cursors, 0, (UNITS, 0), 10)
    chosen = draw(cursors, 1, (UNITS // 2, UNITS // 2), 4)
    assert sorted(chosen) == [(0, 10), (0, 11), (1, 0), (1, 1)]


def test_weights_add_up_exactly() -> None:
    assert sum(integer_weights([Decimal(1), Decimal(1), Decimal(1)])) == UNITS
    with pytest.raises(ValueError, match="above 0"):
        integer_weights([Decimal(0)])


@pytest.mark.parametrize("world", [1, 2, 3, 4, 7])
def test_all_processes_together_see_the_same_for_any_number_of_them(setup: Setup, world: int) -> None:
    shape = setup.timeline.shape(2)
    chosen = stream_of(setup).peek(shape)
    whole = stream_of(setup).share(chosen, shape, 0, 1)
    shares = [stream_of(setup).share(chosen, shape, rank, world) for rank in range(world)]
    assert sum(share.valid for share in shares) == whole.valid == 8 * CONTEXT
    assert np.array_equal(np.concatenate([share.tokens for share in shares if share.valid]), whole.tokens)


def test_more_processes_than_windows_leave_some_idle_but_present(setup: Setup) -> None:
    shape = replace(setup, windows=1).timeline.shape(0)
    stream = stream_of(setup)
    shares = [stream.share(stream.peek(shape), shape, rank, 2) for rank in range(2)]
    assert [share.valid for share in shares] == [0, CONTEXT]
    assert shares[0].tokens.shape == (1, CONTEXT)


def test_shorter_sequences_are_the_same_tokens_cut(setup: Setup) -> None:
    stream = stream_of(setup)
    shape = setup.timeline.shape(0)
    long = stream.share(stream.peek(shape), shape, 0, 1)
    short = stream.share(stream.peek(shape), replace(shape, length=4), 0, 1)
    assert np.array_equal(short.tokens.reshape(long.tokens.shape), long.tokens)
    assert np.array_equal(short.targets[:, :-1], short.tokens[:, 1:])
    assert short.valid == long.valid


def test_what_was_read_ahead_is_used_only_for_the_step_that_it_was_read_for(setup: Setup) -> None:
    ahead, plain = Ahead(stream_of(setup), 0, 1), stream_of(setup)
    shapes = [setup.timeline.shape(number) for number in range(3)]
    ahead.prepare(shapes[0])
    for shape in shapes:
        assert np.array_equal(ahead.take(shape).tokens, plain.share(plain.advance(shape), shape, 0, 1).tokens)
        ahead.prepare(shapes[2])
    ahead.close()


def test_documents_are_numbered_and_nothing_is_predicted_across_their_border() -> None:
    tokens = np.array([[5, 6, 0, 7, 8, 0]])
    batch = mask_documents(tokens, np.array([[6, 0, 7, 8, 0, 9]]), end=0)
    assert batch.segments is not None
    assert batch.segments.tolist() == [[0, 0, 0, 1, 1, 1]]
    assert batch.targets.tolist() == [[6, 0, IGNORED, 8, 0, IGNORED]]


def test_a_ramp_and_phases_by_hand() -> None:
    """Batches of 2 windows of 10 until 50 tokens, then of 4: steps start at 0, 20, 40, 60, 100, 140."""
    timeline = Timeline(10, Ramp.of(2, [(50, 4)]), Ramp.of(10, [(0, 5), (60, 10)]), (60, 150))
    starts = [timeline.shape(number).tokens_before for number in range(6)]
    assert starts == [0, 20, 40, 60, 100, 140]
    assert [timeline.shape(n).windows for n in range(6)] == [2, 2, 2, 4, 4, 4]
    assert [timeline.shape(n).length for n in range(6)] == [5, 5, 5, 10, 10, 10]
    assert [timeline.shape(n).phase for n in range(6)] == [0, 0, 0, 1, 1, 1]
    assert timeline.steps == 6
    changes = [timeline.last_change(number) for number in range(6)]
    batch, both = "`training.batchRamp` (40 tokens a step)", "`training.phases[1]`"
    assert changes[:3] == [Change(0)] * 3
    assert changes[3:] == [Change(3, f"{both} and {batch} and `training.sequenceRamp` (sequences of 10)")] * 3
    later = Timeline(10, Ramp.of(2, [(50, 4)]), Ramp.of(10, []), (200, 300))
    assert [later.last_change(number).step for number in (2, 3, 4, 6, 7, 8)] == [0, 3, 3, 3, 7, 7]
    with pytest.raises(ValueError, match="ascend"):
        Ramp.of(1, [(5, 2), (5, 3)])


def test_shards_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    short = tmp_path / "short.bin"
    np.zeros(CONTEXT, dtype="<u2").tofile(short)
    with pytest.raises(ShardError, match="source `web`: a sequence needs 17 tokens, its longest shard has 16"):
        Source("web", 0, [short], "uint16", CONTEXT, 1)
    (tmp_path / "odd.bin").write_bytes(b"123")
    with pytest.raises(ShardError, match=r"`odd\.bin` has 3 bytes"):
        Source("web", 0, [tmp_path / "odd.bin"], "uint16", CONTEXT, 1)
    with pytest.raises(ShardError, match="dtype `int8`"):
        Source("web", 0, [short], "int8", CONTEXT, 1)


def test_tokens_beyond_the_vocabulary_are_found(setup: Setup) -> None:
    source = sources_in(setup.folder)[0]
    source.check_vocabulary(64)
    with pytest.raises(ShardError, match=r"token \d+ is beyond the model's vocabulary of 50; .* another tokenizer"):
        source.check_vocabulary(50)
