"""Electricity of a cluster, the building's losses included."""

from llmtrain.cost import assumptions as a
from llmtrain.cost.assumptions import Assumption
from llmtrain.cost.duration import chip_of
from llmtrain.cost.owned import OwnedInputs
from llmtrain.cost.work import Cluster


def kilowatts(cluster: Cluster) -> float:
    """Average power while the cluster is up, kW."""
    if cluster.accelerators:
        return cluster.accelerators * accelerator_kilowatts(cluster)
    cores = sum(group.count * float(group.cpu) for group in cluster.pods)
    return cores * a.KW_PER_CORE * a.RENTED_PUE


def owned_kilowatts(owned: OwnedInputs) -> float:
    """Of one owned accelerator at work with its share of the server, kW, the building's losses included."""
    return owned.power_kw_per_accelerator * owned.load_share * owned.pue


def accelerator_kilowatts(cluster: Cluster) -> float:
    """Of one accelerator with its share of the server: the owner's figures, else the table's."""
    owned = cluster.plan.owned
    if owned is not None:
        return owned_kilowatts(owned)
    chip = chip_of(cluster)
    server = chip.server_kw if chip.server_kw is not None else chip.peak_tflops * a.KW_PER_TFLOPS
    return server * a.LOAD_SHARE * a.RENTED_PUE


def energy_assumption(cluster: Cluster) -> Assumption | None:
    """What the power rests on; None where the plan gives it."""
    if cluster.accelerators == 0:
        return a.CPU_POWER
    if cluster.plan.owned is not None:
        return None
    return a.RENTED_POWER if chip_of(cluster).server_kw is not None else a.UNKNOWN_POWER
