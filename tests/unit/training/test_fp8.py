"""`training.precision: Fp8Mixed`. No test has an accelerator: torchao emulates its products, and refusals need none."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from llmtrain_jobs.errors import StageError
from llmtrain_jobs.model.config import ModelConfig
from llmtrain_jobs.training import fp8
from llmtrain_jobs.training.export import read_model
from llmtrain_jobs.training.fp8 import check_accelerator, check_capability, check_fp8, products_of
from llmtrain_jobs.training.layout import Layout
from llmtrain_jobs.training.loop import Trainer
from llmtrain_jobs.training.wrap import ComputePlan
from torch import nn
from torchao.float8 import Float8LinearConfig
from torchao.float8.float8_linear import Float8Linear

from llmtrain.api.training import Recompute, Sharding, Training
from llmtrain.cost.tables import chips
from tests.unit.training.harness import MODEL, Setup, heard, in_mesh, same, trainer, weights, worlds, write_shards

WIDE = replace(MODEL, layers=2, embedding=32, gated=True)
LONG = replace(WIDE, context=64)
EMULATED = ComputePlan(micro_batch_sequences=4, fp8=Float8LinearConfig(emulate=True))
MASTERS = {"attention.query", "attention.key", "attention.value", "attention.output",
           "feed_forward.gate", "feed_forward.up", "feed_forward.down"}  # fmt: skip


@pytest.fixture
def plain(tmp_path: Path) -> Setup:
    """Twelve steps in fp32."""
    write_shards(tmp_path)
    return Setup(tmp_path, model=WIDE, every=4, compute=replace(EMULATED, fp8=None))


def linears(made: Trainer) -> dict[str, type]:
    """Linear layers by name, as they compute."""
    (module,) = made.parts.engine.modules
    return {
        name.removeprefix("model."): type(part) for name, part in module.named_modules() if isinstance(part, nn.Linear)
    }


def test_the_blocks_matrices_are_converted_and_nothing_else(plain: Setup) -> None:
    found = linears(trainer(replace(plain, compute=EMULATED)))
    converted = {f"blocks.{layer}.{name}" for layer in range(2) for name in MASTERS}
    assert {name for name, kind in found.items() if kind is Float8Linear} == converted
    assert {name for name, kind in found.items() if kind is nn.Linear} == {"output"}
    assert set(linears(trainer(plain)).values()) == {nn.Linear}


def test_the_loss_falls_close_to_fp32_and_not_on_it(plain: Setup, tmp_path: Path) -> None:
    text = plain.folder, fresh(tmp_path / "fp8")
    for folder in text:
        counting(folder)
    exact, eight = trainer(plain), trainer(replace(plain, folder=text[1], compute=EMULATED))
    assert exact.run()
    assert eight.run()
    expected, found = ([step.loss for step in heard(made)] for made in (exact, eight))
    assert found[-1] < found[0] - 1
    assert found == pytest.approx(expected, rel=1e-2)
    assert found != expected


def counting(folder: Path) -> None:
    """Tokens of which each one says what comes next."""
    for file in folder.glob("*.bin"):
        (np.arange(file.stat().st_size // 2) % 61 + 1).astype("<u2").tofile(file)


def fresh(folder: Path) -> Path:
    folder.mkdir()
    write_shards(folder)
    return folder


def test_what_is_kept_is_what_is_kept_without_and_either_may_go_on(plain: Setup, tmp_path: Path) -> None:
    """Names, types and shapes of a checkpoint; a stop changes no bit; fp32 goes on from it; an export reads masters."""
    eight = replace(plain, compute=EMULATED)
    whole = trainer(replace(eight, folder=fresh(tmp_path / "whole")))
    assert whole.run()
    calls = iter([False] * 4 + [True])
    assert not trainer(eight, stop=lambda: next(calls)).run()
    rest = trainer(eight)
    assert rest.step == 5
    assert rest.run()
    assert same(weights(rest), weights(whole))
    back = trainer(plain)
    assert back.step == rest.step == 12
    assert same(weights(back), weights(rest))
    assert {tensor.dtype for tensor in weights(rest).values()} == {torch.float32}
    newest = rest.parts.checkpoints.archive.newest()
    assert newest is not None
    exported = read_model(rest.parts.checkpoints.archive.store, newest)
    assert same(
        exported, {name.removeprefix("model/"): t for name, t in weights(rest).items() if name.startswith("model/")}
    )


def losses(rank: int, setups: dict[str, Setup]) -> dict[str, Any]:
    answers = {}
    for name, setup in setups.items():
        made = in_mesh(setup)
        made.run()
        answers[name] = [step.loss for step in heard(made)]
        torch.distributed.barrier()
    return answers


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_shards_replicas_and_parts_of_sequences_multiply_in_fp8(plain: Setup, tmp_path: Path) -> None:
    """Scales are those of a process's own operands, so that losses agree to about 1 % only; blocks are recomputed."""
    meshes = {"fsdp2": Layout(data=2, sharding=Sharding.FSDP2, shard=2), "ddp": Layout(data=2, sharding=Sharding.DDP),
              "context": Layout(context=2, sharding=Sharding.FSDP2)}  # fmt: skip
    plan = replace(EMULATED, recompute=Recompute.ALTERNATE)
    setups = {name: replace(plain, folder=fresh(tmp_path / name), layout=layout, steps=4, compute=plan)
              for name, layout in meshes.items()}  # fmt: skip
    exact = trainer(replace(plain, steps=4))
    exact.run()
    expected = [step.loss for step in heard(exact)]
    for answers in worlds(2, tmp_path, losses, setups):
        for name in meshes:
            assert answers[name] == pytest.approx(expected, rel=1e-2)
            assert answers[name] != expected


def asked(**changes: Any) -> Training:
    cluster = {"planRef": {"name": "p"}, "workers": {"replicas": 2, "acceleratorsPerWorker": 1}}
    return Training.model_validate({"cluster": cluster, "tokens": 4096, "precision": "Fp8Mixed"} | changes)


def refused(model: ModelConfig = LONG, accelerators: bool = True, **changes: Any) -> str:
    with pytest.raises(StageError) as error:
        check_fp8(asked(**changes), model, accelerators)
    assert error.value.reason == "NoFp8"
    return error.value.message


def test_sizes_meshes_and_cpus_are_refused_with_the_arithmetic() -> None:
    check_fp8(asked(), LONG, True)
    check_fp8(asked(parallelism={"context": 4}), LONG, True)
    check_fp8(asked(precision="Bf16Mixed"), replace(LONG, embedding=20), False)
    assert "embedding 40 / 16 leaves 8" in refused(replace(LONG, embedding=40))
    assert "key-value heads x head width 8 / 16 leaves 8" in refused(replace(LONG, key_value_heads=1))
    assert "feed-forward width 36 / 16 leaves 4" in refused(replace(LONG, feed_forward=36))
    assert "64 / context 8 = 8 / 16 leaves 8" in refused(parallelism={"context": 8})
    assert "8 / context 1 = 8 / 16 leaves 8" in refused(sequenceRamp=[{"fromTokens": 0, "length": 8}])
    assert "`parallelism.tensor`" in refused(parallelism={"tensor": 2})
    assert "acceleratorsPerWorker" in refused(accelerators=False)


@pytest.mark.parametrize("product", ["A100-SXM-80GB", "NVIDIA-A100-SXM4-80GB", "V100-SXM2-32GB", "MI300X", "TPUv5p"])
def test_a_plan_whose_accelerator_has_no_fp8_is_refused(product: str) -> None:
    with pytest.raises(StageError, match=r"compute capability 8.9 or above .* the plan has .* use Bf16Mixed"):
        check_accelerator(asked(), product)
    check_accelerator(asked(precision="Bf16Mixed"), product)


@pytest.mark.parametrize("product", ["H100-SXM-80GB", "NVIDIA-H200", "L40S", "B200-SXM-180GB", "somebody's own", None])
def test_one_that_has_it_or_that_the_table_does_not_know_is_left_to_the_process(product: str | None) -> None:
    check_accelerator(asked(), product)


def test_the_table_knows_fp8_by_nvidias_generations() -> None:
    """Compute capabilities by NVIDIA's list: Ada 8.9, Hopper 9.0, Blackwell 10.0 to 12.0; Ampere 8.0 and 8.6."""
    generations = ("RTX-4090", "RTX-5090", "RTX-6000-Ada", "L4", "H100", "H800", "H20", "GH200", "B100", "B200", "GB200",
                   "B300", "GB300")  # fmt: skip
    assert {name for name, chip in chips().items() if chip.fp8} == {n for n in chips() if n.startswith(generations)}


def test_an_image_without_torchao_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fp8, "LIBRARY", "no_such_library")
    with pytest.raises(StageError, match="the image has no no_such_library"):
        check_accelerator(asked(), "H100-SXM-80GB")


def test_a_process_refuses_a_device_that_cannot() -> None:
    with pytest.raises(StageError, match="computes on `cpu`"):
        products_of(torch.device("cpu"))
    with pytest.raises(StageError, match=r"needs compute capability 8.9 or above, NVIDIA A100 has 8.0"):
        check_capability("NVIDIA A100", (8, 0))
    check_capability("NVIDIA L4", (8, 9))
    check_capability("NVIDIA H100", (9, 0))
