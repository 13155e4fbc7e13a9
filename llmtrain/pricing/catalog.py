"""ComputePlans from a price list in the columns of the SkyPilot catalog, one row an instance type and region.

An instance with accelerators becomes a plan per accelerator-hour: its price over its accelerators, for its cores and
memory come with them. An instance without becomes a plan of CPUs: its price is split in OpenCost's default ratio of
core to GiB (0.031611 : 0.004237 [OpenCost specification, appendix A]), so that the parts add up to the price.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from llmtrain.api.plan import Accelerator, Commitment, PlanSpec, Rented, Source, Tenure
from llmtrain.cost.errors import InputError
from llmtrain.cost.tables import chips

COLUMNS = ("InstanceType", "AcceleratorName", "AcceleratorCount", "vCPUs", "MemoryGiB", "Price", "Region", "SpotPrice")
PRODUCTS = {
    "H100": "H100-SXM-80GB", "H100-SXM": "H100-SXM-80GB", "H100-80GB": "H100-SXM-80GB", "H100-MEGA-80GB": "H100-SXM-80GB",
    "H200": "H200-SXM-141GB", "H200-SXM": "H200-SXM-141GB", "A100": "A100-SXM-40GB", "A100-80GB": "A100-SXM-80GB",
    "A100-80GB-SXM": "A100-SXM-80GB", "B200": "B200-SXM-180GB", "V100-32GB": "V100-SXM2-32GB", "GH200": "GH200-96GB",
    "A6000": "RTX-A6000", "RTX4090": "RTX-4090", "RTX3090": "RTX-3090", "RTX6000-Ada": "RTX-6000-Ada", "RTXA6000": "RTX-A6000",
}  # fmt: skip
"""The catalog's names where they are not those of the accelerator table."""
FORMS = {
    ("H100", "PCIe"): "H100-PCIe-80GB", ("H100-80GB", "PCIe"): "H100-PCIe-80GB", ("H100", "NVL"): "H100-NVL-94GB",
    ("A100-80GB", "PCIe"): "A100-PCIe-80GB",
}  # fmt: skip
"""Slower forms under the same name, told apart by what GpuInfo says."""
CORE_SHARE, GIB_SHARE = Decimal("0.031611"), Decimal("0.004237")
PRECISION = Decimal("0.000001")


@dataclass(frozen=True)
class Wanted:
    """Which rows become plans; empty: all. `provider` and `date` go into names and sources."""

    provider: str
    date: str
    accelerators: Sequence[str] = ()
    regions: Sequence[str] = ()
    commitment: Commitment = Commitment.ON_DEMAND


@dataclass(frozen=True)
class Offer:
    """One row that has a price."""

    instance: str
    accelerator: str
    product: str
    count: Decimal
    cores: Decimal
    memory_gib: Decimal
    region: str
    price: Decimal


@dataclass(frozen=True)
class Imported:
    """Plans by name, and accelerators that the table does not know with how many rows each."""

    plans: Mapping[str, PlanSpec]
    unknown: Mapping[str, int]


def import_catalog(text: str, wanted: Wanted) -> Imported:
    """The cheapest offer of every product and region as a plan; InputError names line and column."""
    reader = csv.DictReader(io.StringIO(text))
    missing = [column for column in COLUMNS if column not in (reader.fieldnames or [])]
    if missing:
        raise InputError("(first line)", f"must name the columns {', '.join(COLUMNS)}; missing: {', '.join(missing)}")
    offers = [offer for line, row in enumerate(reader, start=2) if (offer := _offer(row, line, wanted)) is not None]
    known = [offer for offer in offers if not offer.accelerator or offer.product in chips()]
    unknown: dict[str, int] = {}
    for offer in offers:
        if offer not in known:
            unknown[offer.accelerator] = unknown.get(offer.accelerator, 0) + 1
    return Imported({_name(offer, wanted): _plan(offer, wanted) for offer in _cheapest(known)}, unknown)


def product_of(accelerator: str, gpu_info: str) -> str:
    """The accelerator table's name."""
    forms = (product for (name, form), product in FORMS.items() if name == accelerator and form in gpu_info)
    return next(forms, PRODUCTS.get(accelerator, accelerator))


def _offer(row: Mapping[str, str], line: int, wanted: Wanted) -> Offer | None:
    """The row as numbers; None where it is not wanted or has no such price."""
    price = row["SpotPrice" if wanted.commitment is Commitment.SPOT else "Price"]
    accelerator, region = row["AcceleratorName"] or "", row["Region"] or ""
    filters = ((wanted.accelerators, accelerator), (wanted.regions, region))
    if not price or any(allowed and value not in allowed for allowed, value in filters):
        return None
    return Offer(
        instance=row["InstanceType"] or "",
        accelerator=accelerator,
        product=product_of(accelerator, row.get("GpuInfo") or ""),
        count=_number(row, "AcceleratorCount", line) if accelerator else Decimal(0),
        cores=_number(row, "vCPUs", line),
        memory_gib=_number(row, "MemoryGiB", line),
        region=region,
        price=_positive(price, "Price", line),
    )


def _number(row: Mapping[str, str], column: str, line: int) -> Decimal:
    return _positive(row[column] or "0", column, line)


def _positive(text: str, column: str, line: int) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise InputError(f"line {line}, {column}", f"must be a number, not {text!r}") from error
    if not value.is_finite() or value < 0:
        raise InputError(f"line {line}, {column}", f"must not be negative, it is {text}")
    return value


def _hour(offer: Offer) -> Decimal:
    """US dollars per accelerator-hour; of an instance without, per core-hour with its memory."""
    units = offer.count or offer.cores
    if units == 0:
        raise InputError(f"{offer.instance}, vCPUs", "must be above 0 where AcceleratorCount is not")
    return offer.price / units


def _cheapest(offers: Iterable[Offer]) -> list[Offer]:
    best: dict[tuple[str, str], Offer] = {}
    for offer in offers:
        key = (offer.product, offer.region)
        if key not in best or _hour(offer) < _hour(best[key]):
            best[key] = offer
    return [best[key] for key in sorted(best)]


def _name(offer: Offer, wanted: Wanted) -> str:
    slower = offer.product in FORMS.values()
    parts = [wanted.provider, (offer.product if slower else offer.accelerator) or "cpu", offer.region]
    parts += ["spot"] if wanted.commitment is Commitment.SPOT else []
    return re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")[:63].strip("-")


def _plan(offer: Offer, wanted: Wanted) -> PlanSpec:
    source = Source(name=f"SkyPilot catalog, {wanted.provider} {offer.instance} {offer.region}"[:253], date=wanted.date)
    if not offer.accelerator:
        unit = offer.price / (offer.cores * CORE_SHARE + offer.memory_gib * GIB_SHARE)
        rented = Rented(
            commitment=wanted.commitment,
            cpu_hour_usd=_decimal(unit * CORE_SHARE),
            memory_gib_hour_usd=_decimal(unit * GIB_SHARE),
            source=source,
        )
        return PlanSpec(tenure=Tenure.RENTED, rented=rented)
    return PlanSpec(
        tenure=Tenure.RENTED,
        accelerator=Accelerator(product=offer.product, per_node=max(1, int(offer.count))),
        rented=Rented(commitment=wanted.commitment, accelerator_hour_usd=_decimal(_hour(offer)), source=source),
    )


def _decimal(value: Decimal) -> str:
    return format(value.quantize(PRECISION), "f")
