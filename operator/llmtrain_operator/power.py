"""Electricity of a pod's accelerators: watts fixed when its attempt begins, joules once it has ended."""

import json
from dataclasses import asdict, dataclass

from llmtrain.api.plan import PlanSpec
from llmtrain.cost.assumptions import KW_PER_TFLOPS, LOAD_SHARE, RENTED_PUE
from llmtrain.cost.errors import InputError
from llmtrain.pricing.plans import chip_of

IDLE_SHARE = 0.30
"""Of full power, of a machine that waits: the reference model's."""


@dataclass(frozen=True)
class Power:
    """Watts of all accelerators of one pod with their share of the server, the building's losses included."""

    load: int = 0
    idle: int = 0

    def to_json(self) -> str:
        """The value of annotation `llmtrain.dev/power`, a copy for people."""
        return json.dumps({f"{name}Watts": watts for name, watts in asdict(self).items()}, sort_keys=True)


NO_POWER = Power()


def pod_power(plan: PlanSpec, accelerators: int) -> Power:
    """Of a pod with so many accelerators; zero where the accelerator is unknown."""
    if plan.owned is not None:
        full = float(plan.owned.power_kw_per_accelerator) * float(plan.owned.pue)
        load, idle = float(plan.owned.load_share), float(plan.owned.idle_share)
    else:
        full, load, idle = _server_kilowatts(plan) * RENTED_PUE, LOAD_SHARE, IDLE_SHARE
    return Power(round(accelerators * full * load * 1000), round(accelerators * full * idle * 1000))


def _server_kilowatts(plan: PlanSpec) -> float:
    if plan.accelerator is None:
        return 0.0
    try:
        chip = chip_of(plan.accelerator)
    except InputError:
        return 0.0
    return chip.server_kw if chip.server_kw is not None else chip.peak_tflops * KW_PER_TFLOPS


def joules(power: Power, seconds: int, stepped: int) -> int:
    """Of a pod that lived so many seconds: full load while it `stepped`, also over work that was done before."""
    busy = min(seconds, stepped)
    return power.load * busy + power.idle * (seconds - busy)
