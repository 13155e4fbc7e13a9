"""Tensor parallelism: each process holds a part of every matrix (Shoeybi et al. 2019), and between the matrices a part of
the sequence (Korthikanti et al. 2022).

Between the parts of the model, at its input and at its output, everybody holds everything: embeddings and losses are
computed alike in all processes of the dimension.
"""

from collections.abc import Iterator

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    PrepareModuleInput,
    PrepareModuleOutput,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)

from llmtrain_jobs.model.transformer import Block, Transformer
from llmtrain_jobs.training.group import TENSOR, Group

SEQUENCE, HEADS = 1, 1
"""Dimension of positions in (B, T, D), of heads in (B, H, T, K)."""
Plan = Iterator[tuple[str, ParallelStyle]]


def share_matrices(model: Transformer, group: Group) -> None:
    """Divide a transformer, or a pipeline's part of one, among the processes of the tensor dimension, in place."""
    if group.layout.tensor == 1 or group.mesh is None:
        return
    mesh = group.mesh[TENSOR]
    for block in model.blocks.values():
        assert isinstance(block, Block)
        apply(block, mesh, block_plan(block))
    apply(model, mesh, ends_plan(model))


def apply(module: nn.Module, mesh: DeviceMesh, plan: Plan) -> None:
    """Each style on the part that it names; two styles on one part in this order."""
    for name, style in plan:
        parallelize_module(module.get_submodule(name), mesh, style)


def block_plan(block: Block) -> Plan:
    """Norms on a part of the sequence, matrices on all of it: gathered before, summed and scattered behind."""
    part, everything = (Shard(SEQUENCE), None), (Replicate(), None)
    yield "attention", PrepareModuleInput(input_layouts=part, desired_input_layouts=everything)
    yield "feed_forward", PrepareModuleInput(input_layouts=Shard(SEQUENCE), desired_input_layouts=Replicate())
    for name in ("attention.query", "attention.key", "attention.value", "feed_forward.up"):
        yield name, ColwiseParallel()
    if block.feed_forward.gate is not None:
        yield "feed_forward.gate", ColwiseParallel()
    for name in ("attention.output", "feed_forward.down"):
        yield name, RowwiseParallel(output_layouts=Shard(SEQUENCE))
    for name, norm in block.named_modules():
        if name.endswith("norm") and not isinstance(norm, nn.Identity):
            # A norm of each head sees a part of the heads, as one of the stream sees a part of the sequence.
            dimension = HEADS if name.startswith("attention.") else SEQUENCE
            yield name, SequenceParallel(sequence_dim=dimension, use_local_output=True)


def ends_plan(model: Transformer) -> Plan:
    """From everything to a part of the sequence before the first block, and back behind the last one."""
    names = list(model.blocks)
    first, last = names[0], names[-1]
    if model.embedding is not None:
        yield "embedding.tokens", RowwiseParallel(input_layouts=Replicate(), output_layouts=Replicate())
    yield (
        f"blocks.{first}",
        PrepareModuleInput(
            input_layouts=(Replicate(), None), desired_input_layouts=(Shard(SEQUENCE), None), use_local_output=True
        ),
    )
    whole = PrepareModuleOutput(output_layouts=Shard(SEQUENCE), desired_output_layouts=Replicate())
    if model.norm is None:
        yield f"blocks.{last}", whole
        return
    if not isinstance(model.norm, nn.Identity):
        yield "norm", SequenceParallel(use_local_output=True)
    yield "norm", whole
    if model.output is not None:
        yield "output", ColwiseParallel(input_layouts=Replicate(), output_layouts=Replicate())
