"""A part of each sequence, which context parallelism leaves to a process. The default is the whole sequence."""

from dataclasses import dataclass

from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard

SEQUENCE = 2
"""Dimension of positions in (B, G, T, K)."""


@dataclass(frozen=True)
class Share:
    """Part `index` of `count` equal parts that follow one another; `mesh` (one dimension) has the processes of all."""

    index: int = 0
    count: int = 1
    mesh: DeviceMesh | None = None

    def own(self, length: int) -> slice:
        """Where `length` positions of this process stand in the whole sequence."""
        return slice(self.index * length, (self.index + 1) * length)

    def whole(self, x_BGTK: Tensor) -> Tensor:
        """Everybody's parts as one sequence, (B, G, S, K); backwards, the sum of everybody's gradients of this part."""
        if self.mesh is None:
            return x_BGTK
        spread = DTensor.from_local(x_BGTK, self.mesh, [Shard(SEQUENCE)], run_check=False)
        gathered: DTensor = spread.redistribute(placements=[Replicate()])
        whole_BGSK: Tensor = gathered.to_local(grad_placements=[Partial()])
        return whole_BGSK


WHOLE = Share()
