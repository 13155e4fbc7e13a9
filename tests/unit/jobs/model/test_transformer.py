"""The transformer: what a position sees, the cache, pipeline stages, first weights."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from llmtrain_jobs.errors import StageError
from llmtrain_jobs.model.cache import Cache
from llmtrain_jobs.model.config import ModelConfig
from llmtrain_jobs.model.sight import packed
from llmtrain_jobs.model.transformer import Transformer, cut, loss_sum
from torch import Tensor

from llmtrain.api.model import InitializationKind
from tests.unit.jobs.model.configs import BLOOM, CONFIGS, GPT2, LLAMA

every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())


def build(config: ModelConfig) -> Transformer:
    """In fp64, so that only real differences show; weights large enough that attention is not uniform."""
    torch.manual_seed(0)
    model = Transformer(config).double().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "query" in name or "key" in name:
                parameter.mul_(8.0)
    return model


def some_tokens(batch: int, length: int, seed: int = 1) -> Tensor:
    return torch.randint(0, 50, (batch, length), generator=torch.Generator().manual_seed(seed))


@every_config
def test_a_position_does_not_see_what_follows(config: ModelConfig) -> None:
    model, one = build(config), some_tokens(1, 16)
    other = one.clone()
    other[0, 9:] = (other[0, 9:] + 7) % 50
    assert torch.equal(model(one)[0, :9], model(other)[0, :9])
    assert not torch.allclose(model(one)[0, 9:], model(other)[0, 9:])


@every_config
def test_the_order_of_what_came_before_matters(config: ModelConfig) -> None:
    model, one = build(config), some_tokens(1, 8)
    swapped = one.clone()
    swapped[0, 5], swapped[0, 6] = one[0, 6], one[0, 5]
    assert not torch.allclose(model(one)[0, 7], model(swapped)[0, 7], rtol=1e-6, atol=0)


@every_config
def test_a_cache_gives_the_logits_of_one_pass(config: ModelConfig) -> None:
    model, tokens = build(config), some_tokens(3, 16)
    cache = Cache.empty(config, 3, 16, next(model.parameters()))
    parts = [model(tokens[:, start:end], cache) for start, end in ((0, 5), (5, 6), (6, 13), (13, 16))]
    torch.testing.assert_close(torch.cat(parts, dim=1), model(tokens), rtol=1e-10, atol=1e-12)


@every_config
def test_prompts_padded_on_the_left_give_the_logits_of_each_alone(config: ModelConfig) -> None:
    model, prompts = build(config), [some_tokens(1, 3, seed=1), some_tokens(1, 7, seed=2)]
    padding = torch.tensor([4, 0])
    cache = Cache.empty(config, 2, 10, next(model.parameters()), padding)
    padded = torch.cat([torch.nn.functional.pad(prompts[0], (4, 0)), prompts[1]])
    found = [model(padded, cache)[:, -1]]
    more = some_tokens(2, 3, seed=3)
    found += [model(more[:, step : step + 1], cache)[:, -1] for step in range(3)]
    for row, prompt in enumerate(prompts):
        alone = model(torch.cat([prompt, more[row : row + 1]], dim=1))[0, -4:]
        torch.testing.assert_close(torch.stack([part[row] for part in found]), alone, rtol=1e-10, atol=1e-12)


def test_one_prefix_serves_many_continuations() -> None:
    model, prefix, endings = build(LLAMA), some_tokens(2, 6), some_tokens(5, 4, seed=2)
    cache = Cache.empty(LLAMA, 2, 10, next(model.parameters()))
    model(prefix, cache)
    rows = torch.tensor([0, 1, 1, 0, 1])
    reused = cache.select(rows)
    expected = model(torch.cat([prefix[rows], endings], dim=1))[:, 6:]
    torch.testing.assert_close(model(endings, reused), expected, rtol=1e-10, atol=1e-12)
    reused.truncate(6)
    torch.testing.assert_close(model(endings, reused), expected, rtol=1e-10, atol=1e-12)
    assert cache.length == 6


def test_a_cache_that_is_full_says_so() -> None:
    model = build(LLAMA)
    cache = Cache.empty(LLAMA, 1, 4, next(model.parameters()))
    with pytest.raises(ValueError, match="room for 4 positions, 5 are needed"):
        model(some_tokens(1, 5), cache)
    with pytest.raises(ValueError, match="holds 0 positions, not 2"):
        cache.truncate(2)


@pytest.mark.parametrize("name", ["sliding window", "alibi and sliding window"])
def test_a_window_of_four_hides_what_is_four_back_in_one_layer(name: str) -> None:
    model, one = build(replace(CONFIGS[name], layers=1)), some_tokens(1, 10)
    other = one.clone()
    other[0, 3] = (one[0, 3] + 1) % 50
    changed = (model(one)[0] - model(other)[0]).abs().amax(dim=-1) > 0
    assert changed.nonzero().flatten().tolist() == [3, 4, 5, 6]


@every_config
def test_packed_documents_do_not_see_each_other(config: ModelConfig) -> None:
    model, tokens = build(config), some_tokens(1, 12)
    positions, mask = packed(torch.tensor([[3] * 5 + [4] * 7]))
    assert positions.tolist() == [[*range(5), *range(7)]]
    together = model(tokens, positions_BS=positions, mask_BTS=mask)
    apart = torch.cat([model(tokens[:, :5]), model(tokens[:, 5:])], dim=1)
    torch.testing.assert_close(together, apart, rtol=1e-10, atol=1e-12)
    with pytest.raises(ValueError, match="go together"):
        model(tokens, positions_BS=positions)


@every_config
def test_continuations_beside_each_other_share_their_prefix(config: ModelConfig) -> None:
    model, prefix, one, other = build(config), some_tokens(1, 6), some_tokens(1, 5, 2), some_tokens(1, 9, 3)
    positions = torch.tensor([[*range(6), *range(6, 11), *range(6, 15)]])
    mask = torch.ones(20, 20).tril().bool()
    mask[11:, 6:11] = False
    found = model(torch.cat([prefix, one, other], dim=1), positions_BS=positions, mask_BTS=mask.unsqueeze(0))
    torch.testing.assert_close(found[:, 6:11], model(torch.cat([prefix, one], dim=1))[:, 6:], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found[:, 11:], model(torch.cat([prefix, other], dim=1))[:, 6:], rtol=1e-10, atol=1e-12)


def test_stages_in_a_row_are_the_whole_model() -> None:
    config = replace(LLAMA, layers=3)
    whole, tokens = build(config), some_tokens(2, 8)
    stages = [cut(build(config), part) for part in (range(1), range(1, 2), range(2, 3))]
    assert sum(p.numel() for stage in stages for p in stage.parameters()) == sum(p.numel() for p in whole.parameters())
    names = [name for stage in stages for name in stage.state_dict()]
    assert sorted(names) == sorted(whole.state_dict())
    through = tokens
    for stage in stages:
        through = stage(through)
    assert torch.equal(through, whole(tokens))


def test_a_tied_model_is_not_cut() -> None:
    with pytest.raises(ValueError, match="tiedEmbeddings"):
        cut(Transformer(GPT2), range(1))


def test_first_weights_depend_on_seed_and_name_alone() -> None:
    torch.manual_seed(3)
    shallow = Transformer(replace(LLAMA, layers=1, initialization=InitializationKind.NORMAL)).state_dict()
    torch.manual_seed(3)
    torch.randn(17)
    deep = Transformer(replace(LLAMA, layers=4, initialization=InitializationKind.NORMAL)).state_dict()
    assert all(torch.equal(value, deep[name]) for name, value in shallow.items())
    torch.manual_seed(4)
    other = Transformer(replace(LLAMA, layers=1)).state_dict()
    assert not torch.equal(other["output.weight"], shallow["output.weight"])


WIDE = replace(LLAMA, embedding=512, heads=8, feed_forward=1024, layers=2)


@pytest.mark.parametrize(
    ("kind", "query", "down"),
    [
        (InitializationKind.NORMAL, 0.02, 0.02),
        (InitializationKind.DEPTH_SCALED, 0.02, 0.01),
        (InitializationKind.WIDTH_DEPTH_SCALED, 1 / math.sqrt(3 * 512), 0.5 / math.sqrt(3 * 512)),
        (InitializationKind.FAN_IN, 1 / math.sqrt(512), 1 / math.sqrt(1024)),
    ],
)
def test_first_weights_have_the_published_deviation(kind: InitializationKind, query: float, down: float) -> None:
    state = Transformer(replace(WIDE, initialization=kind)).state_dict()
    assert float(state["blocks.0.attention.query.weight"].std()) == pytest.approx(query, rel=0.02)
    assert float(state["blocks.0.feed_forward.down.weight"].std()) == pytest.approx(down, rel=0.02)
    assert float(state["blocks.0.attention_norm.weight"].min()) == 1.0


def test_dropout_acts_in_training_only_and_keeps_the_mean() -> None:
    model = build(replace(GPT2, dropout=0.3))
    tokens = some_tokens(1, 8)
    assert torch.equal(model(tokens), model(tokens))
    model.train()
    assert not torch.equal(model(tokens), model(tokens))


def test_the_soft_cap_bounds_logits() -> None:
    model = build(replace(GPT2, logit_soft_cap=0.5))
    with torch.no_grad():
        model.get_parameter("embedding.tokens.weight").mul_(1000)
        assert float(model(some_tokens(1, 8)).abs().max()) <= 0.5


def test_more_positions_than_are_learned_are_refused_and_alibi_takes_them() -> None:
    with pytest.raises(ValueError, match=r"17 positions.*contextLength` 16"):
        build(GPT2)(some_tokens(1, 17))
    assert build(BLOOM)(some_tokens(1, 40)).shape == (1, 40, 50)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"heads": 5}, "`embedding` must be a multiple of `heads`"),
        ({"key_value_heads": 3}, "`heads` must be a multiple of `keyValueHeads`"),
        ({"head_width": 7}, "even width of a head"),
        ({"dropout": 1.0}, "`dropout` must be below 1"),
        ({"vocabulary": 1}, "vocabulary"),
    ],
)
def test_what_does_not_divide_is_bad_input_that_names_the_field(change: dict[str, Any], words: str) -> None:
    with pytest.raises(StageError, match=words) as caught:
        Transformer(replace(LLAMA, **change))
    assert caught.value.failure.value == "BadInput"


@every_config
def test_mixed_precision_is_close_and_free_of_warnings(config: ModelConfig) -> None:
    torch.manual_seed(0)
    model, tokens = Transformer(config), some_tokens(2, 17)
    exact = float(loss_sum(model, tokens).detach())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = loss_sum(model, tokens)
    torch.autograd.backward(loss)
    assert float(loss.detach()) == pytest.approx(exact, rel=2e-3)
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())


def test_loss_is_the_sum_over_all_but_the_first_token() -> None:
    model, tokens = build(GPT2), some_tokens(2, 9)
    chances = model(tokens[:, :-1]).log_softmax(dim=-1)
    by_hand = -sum(float(chances[b, t, tokens[b, t + 1]].detach()) for b in range(2) for t in range(8))
    assert float(loss_sum(model, tokens).detach()) == pytest.approx(by_hand, rel=1e-6)
