"""The ledger in the columns of FOCUS 1.2, the FinOps Open Cost and Usage Specification: all of them, null where there is nothing.

One charge a row. Its price is what the ledger billed, so list, contracted, effective and billed cost are one number. What is
bought for later is on no row: a reserved plan's hours are charged as they are used, at its price. Lines without times, of
what was carried over, take the period that is asked for.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from llmtrain.api import GROUP
from llmtrain.cost.money import WIDE
from llmtrain.cost.periods import month_bounds
from llmtrain.ledger.csvfile import exact_usd, write
from llmtrain.ledger.grouping import row_id
from llmtrain.ledger.lines import SETTLED, UNVERIFIED, Line
from llmtrain.ledger.unitprice import Priced, priced_charge, priced_hours

COLUMNS = (
    "AvailabilityZone", "BilledCost", "BillingAccountId", "BillingAccountName", "BillingAccountType", "BillingCurrency",
    "BillingPeriodEnd", "BillingPeriodStart", "CapacityReservationId", "CapacityReservationStatus", "ChargeCategory",
    "ChargeClass", "ChargeDescription", "ChargeFrequency", "ChargePeriodEnd", "ChargePeriodStart",
    "CommitmentDiscountCategory", "CommitmentDiscountId", "CommitmentDiscountName", "CommitmentDiscountQuantity",
    "CommitmentDiscountStatus", "CommitmentDiscountType", "CommitmentDiscountUnit", "ConsumedQuantity", "ConsumedUnit",
    "ContractedCost", "ContractedUnitPrice", "EffectiveCost", "InvoiceId", "InvoiceIssuerName", "ListCost",
    "ListUnitPrice", "PricingCategory", "PricingCurrency", "PricingCurrencyContractedUnitPrice",
    "PricingCurrencyEffectiveCost", "PricingCurrencyListUnitPrice", "PricingQuantity", "PricingUnit", "ProviderName",
    "PublisherName", "RegionId", "RegionName", "ResourceId", "ResourceName", "ResourceType", "ServiceCategory",
    "ServiceName", "ServiceSubcategory", "SkuId", "SkuMeter", "SkuPriceDetails", "SkuPriceId", "SubAccountId",
    "SubAccountName", "SubAccountType", "Tags",
    "x_RowId", "x_State", "x_Stage", "x_Role", "x_Pods", "x_BilledSeconds", "x_AcceleratorSeconds",
)  # fmt: skip
"""Those of FOCUS by the alphabet, then our own."""
RESERVED = "Reserved"
CATEGORY = {"Rented": "Standard", "OnDemand": "Standard", RESERVED: "Committed", "Spot": "Dynamic"}
"""PricingCategory by how it is rented; Other for owned plans, whose hours have a cost and no price."""
ACCELERATOR_HOURS, POD_HOURS, CHARGES = "Accelerator-Hours", "Pod-Hours", "Charges"
CORRECTION = "Correction"
METER = "Compute Usage"
NO_PLAN = "unpriced"
"""In place of a plan's name, where the pods had none."""
TOLD = {SETTLED: "settled", UNVERIFIED: "carried over, unverified", "Open": "open", "Closed": "closed"}


class FocusError(ValueError):
    """A line that cannot be a charge; the message says which, and why."""


@dataclass(frozen=True)
class Charge:
    """A line, from when to when it was incurred (UTC, the end is not in it), and in which period it is billed.

    A correction is one of what an earlier period, which is closed, has had. `invoice` is the id of the invoice that it is
    on, if there is one.
    """

    line: Line
    start: datetime
    end: datetime
    billing_start: datetime
    billing_end: datetime
    correction: bool = False
    invoice: str = ""


def charge_of(line: Line, now: datetime) -> Charge:
    """The whole line as one charge of its month, or, where nobody knows that, of the one that it began in; `now` ends what is not over.

    Of a stage that ran in other months too the charge is incurred within its own. FocusError names a bad time.
    """
    try:
        start, end = _time(line.start) or month_start(now), _time(line.end) or now
        begin, until = month_bounds(line.month) if line.month else (month_start(start), next_month(start))
    except ValueError as error:
        raise FocusError(f"job {line.namespace}/{line.job}, stage {line.stage}: {error}") from error
    if line.month:
        start, end = min(max(start, begin), until), min(end, until)
    return Charge(line, start, max(start, end), begin, until)


def focus_csv(lines: Iterable[Line], now: datetime) -> str:
    """Lines as FOCUS rows. `now` ends the charge period of what is not over."""
    return charges_csv(charge_of(line, now) for line in lines)


def charges_csv(charges: Iterable[Charge]) -> str:
    """Charges as FOCUS rows, in their order. Should two have one id, the later ones say which they are."""
    seen: Counter[str] = Counter()
    rows = []
    for row in map(focus_row, charges):
        seen[row["x_RowId"]] += 1
        times = seen[row["x_RowId"]]
        rows.append(row | {"x_RowId": f"{row['x_RowId']}-{times}"} if times > 1 else row)
    return write(COLUMNS, rows)


def focus_row(charge: Charge) -> dict[str, str]:
    """One charge; columns that are null are left out."""
    priced, unit = priced_of(charge.line)
    parts = (
        _money(charge, priced, unit),
        _when(charge),
        _who(charge.line),
        {"ChargeDescription": described(charge, priced, unit)},
        _sku(charge.line, unit),
        _commitment(charge.line, priced, unit),
        _own(charge),
    )
    return {name: value for part in parts for name, value in part.items() if value}


def priced_of(line: Line) -> tuple[Priced, str]:
    """Price and quantity: accelerator-hours, pod-hours where there is no accelerator, one charge where nothing was billed."""
    seconds, unit = (line.accelerator_seconds, ACCELERATOR_HOURS) if line.accelerator_seconds else (
        line.billed_seconds, POD_HOURS)  # fmt: skip
    priced = priced_hours(line.cost_micro_usd, seconds, line.pods)
    return (priced, unit) if priced else (priced_charge(line.cost_micro_usd), CHARGES)


def _money(charge: Charge, priced: Priced, unit: str) -> dict[str, str]:
    cost, price = exact_usd(charge.line.cost_micro_usd), f"{priced.unit_price:f}"
    costs = ("BilledCost", "ContractedCost", "EffectiveCost", "ListCost", "PricingCurrencyEffectiveCost")
    prices = (
        "ContractedUnitPrice",
        "ListUnitPrice",
        "PricingCurrencyContractedUnitPrice",
        "PricingCurrencyListUnitPrice",
    )
    return dict.fromkeys(costs, cost) | dict.fromkeys(prices, price) | {
        "BillingCurrency": "USD",
        "PricingCurrency": "USD",
        "PricingQuantity": f"{priced.quantity:f}",
        "PricingUnit": unit,
        "ConsumedQuantity": f"{Decimal(charge.line.pod_seconds):.6f}",
        "ConsumedUnit": "Seconds",
    }  # fmt: skip


def _when(charge: Charge) -> dict[str, str]:
    return {
        "BillingPeriodStart": _text(charge.billing_start),
        "BillingPeriodEnd": _text(charge.billing_end),
        "ChargePeriodStart": _text(charge.start),
        "ChargePeriodEnd": _text(charge.end),
        "ChargeCategory": "Usage",
        "ChargeClass": CORRECTION if charge.correction else "",
        "ChargeFrequency": "Usage-Based",
        "InvoiceId": charge.invoice,
    }


def described(charge: Charge, priced: Priced, unit: str) -> str:
    """What was paid for, at which price, and how sure that is."""
    line = charge.line
    labels = ", ".join(f"{key}={value}" for key, value in line.labels.items())
    many = f"jobs with {labels}" if labels else "deleted jobs" if line.state == UNVERIFIED else "jobs"
    sure = "correction" if charge.correction else TOLD.get(line.state, "provisional")
    price = f"{priced.unit_price.normalize(WIDE):f} USD"
    return f"{line.stage} {line.role} pods of {line.job or many} on {line.plan or NO_PLAN} at {price} per {unit[:-1]}, {sure}"


def _who(line: Line) -> dict[str, str]:
    plan = line.plan or NO_PLAN
    space = ("BillingAccount", "SubAccount")
    return {f"{kind}{part}": line.namespace for kind in space for part in ("Id", "Name")} | {
        "BillingAccountType": "Namespace",
        "SubAccountType": "Namespace",
        "InvoiceIssuerName": plan,
        "ProviderName": plan,
        "PublisherName": plan,
        "ResourceId": line.uid,
        "ResourceName": line.job if line.uid else "",
        "ResourceType": "LLMTrainingJob" if line.uid else "",
        "Tags": tags(line),
    }  # fmt: skip


def tags(line: Line) -> str:
    """The job's labels as they are, and what the ledger tells lines apart by, under a prefix of ours."""
    own = {"job": line.job, "role": line.role, "stage": line.stage, "tenure": line.tenure}
    return _json(dict(line.labels) | {f"{GROUP}/{key}": value for key, value in own.items() if value})


def _sku(line: Line, unit: str) -> dict[str, str]:
    plan = line.plan or NO_PLAN
    details: dict[str, str | int] = {"x_Tenure": line.tenure, "x_Commitment": line.commitment}
    if unit == ACCELERATOR_HOURS:
        details |= {"GpuCount": 1, "x_Accelerator": line.accelerator}
    return {
        "PricingCategory": CATEGORY.get(line.commitment or line.tenure, "Other"),
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": f"LLM {line.stage}",
        "ServiceSubcategory": "Machine Learning",
        "SkuId": plan,
        "SkuMeter": METER,
        "SkuPriceDetails": _json({key: value for key, value in details.items() if value}),
        "SkuPriceId": "/".join(part for part in (plan, line.tenure, unit) if part),
    }


def _commitment(line: Line, priced: Priced, unit: str) -> dict[str, str]:
    """What the hours of a reserved plan were drawn from: the plan is the commitment."""
    if RESERVED not in (line.commitment, line.tenure):
        return {}
    return {
        "CommitmentDiscountCategory": "Usage",
        "CommitmentDiscountId": f"{GROUP}/computeplans/{line.plan}/{unit}",
        "CommitmentDiscountName": line.plan,
        "CommitmentDiscountQuantity": f"{priced.quantity:f}",
        "CommitmentDiscountStatus": "Used",
        "CommitmentDiscountType": RESERVED,
        "CommitmentDiscountUnit": unit,
    }


def _own(charge: Charge) -> dict[str, str]:
    line = charge.line
    return {
        "x_RowId": row_id(line, _text(charge.billing_start), f"{CORRECTION} {line.month}" if charge.correction else ""),
        "x_State": line.state,
        "x_Stage": line.stage,
        "x_Role": line.role,
        "x_Pods": str(line.pods),
        "x_BilledSeconds": str(line.billed_seconds),
        "x_AcceleratorSeconds": str(line.accelerator_seconds),
    }


def month_start(time: datetime) -> datetime:
    """First moment of the month."""
    return datetime(time.year, time.month, 1, tzinfo=UTC)


def next_month(time: datetime) -> datetime:
    """First moment of the month after."""
    return datetime(time.year + time.month // 12, time.month % 12 + 1, 1, tzinfo=UTC)


def _json(values: dict[str, str] | dict[str, str | int]) -> str:
    return json.dumps(values, sort_keys=True) if values else ""


def _time(text: str) -> datetime | None:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC) if text else None


def _text(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
