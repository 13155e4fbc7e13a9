"""The model as one process holds it: its blocks recomputed, compiled, sharded or replicated."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from llmtrain.api.training import Recompute, Sharding
from llmtrain_jobs.model.share import Share
from llmtrain_jobs.model.transformer import Transformer
from llmtrain_jobs.training.fp8 import multiply_in_fp8
from llmtrain_jobs.training.group import REPLICATE, SHARD, Group
from llmtrain_jobs.training.tensor import share_matrices


@dataclass(frozen=True)
class ComputePlan:
    """The spec's choices of how a step is computed."""

    micro_batch_tokens: int = 8192
    micro_batch_sequences: int = 0
    recompute: Recompute = Recompute.NONE
    compile: bool = False
    loss_chunk_tokens: int = 4096
    z_loss: float = 0.0
    bf16: bool = False
    fp8: Any = None
    """torchao's Float8LinearConfig, where the blocks multiply in fp8."""

    def rows(self, length: int) -> int:
        """Sequences of `length` that are computed at once."""
        return self.micro_batch_sequences or max(1, self.micro_batch_tokens // length)


class Recomputed(nn.Module):
    """A block whose activations are computed again in the backward pass."""

    def __init__(self, block: nn.Module) -> None:
        """Parameters keep their names: `names.clean` knows this wrapper."""
        super().__init__()
        self._checkpoint_wrapped_module = block

    def forward(self, *arguments: object) -> Tensor:
        """The block's."""
        out: Tensor = checkpoint(self._checkpoint_wrapped_module, *arguments, use_reentrant=False)
        return out


def wrapped(module: nn.Module, group: Group, plan: ComputePlan) -> nn.Module:
    """An objective or a pipeline's part, as this process trains it. `module.model` is the transformer."""
    module.to(group.device)
    model = module.get_submodule("model")
    assert isinstance(model, Transformer)
    if plan.fp8 is not None:
        multiply_in_fp8(model.blocks, plan.fp8)
    share_matrices(model, group)
    share_sequences(model, group)
    for name, block in list(model.blocks.items()):
        model.blocks[name] = prepared(block, int(name), plan)
    return distributed(module, list(model.blocks.values()), group, plan)


def share_sequences(model: Transformer, group: Group) -> None:
    """Tell a transformer which part of each sequence it will be given, in place."""
    if group.context is not None:
        model.share = Share(group.section, group.layout.context, group.context)


def prepared(block: nn.Module, index: int, plan: ComputePlan) -> nn.Module:
    """One block: recomputed and compiled as planned."""
    if plan.recompute is Recompute.FULL or (plan.recompute is Recompute.ALTERNATE and index % 2):
        block = Recomputed(block)
    if plan.compile:
        block.compile()
    return block


def distributed(module: nn.Module, blocks: list[nn.Module], group: Group, plan: ComputePlan) -> nn.Module:
    """Data parallelism around everything."""
    layout = group.layout
    if not is_sharded(group):
        return replicated(module, group)
    assert group.mesh is not None, "what is sharded has a mesh"
    names = (REPLICATE, SHARD) if layout.sharding is Sharding.HSDP else (SHARD,)
    mesh = group.mesh[names]
    policy = MixedPrecisionPolicy()
    if plan.bf16:
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for block in blocks:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(module, mesh=mesh, mp_policy=policy)
    return module


def is_sharded(group: Group) -> bool:
    """Whether FSDP2 holds the parameters; it also settles where the gradients of tensor parallelism lie."""
    layout = group.layout
    return group.mesh is not None and layout.sharding is not Sharding.DDP and layout.parts * layout.tensor > 1


def replicated(module: nn.Module, group: Group) -> nn.Module:
    """A whole copy in each process that computes a part of the loss."""
    if group.layout.parts == 1 or group.mesh is None:
        return module
    devices = [group.device] if group.device.type == "cuda" else None
    return DistributedDataParallel(module, device_ids=devices, process_group=group.mesh.get_group(REPLICATE))


def exchange_gradients(module: nn.Module, last: bool) -> None:
    """Exchange gradients between replicas only with the last micro-batch of a step; shards are reduced with each."""
    if isinstance(module, DistributedDataParallel):
        module.require_backward_grad_sync = last
    if isinstance(module, FSDPModule):
        module.set_requires_all_reduce(last)
        module.set_is_last_backward(last)
