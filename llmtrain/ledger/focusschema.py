"""The metadata of a FOCUS export that FOCUS 1.2 asks for: what each column holds, and an id that changes with that."""

import json
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from llmtrain.api import GROUP
from llmtrain.ledger.focus import COLUMNS
from llmtrain.ledger.unitprice import MOST_PLACES

CREATED = "2026-11-30T00:00:00Z"
"""When the columns became what they are."""
ENCODING = "UTF-8"
COST, HOURS = (
    {"NumericPrecision": 22, "NumberScale": 6},
    {"NumericPrecision": 16 + MOST_PLACES, "NumberScale": MOST_PLACES},
)
COUNTS = ("x_Pods", "x_BilledSeconds", "x_AcceleratorSeconds")
LONGEST = {"BillingCurrency": 3, "PricingCurrency": 3, "x_RowId": 40, "ChargeDescription": 4096}
"""Characters, of those that are not a name or a word; others are no longer than a name of Kubernetes with its parts."""
LONGEST_NAME = 512


def schema() -> dict[str, Any]:
    """The schema metadata object."""
    columns = [column(name) for name in COLUMNS]
    return {
        "SchemaId": str(uuid5(NAMESPACE_URL, json.dumps(columns, sort_keys=True))),
        "FocusVersion": "1.2",
        "CreationDate": CREATED,
        "DataGenerator": "llmtrain",
        "ColumnDefinition": columns,
    }


def column(name: str) -> dict[str, Any]:
    """Definition of one column."""
    found: dict[str, Any] = {"ColumnName": name, "DataType": data_type(name)}
    match found["DataType"]:
        case "DECIMAL":
            found |= COST if name.endswith("Cost") or name == "ConsumedQuantity" else HOURS
        case "INTEGER":
            found |= {"NumericPrecision": 19}
        case "STRING":
            found |= {"StringMaxLength": LONGEST.get(name, LONGEST_NAME), "StringEncoding": ENCODING}
        case "JSON" if name == "Tags":
            found |= {"ProviderTagPrefixes": [f"{GROUP}/"]}
    return found


def data_type(name: str) -> str:
    """By the column's name, which says it."""
    if name in ("Tags", "SkuPriceDetails"):
        return "JSON"
    if name in COUNTS:
        return "INTEGER"
    if name.endswith(("PeriodStart", "PeriodEnd")):
        return "DATETIME"
    return "DECIMAL" if name.endswith(("Cost", "Price", "Quantity")) else "STRING"
