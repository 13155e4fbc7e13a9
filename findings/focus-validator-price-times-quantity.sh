#!/usr/bin/env bash
# focus-validator 2.2.1, its model of FOCUS 1.2: a list cost that is not price x quantity passes on every ordinary row.
#
# Rule ListCost-C-009-C says that ListUnitPrice x PricingQuantity must be ListCost where ChargeClass is not "Correction". On
# an ordinary row ChargeClass is null, and the rule is made into SQL as `ChargeClass <> 'Correction'`, which is not true of
# null. So the rule looks at no row that FOCUS allows: 2 USD x 3 hours for 100 USD passes, and fails as soon as the row has
# a ChargeClass that the specification does not know.
# Seen on Linux, CPython 3.11 (for which one line with quotes inside an f-string is put in the older form; from 3.12 on it
# stands as it is): exits with 0 while it is so, with 1 when that has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --ignore-requires-python focus-validator==2.2.1 "numpy<2" "pyarrow<20"
cd "$work"
"$work/venv/bin/python" -u - <<'PY'
import csv
import re
import subprocess
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

RULE = "ListCost-C-009-C"
packages = Path(sysconfig.get_path("purelib"))
if sys.version_info < (3, 12):
    file = packages / "focus_validator/config_objects/focus_to_duckdb_converter.py"
    newer = """+ ", ".join(f"'{k.replace('\\"', '\\"\\"')}'" for k in ignore_keys)"""
    older = """+ ", ".join("'" + k.replace('"', '""') + "'" for k in ignore_keys)"""
    file.write_text(file.read_text().replace(newer, older))

ROW = {
    "AvailabilityZone": "", "BilledCost": "6.00", "BillingAccountId": "a", "BillingAccountName": "a",
    "BillingAccountType": "Account", "BillingCurrency": "USD", "BillingPeriodEnd": "2026-04-01T00:00:00Z",
    "BillingPeriodStart": "2026-03-01T00:00:00Z", "CapacityReservationId": "", "CapacityReservationStatus": "",
    "ChargeCategory": "Usage", "ChargeClass": "", "ChargeDescription": "Three hours", "ChargeFrequency": "Usage-Based",
    "ChargePeriodEnd": "2026-03-02T00:00:00Z", "ChargePeriodStart": "2026-03-01T00:00:00Z",
    "CommitmentDiscountCategory": "", "CommitmentDiscountId": "", "CommitmentDiscountName": "",
    "CommitmentDiscountQuantity": "", "CommitmentDiscountStatus": "", "CommitmentDiscountType": "",
    "CommitmentDiscountUnit": "", "ConsumedQuantity": "3.00", "ConsumedUnit": "Hours", "ContractedCost": "6.00",
    "ContractedUnitPrice": "2.00", "EffectiveCost": "6.00", "InvoiceId": "", "InvoiceIssuerName": "p", "ListCost": "6.00",
    "ListUnitPrice": "2.00", "PricingCategory": "Standard", "PricingCurrency": "USD",
    "PricingCurrencyContractedUnitPrice": "2.00", "PricingCurrencyEffectiveCost": "6.00",
    "PricingCurrencyListUnitPrice": "2.00", "PricingQuantity": "3.00", "PricingUnit": "Hours", "ProviderName": "p",
    "PublisherName": "p", "RegionId": "", "RegionName": "", "ResourceId": "r", "ResourceName": "r", "ResourceType": "VM",
    "ServiceCategory": "Compute", "ServiceName": "VMs", "ServiceSubcategory": "Virtual Machines", "SkuId": "s",
    "SkuMeter": "Compute Usage", "SkuPriceDetails": "{}", "SkuPriceId": "sp", "SubAccountId": "", "SubAccountName": "",
    "SubAccountType": "", "Tags": "{}",
}


def passes(**more):
    with open("bill.csv", "w", newline="") as out:
        writer = csv.DictWriter(out, list(ROW))
        writer.writeheader()
        writer.writerow(ROW | more)
    command = [str(packages.parents[2] / "bin/focus-validator"), "--data-file", str(Path("bill.csv").resolve()),
               "--block-download", "--validate-version", "1.2.0.1", "--applicability-criteria", "PUBLIC_PRICE_LIST_SUPPORTED"]
    # It looks for its table of currencies from the folder of its packages.
    done = subprocess.run(command, cwd=packages, capture_output=True, text=True)
    found = re.search(rf"^(\S+) {RULE}: (\w+)", done.stdout + done.stderr, re.MULTILINE)
    if not found:
        sys.exit(f"{RULE} is not in the report:\n{(done.stdout + done.stderr)[-2000:]}")
    print(f"2 USD x 3 hours, {more}: {RULE} {found[2]}")
    return found[2] == "PASS"


print(f"focus-validator {version('focus-validator')}")
seen = [passes(ListCost="100.00"), passes(ListCost="100.00", ChargeClass="Other"), passes(ChargeClass="Other")]
sys.exit(0 if seen == [True, False, True] else 1)
PY
