"""gloo for meshes of CPUs, with one thread for each group of processes.

PyTorch 2.13 gives a group two threads, and both write the name of the collective that ended last into one `std::string`
without a lock (`ProcessGroupGloo::runLoop`). DTensor's all-gathers have a name that is too long to lie in the string itself,
so that two collectives which end at the same moment free or overwrite memory that is another's. One thread writes alone.
"""

import os
from typing import Any

import torch.distributed as dist
from torch.distributed import ProcessGroupGloo

SERIAL = "serial_gloo"
INTERFACES = "GLOO_SOCKET_IFNAME"


def register() -> str:
    """Make the backend known to torch.distributed; its name."""
    if SERIAL not in dist.Backend.backend_list:
        dist.Backend.register_backend(SERIAL, create, extended_api=True, devices=["cpu"])
    return SERIAL


def create(given: Any, _: Any) -> ProcessGroupGloo:
    """A group as torch would make it, but for the number of its threads."""
    gloo: Any = ProcessGroupGloo
    options = gloo._Options()
    options._threads = 1
    options._timeout = given.timeout
    options._devices = devices()
    options.global_ranks_in_group = given.global_ranks_in_group
    options.group_name = given.group_id
    made: ProcessGroupGloo = gloo(given.store, given.group_rank, given.group_size, options)
    return made


def devices() -> list[Any]:
    """The interface that `GLOO_SOCKET_IFNAME` names first, else the one of the host's name."""
    name = os.environ.get(INTERFACES, "").split(",")[0]
    return [ProcessGroupGloo.create_device(interface=name) if name else ProcessGroupGloo.create_default_device()]
