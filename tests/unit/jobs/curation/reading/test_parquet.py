"""Parquet as others write it: a damaged page ends the file at its first row, a bad value costs its row at most."""

import io
import itertools
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from llmtrain_jobs.curation.dates import NO_DAY, day_of

from tests.unit.jobs.curation.reading.files import problems, read, texts

TEXTS = [f"text {number} " + "abc " * 40 for number in range(100)]


def written(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, use_dictionary=False, **options)
    return sink.getvalue()


def overwritten(data: bytes, place: int) -> bytes:
    return data[:place] + b"\xff" * 20 + data[place + 20 :]


def test_rows_before_a_damaged_row_group_are_kept() -> None:
    data = written(pa.table({"text": TEXTS}), row_group_size=20)
    page = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(2).column(0).data_page_offset
    found = read("x.parquet", overwritten(data, page))
    assert texts(found) == TEXTS[:40]
    assert [(record.number, record.fatal) for record in found if record.problem] == [(41, True)]


def test_rows_before_a_damaged_page_are_kept_to_the_row() -> None:
    plain = {"compression": "none", "write_statistics": False}
    data = written(pa.table({"text": TEXTS}), data_page_size=100, write_batch_size=7, **plain)
    assert pq.ParquetFile(io.BytesIO(data)).num_row_groups == 1
    found = read("x.parquet", overwritten(data, data.find(TEXTS[49].encode()) - 30))
    assert texts(found) == TEXTS[:49]
    assert [(record.number, record.fatal) for record in found if record.problem] == [(50, True)]


def test_a_page_that_is_not_what_was_written_is_told_by_its_checksum() -> None:
    data = written(pa.table({"text": TEXTS}), row_group_size=20, compression="none", write_page_checksum=True)
    found = read("x.parquet", data.replace(b"text 50", b"tExt 50"))
    assert texts(found) == TEXTS[:40]
    assert "CRC" in problems(found)[0]


STRINGS = [pa.string(), pa.large_string(), pa.string_view()]


@pytest.mark.parametrize("kind", STRINGS, ids=str)
def test_a_text_that_is_no_utf8_is_one_bad_row(kind: pa.DataType) -> None:
    raw = pa.array([b"first", b"\xff\xfe", None, b"last"], pa.binary())
    column = raw.view(kind) if kind == pa.string() else raw.cast(kind, safe=False)
    for one in (column, column.dictionary_encode()) if kind != pa.string_view() else (column,):
        found = read("x.parquet", written(pa.table({"text": one, "id": one, "url": one})))
        assert texts(found) == ["first", "last"]
        assert problems(found)[0].startswith("no UTF-8")
        assert found[1].size == 2


WORDS = ["first", "second", None, "last"]
NULL = "no text in field `text` (null)"
COLUMNS: dict[str, tuple[pa.Array, list[str]]] = {
    "string": (pa.array(WORDS), ["first", "second", NULL, "last"]),
    "large": (pa.array(WORDS, pa.large_string()), ["first", "second", NULL, "last"]),
    "view": (pa.array(WORDS, pa.string_view()), ["first", "second", NULL, "last"]),
    "dictionary": (pa.array(WORDS).dictionary_encode(), ["first", "second", NULL, "last"]),
    "bytes": (pa.array([b"a", None], pa.binary()), ["no text in field `text` (bytes)", NULL]),
    "list": (pa.array([["a"], None]), ["no text in field `text` (list)", NULL]),
    "struct": (pa.array([{"text": "inner"}]), ["no text in field `text` (dict)"]),
    "number": (pa.array([7]), ["no text in field `text` (int)"]),
}


@pytest.mark.parametrize("case", list(COLUMNS))
def test_texts_of_every_type_are_read_and_other_types_are_bad_rows(case: str) -> None:
    column, expected = COLUMNS[case]
    data = written(pa.table({"text": column, "id": pa.array(range(len(column)))}))
    assert [record.text or record.problem for record in read("x.parquet", data)] == expected


def test_a_name_with_a_dot_is_a_column_and_of_two_of_one_name_the_last_counts() -> None:
    dotted = pa.table({"doc.text": pa.array(["dotted"]), "doc": pa.array([{"text": "inner"}])})
    assert texts(read("x.parquet", written(dotted), textField="doc.text")) == ["dotted"]
    twice = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    assert texts(read("x.parquet", written(twice))) == ["b"]


def test_an_id_that_is_no_utf8_costs_no_document() -> None:
    odd = pa.array([b"a\xff"], pa.binary()).view(pa.string())
    [record] = read("x.parquet", written(pa.table({"text": ["a"], "id": odd, "url": odd, "date": odd})))
    assert (record.text, record.origin.id, record.origin.url) == ("a", "a\ufffd", "a\ufffd")


NOON = int(datetime(2024, 5, 6, 12, tzinfo=UTC).timestamp())
UNITS = {"ms": 10**3, "us": 10**6, "ns": 10**9}
ZONES = ["UTC", "Europe/Berlin", "+05:30", "Mars/Olympus", "+99:99", "", None]


@pytest.mark.parametrize(("unit", "zone"), [*itertools.product(UNITS, ZONES)])
def test_a_time_beyond_the_calendar_or_in_an_unknown_zone_costs_no_document(unit: str, zone: str | None) -> None:
    times = [NOON * UNITS[unit] + 1, 2**62, -(2**62), None]
    found = read(
        "x.parquet",
        written(pa.table({"text": ["a", "b", "c", "d"], "date": pa.array(times, pa.timestamp(unit, zone))})),
    )
    assert texts(found) == ["a", "b", "c", "d"]
    days = [day_of(record.origin.date) for record in found]
    assert days[0] == NOON // 86400
    assert days[3] == NO_DAY
    if unit != "ns":  # whose largest number is in the year 2116
        assert days[1:3] == [NO_DAY, NO_DAY]


def test_96_bit_times_do_not_wrap_around() -> None:
    last = datetime(9999, 12, 31)
    table = pa.table({"text": ["a", "b"], "date": pa.array([last, datetime(2024, 5, 6)], pa.timestamp("us"))})
    found = read("x.parquet", written(table, use_deprecated_int96_timestamps=True))
    assert [record.origin.date[:10] for record in found] == ["9999-12-31", "2024-05-06"]


@pytest.mark.parametrize(
    "kind", [pa.date32(), pa.date64(), pa.duration("s"), pa.time64("ns"), pa.decimal128(38, 2)], ids=str
)
def test_other_kinds_of_dates_cost_no_document(kind: pa.DataType) -> None:
    largest = {pa.date32(): 2**31 - 1, pa.date64(): 2**62 // 86_400_000 * 86_400_000, pa.duration("s"): 2**62}
    column = pa.array([largest.get(kind, 1), None], kind)
    assert texts(read("x.parquet", written(pa.table({"text": ["a", "b"], "date": column, "id": column})))) == ["a", "b"]


@pytest.mark.parametrize("cut", [1, 10, 200, 3000])
def test_a_file_that_is_cut_is_damaged(cut: int) -> None:
    found = read("x.parquet", written(pa.table({"text": TEXTS}))[:-cut])
    assert [record.fatal for record in found] == [True]
