"""The FOCUS export before the specification's own validator: `focus-validator`, with its model of FOCUS 1.2."""

import csv
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from llmtrain.cli.main import app
from tests.peers import python_of
from tests.unit.ledger.test_ledger import CARRIED, JOB, MARKER, entry, page
from tests.unit.ledger.test_skus import CPU, OWNED, rented

CRITERIA = (
    "ACCOUNT_NAMING_SUPPORTED", "BILLING_BASED_ON_PROVISIONED_RESOURCES_SUPPORTED", "COMMITMENT_DISCOUNT_SUPPORTED",
    "MULTIPLE_BILLING_ACCOUNT_TYPES_SUPPORTED", "MULTIPLE_PRICING_CATEGORIES_SUPPORTED",
    "MULTIPLE_SUB_ACCOUNT_TYPES_SUPPORTED", "NEGOTIATED_PRICING_SUPPORTED",
    "PRICING_BILLING_CURRENCY_DIFFERENCES_SUPPORTED", "PUBLIC_PRICE_LIST_SUPPORTED", "REGION_SUPPORTED",
    "RESOURCE_TYPE_ASSIGNMENT_SUPPORTED", "SUB_ACCOUNT_SUPPORTED", "TAGGING_SUPPORTED", "UNIT_PRICING_SUPPORTED",
    "USAGE_MEASUREMENT_SUPPORTED", "VIRTUAL_CURRENCY_SUPPORTED", "AVAILABILITY_ZONE_SUPPORTED",
)  # fmt: skip
"""All of the validator's but capacity reservations, of which a plan knows nothing."""
OF_THE_MODEL = {
    "InvoiceId-C-005-C": "MUST NOT be null, and C-004, MUST be null, stand beside each other without their conditions",
    "CommitmentDiscountStatus-C-004-C": "asked for where CommitmentDiscountId IS null; the text says where it is not",
    "CommitmentDiscountStatus-C-002-C": "holds the one before",
    "CommitmentDiscountStatus-C-000-C": "holds that one",
}
"""What no export can pass, by the model's own fault, with the reason."""
NEWER_FORM = """+ ", ".join(f"'{k.replace('\\"', '\\"\\"')}'" for k in ignore_keys)"""
OLDER_FORM = """+ ", ".join("'" + k.replace('"', '""') + "'" for k in ignore_keys)"""
"""The one line for which its package asks for Python 3.12."""
Table = list[dict[str, str]]


@pytest.fixture(scope="module")
def packages() -> Path:
    """The folder of the validator's packages; it looks for its currencies from there."""
    python = python_of("focus-validator")
    asked = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    folder = Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    source = folder / "focus_validator" / "config_objects" / "focus_to_duckdb_converter.py"
    source.write_text(source.read_text().replace(NEWER_FORM, OLDER_FORM))
    return folder


def failures(packages: Path, file: Path) -> set[str]:
    """Rules of FOCUS 1.2 that the file breaks. It is an error if none at all was looked at."""
    program = python_of("focus-validator").parent / "focus-validator"
    command = [str(program), "--data-file", str(file), "--block-download", "--validate-version", "1.2.0.1",
               "--applicability-criteria", ",".join(CRITERIA)]  # fmt: skip
    done = subprocess.run(command, cwd=packages, capture_output=True, text=True, check=False, timeout=300)
    text = done.stdout + done.stderr
    total = re.search(r"Total: (\d+) \| Pass: (\d+)", text)
    assert total, text[-2000:]
    assert int(total[1]) > 500
    assert int(total[2]) > 300
    return set(re.findall(r"^❌ (\S+): FAIL", text, re.M))


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """Jobs on every kind of plan, one deleted, and what was carried over."""
    plans = [rented("h100", commitment="Reserved"), rented("spot", commitment="Spot"), rented("month"), CPU, OWNED]
    entries = [
        *JOB["status"]["ledger"]["entries"],
        entry("Training", "head", "spot", 3, billedSeconds=60),
        entry("Training", "worker", "own", 99_999_999_999, acceleratorSeconds=123_456_789, tenure="Owned"),
        entry("Training", "evaluator", "month", 12_345, acceleratorSeconds=801),
        entry("Curation", "worker", "cpu", 0),
    ]
    status = JOB["status"] | {"ledger": JOB["status"]["ledger"] | {"entries": entries}}
    job: dict[str, Any] = JOB | {"status": status, "metadata": JOB["metadata"] | {"labels": {"cost-centre": "nlp"}}}
    file = tmp_path_factory.mktemp("focus") / "saved.json"
    file.write_text(json.dumps({"items": [job, MARKER, page("u7", "old", 500), CARRIED, *plans]}))
    done = CliRunner().invoke(app, ["ledger", "export", "-o", "focus", "--from", str(file)])
    assert (done.exit_code, done.stderr) == (0, "")
    return list(csv.DictReader(done.stdout.splitlines()))


def written(table: Table, folder: Path, change: Callable[[dict[str, str]], dict[str, str]]) -> Path:
    file = folder / "bill.csv"
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(change(table[0])))
        writer.writeheader()
        writer.writerows(map(change, table))
    return file


def test_an_export_breaks_no_rule_that_can_be_kept(packages: Path, export: Table, tmp_path: Path) -> None:
    assert {row["PricingCategory"] for row in export} == {"Standard", "Committed", "Dynamic", "Other"}
    assert failures(packages, written(export, tmp_path, dict)) == set(OF_THE_MODEL)


def test_the_validator_finds_what_is_wrong(packages: Path, export: Table, tmp_path: Path) -> None:
    wrong = {
        "PricingCategory": "On-Demand",
        "BilledCost": "",
        "PricingUnit": "hours (8)",
        "CommitmentDiscountCategory": "",
    }
    found = failures(packages, written(export, tmp_path, lambda row: row | wrong))
    rules = {
        "PricingCategory-C-007-M",
        "BilledCost-C-003-M",
        "PricingUnit-C-003-O",
        "CommitmentDiscountCategory-C-004-C",
    }
    assert found >= rules


def test_price_times_quantity_is_the_cost_by_the_validators_arithmetic_too(
    packages: Path, export: Table, tmp_path: Path
) -> None:
    """It compares them where ChargeClass is neither null nor Correction, which is nowhere; so here it is something else."""
    rule = "ListCost-C-009-C"
    assert rule not in failures(packages, written(export, tmp_path, lambda row: row | {"ChargeClass": "Other"}))
    off = {"ChargeClass": "Other", "PricingQuantity": "3.141592653589"}
    assert rule in failures(packages, written(export, tmp_path, lambda row: row | off))
