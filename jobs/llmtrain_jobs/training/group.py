"""The processes that train together, and their place in the mesh."""

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from llmtrain.api.training import Sharding
from llmtrain_jobs.training import gloo
from llmtrain_jobs.training.layout import Layout

REPLICATE, SHARD, PIPELINE, TENSOR, CONTEXT = "replicate", "shard", "pipeline", "tensor", "context"


@dataclass(frozen=True)
class Group:
    """This process among all; the default is one process alone, which needs no torch.distributed."""

    layout: Layout = field(default_factory=Layout)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    mesh: DeviceMesh | None = None
    """Dimensions pipeline, replicate, shard, tensor, outermost first. Processes that divide sequences are neighbours in
    the innermost of replicate and shard that has several: the state is shared among them as among replicas."""
    context: DeviceMesh | None = None
    """The processes that divide the same sequences."""
    control: Any = None
    """A gloo group of everybody, for checkpoints and messages."""

    @property
    def rank(self) -> int:
        """Of this process among all."""
        return dist.get_rank() if self.mesh is not None else 0

    @property
    def data_rank(self) -> int:
        """Which share of each batch this process computes, or takes part in."""
        return self._part // self.layout.context

    @property
    def section(self) -> int:
        """Which part of each of its sequences this process computes."""
        return self._part % self.layout.context

    @property
    def _part(self) -> int:
        return self.place(REPLICATE) * self._size(SHARD) + self.place(SHARD)

    def place(self, dimension: str) -> int:
        """Coordinate in one dimension."""
        return int(self.mesh.get_local_rank(dimension)) if self.mesh is not None else 0

    def _size(self, dimension: str) -> int:
        return int(self.mesh[dimension].size()) if self.mesh is not None else 1

    def add(self, tensor: Tensor) -> Tensor:
        """Sum over all processes, in place."""
        if self.mesh is not None:
            dist.all_reduce(tensor)
        return tensor


def join(layout: Layout, device: torch.device) -> Group:
    """The group of a torch.distributed that is initialised; one process alone where it is not."""
    if not dist.is_initialized():
        return Group(layout, device)
    shard = layout.shard * layout.context if layout.sharding is not Sharding.DDP else 1
    sizes = (layout.pipeline, layout.parts // shard, shard, layout.tensor)
    names = (PIPELINE, REPLICATE, SHARD, TENSOR)
    backends: dict[int | str, Any] | None = dict.fromkeys(names, gloo.register()) if device.type == "cpu" else None
    mesh = init_device_mesh(device.type, sizes, mesh_dim_names=names, backend_override=backends)
    # Checkpoints are written beside the steps, so their messages must not mix with the steps' own.
    return Group(layout, device, mesh, divided(layout, device), dist.new_group(backend="gloo"))


def divided(layout: Layout, device: torch.device) -> DeviceMesh | None:
    """The processes that have the same sequences as this one, each a part of them; None where none are divided."""
    if layout.context == 1:
        return None
    places = torch.arange(layout.world).view(-1, layout.context, layout.tensor)
    ranks = places.transpose(1, 2).flatten(0, 1)
    backend = gloo.register() if device.type == "cpu" else None
    enumerate_groups: Any = dist.new_subgroups_by_enumeration
    mine, _ = enumerate_groups(ranks.tolist(), backend=backend)
    return DeviceMesh.from_group(mine, device.type, mesh_dim_names=(CONTEXT,))
