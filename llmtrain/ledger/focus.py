"""The ledger in the columns of FOCUS 1.2, the FinOps Open Cost and Usage Specification.

One charge a line. Its price is what the ledger billed, so list, contracted, effective and billed cost are one number.
Lines without times, of what was carried over, take the period that is asked for.
"""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal

from llmtrain.ledger.csvfile import exact_usd, write
from llmtrain.ledger.lines import SETTLED, UNVERIFIED, Line

COLUMNS = (
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart",
    "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency", "ChargePeriodEnd", "ChargePeriodStart",
    "ConsumedQuantity", "ConsumedUnit", "ContractedCost", "ContractedUnitPrice", "EffectiveCost", "InvoiceIssuerName",
    "ListCost", "ListUnitPrice", "PricingCategory", "PricingCurrency", "PricingQuantity", "PricingUnit", "ProviderName",
    "PublisherName", "ResourceId", "ResourceName", "ResourceType", "ServiceCategory", "ServiceName", "SkuId",
    "SubAccountId", "SubAccountName", "Tags",
)  # fmt: skip
CATEGORY = {"Rented": "Standard", "Owned": "Other"}
HOUR = Decimal(3600)
TOLD = {SETTLED: "settled", UNVERIFIED: "carried over, unverified"}


def focus_csv(lines: Iterable[Line], now: datetime) -> str:
    """Lines as FOCUS rows. `now` ends the charge period of what is not over."""
    return write(COLUMNS, (focus_row(line, now) for line in lines))


def focus_row(line: Line, now: datetime) -> dict[str, str]:
    """One charge."""
    start = _time(line.start) or month_start(now)
    end = max(start, _time(line.end) or now)
    cost = exact_usd(line.cost_micro_usd)
    quantity, unit = pricing_quantity(line)
    price = str((Decimal(cost) / quantity).quantize(Decimal("0.000001"))) if quantity else "0"
    what = TOLD.get(line.state, "provisional")
    return {
        "BilledCost": cost,
        "BillingAccountId": line.namespace,
        "BillingAccountName": line.namespace,
        "BillingCurrency": "USD",
        "BillingPeriodStart": _text(month_start(start)),
        "BillingPeriodEnd": _text(next_month(start)),
        "ChargeCategory": "Usage",
        "ChargeClass": "",
        "ChargeDescription": f"{line.stage} {line.role} pods of {line.job or 'deleted jobs'} on {line.plan}, {what}",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": _text(start),
        "ChargePeriodEnd": _text(end),
        "ConsumedQuantity": str(line.pod_seconds),
        "ConsumedUnit": "Seconds",
        "ContractedCost": cost,
        "ContractedUnitPrice": price,
        "EffectiveCost": cost,
        "InvoiceIssuerName": line.plan,
        "ListCost": cost,
        "ListUnitPrice": price,
        "PricingCategory": CATEGORY.get(line.tenure, "Other"),
        "PricingCurrency": "USD",
        "PricingQuantity": str(quantity),
        "PricingUnit": unit,
        "ProviderName": line.plan,
        "PublisherName": line.plan,
        "ResourceId": line.uid,
        "ResourceName": line.job,
        "ResourceType": "LLMTrainingJob",
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": f"LLM {line.stage}",
        "SkuId": line.plan,
        "SubAccountId": line.namespace,
        "SubAccountName": line.namespace,
        "Tags": json.dumps({"job": line.job, "role": line.role, "stage": line.stage, "tenure": line.tenure}),
    }


def pricing_quantity(line: Line) -> tuple[Decimal, str]:
    """Billed accelerator-hours, or pod-hours where there is no accelerator."""
    seconds, unit = (line.accelerator_seconds, "Accelerator Hours") if line.accelerator_seconds else (
        line.billed_seconds, "Pod Hours")  # fmt: skip
    return (Decimal(seconds) / HOUR).quantize(Decimal("0.000001")), unit


def month_start(time: datetime) -> datetime:
    """First moment of the month."""
    return datetime(time.year, time.month, 1, tzinfo=UTC)


def next_month(time: datetime) -> datetime:
    """First moment of the month after."""
    return datetime(time.year + time.month // 12, time.month % 12 + 1, 1, tzinfo=UTC)


def _time(text: str) -> datetime | None:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC) if text else None


def _text(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
