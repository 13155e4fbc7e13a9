"""The loss against torch's own on whole logits; decay groups; the optimizers' start."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from llmtrain_jobs.model.transformer import Transformer
from llmtrain_jobs.training.names import clean
from llmtrain_jobs.training.objective import Objective
from llmtrain_jobs.training.optimizers import OptimizerPlan, decays, make, prime
from llmtrain_jobs.training.stream import IGNORED, mask_documents
from torch.nn import functional

from llmtrain.api.training import OptimizerName
from tests.unit.training.harness import MODEL, VOCABULARY

TOKENS = torch.randint(1, VOCABULARY, (2, 17), generator=torch.Generator().manual_seed(0))


def model() -> Transformer:
    torch.manual_seed(1)
    return Transformer(MODEL).double()


@pytest.mark.parametrize("chunk", [0, 5, 16, 1000])
def test_the_loss_in_chunks_is_torchs_on_all_logits(chunk: int) -> None:
    made = model()
    targets = TOKENS[:, 1:].clone()
    targets[0, :3] = IGNORED
    nats, total = Objective(made, chunk, 1e-2)(TOKENS[:, :-1], targets)
    total.backward()
    found = {name: p.grad.clone() for name, p in made.named_parameters() if p.grad is not None}
    made.zero_grad()
    logits = made(TOKENS[:, :-1]).flatten(0, 1)
    expected = functional.cross_entropy(logits, targets.flatten(), reduction="sum", ignore_index=IGNORED)
    kept = targets.flatten() != IGNORED
    z_loss = 1e-2 * logits[kept].logsumexp(-1).square().sum()
    torch.testing.assert_close(nats, expected)
    torch.testing.assert_close(total, expected + z_loss)
    (expected + z_loss).backward()
    for name, parameter in made.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad)


def test_documents_in_one_row_have_the_loss_that_they_have_alone() -> None:
    """Two documents of 7 and 9 tokens, each with its end, packed into a row and one after the other."""
    made = model()
    first, second = TOKENS[0, :7].clone(), TOKENS[1, :9].clone()
    first[-1] = second[-1] = 0
    row = np.concatenate([first.numpy(), second.numpy()])[None, :]
    batch = mask_documents(row, np.append(row[:, 1:], [[5]], axis=1), end=0)
    assert batch.segments is not None
    packed = Objective(made, 0, 0.0)(*(torch.from_numpy(a) for a in (batch.tokens, batch.targets, batch.segments)))
    alone = sum(
        functional.cross_entropy(made(document[None, :-1])[0], document[1:], reduction="sum")
        for document in (first, second)
    )
    torch.testing.assert_close(packed[0], alone)


def test_matrices_decay_and_nothing_else_does() -> None:
    names = {name for name, p in model().named_parameters() if decays(name, p)}
    assert names == {
        *(f"blocks.{n}.attention.{part}.weight" for n in range(2) for part in ("query", "key", "value", "output")),
        *(f"blocks.{n}.feed_forward.{part}.weight" for n in range(2) for part in ("up", "down")),
        "output.weight",
    }


def test_muon_takes_the_matrices_of_the_blocks_and_adamw_the_rest() -> None:
    named = dict(model().named_parameters())
    muon, adam = make(named, OptimizerPlan(OptimizerName.MUON))
    assert sum(len(g["params"]) for g in muon.param_groups) == 2 * 6
    assert sum(len(g["params"]) for g in adam.param_groups) == len(named) - 2 * 6


@pytest.mark.parametrize("name", list(OptimizerName))
def test_primed_state_takes_the_same_steps_as_torchs_own(name: OptimizerName) -> None:
    """State that is made before the first step changes nothing."""
    weights = []
    for primed in (True, False):
        made = model().float()
        optimizers = list(make(dict(made.named_parameters()), replace(OptimizerPlan(), name=name)))
        for optimizer in optimizers:
            if primed:
                prime(optimizer)
        for _ in range(3):
            made.zero_grad()
            Objective(made, 0, 0.0)(TOKENS[:, :-1], TOKENS[:, 1:])[1].backward()
            for optimizer in optimizers:
                optimizer.step()
        weights.append({n: p.detach().clone() for n, p in made.named_parameters()})
    assert all(torch.equal(weights[0][n], weights[1][n]) for n in weights[0])


def test_names_do_not_tell_what_wraps_the_model() -> None:
    for wrapped in (
        "module.model.blocks.0.x",
        "model.blocks.0._checkpoint_wrapped_module.x",
        "_orig_mod.model.blocks.0.x",
    ):
        assert clean(wrapped) == "blocks.0.x"
