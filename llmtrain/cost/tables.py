"""The dated tables that ship with the package: `llmtrain/cost/data/`, whose README says where the rows come from."""

import csv
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files

from llmtrain.cost.chips import Chip
from llmtrain.cost.errors import InputError

Row = dict[str, str]


@lru_cache
def rows(name: str) -> tuple[Row, ...]:
    """All rows of a table, by column."""
    text = (files("llmtrain.cost") / "data" / f"{name}.csv").read_text()
    return tuple(csv.DictReader(text.splitlines()))


@lru_cache
def chips() -> dict[str, Chip]:
    """Accelerators by name."""
    return {row["name"]: _chip(row) for row in rows("accelerators")}


def chip(product: str) -> Chip:
    """An accelerator by the table's name or by the product label of its nodes; InputError if there is none."""
    found = chips().get(product) or next((c for c in chips().values() if product and c.label == product), None)
    if found is None:
        near = get_close_matches(product, chips(), n=3, cutoff=0.4)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        allowed = "a name of the accelerator table, or give `spec.accelerator.peakTflops` and `memoryGib`"
        raise InputError("spec.accelerator.product", f"unknown accelerator `{product}`; allowed is {allowed}{hint}")
    return found


def _chip(row: Row) -> Chip:
    return Chip(
        name=row["name"],
        peak_tflops=float(row["bf16_dense_tflops"]),
        memory_gb=float(row["mem_gb"]),
        server_kw=_server_kw(row),
        label=row["k8s_product_label"],
        fp8=row["vendor"] == "NVIDIA" and _number(row["fp8_dense_tflops"]) is not None,
        price_usd=_number(row["price_per_gpu_usd"]),
        price_date=row["price_date"],
        source=row["source"],
    )


def _server_kw(row: Row) -> float | None:
    """Power of an eighth of a server; without one, 1.8 times the chip's [Cottier et al. 2024]; unknown is unknown."""
    server = _number(row["server_kw_8gpu"])
    if server is not None:
        return server / 8
    chip_watts = _number(row["tdp_w"])
    return None if chip_watts is None else 1.8 * chip_watts / 1000


def _number(text: str) -> float | None:
    """A plain number; a cell that holds a remark is no number."""
    try:
        return float(text)
    except ValueError:
        return None
