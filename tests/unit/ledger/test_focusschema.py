"""The metadata of a FOCUS export: every column, by what an export really holds."""

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from typer.testing import CliRunner

from llmtrain.cli.main import app
from llmtrain.ledger.focus import COLUMNS, charge_of, focus_row
from llmtrain.ledger.focusschema import schema
from tests.unit.ledger.billed import line

FORMS = {
    "DATETIME": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"),
    "DECIMAL": re.compile(r"-?\d+\.\d+"),
    "INTEGER": re.compile(r"-?\d+"),
    "JSON": re.compile(r"\{.*\}"),
    "STRING": re.compile(r".+"),
}
ROW = focus_row(charge_of(line(commitment="Reserved", accelerator="H100"), datetime(2026, 11, 29, tzinfo=UTC)))


def test_the_metadata_names_every_column_and_changes_its_id_and_date_with_them() -> None:
    found = schema()
    assert [column["ColumnName"] for column in found["ColumnDefinition"]] == list(COLUMNS)
    assert (found["FocusVersion"], found["DataGenerator"]) == ("1.2", "llmtrain")
    assert (found["SchemaId"], found["CreationDate"]) == (
        "1fd2bbd6-3ee6-5306-b82d-18af2d9e76de",
        "2026-11-30T00:00:00Z",
    )


@pytest.mark.parametrize("column", schema()["ColumnDefinition"], ids=lambda column: str(column["ColumnName"]))
def test_a_column_holds_what_the_metadata_says(column: dict[str, Any]) -> None:
    value = ROW.get(column["ColumnName"])
    if value is None:
        assert column["DataType"] == "STRING", "what is null here is a name, an id or a class"
        return
    assert FORMS[column["DataType"]].fullmatch(value)
    if column["DataType"] == "DECIMAL":
        assert -int(Decimal(value).as_tuple().exponent) <= column["NumberScale"]
    if column["DataType"] == "STRING":
        assert not re.fullmatch(r"-?[\d.]+|\{.*", value)
        assert len(value) <= column["StringMaxLength"]


def test_tags_of_ours_are_told_by_their_prefix() -> None:
    (tags,) = [column for column in schema()["ColumnDefinition"] if column["ColumnName"] == "Tags"]
    ours = {key for key in json.loads(ROW["Tags"]) if key.startswith(tuple(tags["ProviderTagPrefixes"]))}
    assert ours == set(json.loads(ROW["Tags"]))


def test_the_command_prints_it() -> None:
    done = CliRunner().invoke(app, ["ledger", "schema"])
    assert json.loads(done.stdout) == schema()
