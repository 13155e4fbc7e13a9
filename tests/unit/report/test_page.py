"""The page of a run: its numbers are the status', it fetches nothing, and what is missing is told."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from llmtrain.api.job import Storage
from llmtrain.api.status import JobStatus
from llmtrain.cost.ranges import Range
from llmtrain.ladder.foretold import Foretold
from llmtrain.report.artifacts import Artifacts, Point, fates_of, from_json, keys_of, read_artifacts, shortened
from llmtrain.report.drawing import bars, curve, thinned
from llmtrain.report.facts import facts_of
from llmtrain.report.inside import answer
from llmtrain.report.page import render
from llmtrain.storage.store import Store, open_store
from tests.unit.report.job import finished, running

VOLUME = Storage.model_validate({"persistentVolumeClaim": {"claimName": "llm"}})


def read(store: Store) -> Artifacts:
    return read_artifacts(store, keys_of(JobStatus.model_validate(finished()["status"])))


class Cells(HTMLParser):
    """Rows of all tables, and every attribute that could fetch something."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.fetched: list[str] = []
        self.open: list[str] = []
        self._in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [
            f"{tag} {name}={value}" for name, value in attrs if name in ("src", "href", "srcset", "action")
        ]
        self.fetched += [tag] if tag in ("script", "link", "iframe", "img", "object") else []
        if tag not in ("meta", "line", "polyline", "br"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("meta", "line", "polyline", "br"):
            assert self.open.pop() == tag
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.rows[-1][-1] += data


def cells(page: str) -> Cells:
    parser = Cells()
    parser.feed(page)
    assert parser.open == []
    return parser


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store(VOLUME, str(tmp_path), {})
    lines = [{"step": s, "tokens": 100 * s, "loss": 9.0 / s, "time": 1.0} for s in range(1, 11)]
    again = [{"step": 10, "tokens": 1000, "loss": 0.5, "time": 2.0}]
    for number, part in enumerate((lines, again), start=1):
        text = "\n".join(json.dumps(line) for line in part)
        store.write(f"artifacts/training/t1/loss/attempt-000{number}-1.jsonl", text.encode())
    fates = {"read": 10, "kept": 7, "duplicate": 2, "gopher": 1}
    store.complete("curation", "c1", {"report.json": json.dumps({"documents": fates}).encode()}, {"train_tokens": 4000})
    store.write("artifacts/training/t1/record.json", json.dumps({"torch": "2.9"}).encode())
    return store


@pytest.mark.parametrize("job", [finished(), running()], ids=["finished", "running"])
def test_the_bill_is_the_status_to_the_microdollar(job: dict[str, object]) -> None:
    page = render(facts_of(job, None), "now")
    rows = cells(page).rows
    assert ["Training", "worker", "h100-rented", "Rented", "0.0333", "0.0667", "7.9800", "$0.266000"] in rows
    assert ["Curation", "head", "cpu", "Rented", "0.0278", "0.0000", "0.0489", "$0.001358"] in rows
    assert ["total", "", "", "", "0.0611", "0.0667", "", "$0.267358"] in rows
    assert "<b>$0.267358</b>" in page
    assert "$40.00" in page


def test_billed_time_adds_up_and_energy_is_in_kilowatt_hours() -> None:
    """40 s of 220 s are starting; 2 x 720 kJ are 0.4 kWh."""
    page = render(facts_of(finished(), None), "now")
    assert "0.0111 h, 18.2 %" in page
    assert "0.0500 h, 81.8 %" in page
    assert "<b>0.400</b><span>kWh" in page


def test_estimate_and_forecast_stand_beside_the_cost() -> None:
    rows = cells(render(facts_of(finished(), None), "now")).rows
    assert ["estimate", "$0.20", "$0.31", "$0.55"] in rows
    assert ["forecast", "$0.27", "$0.29", "$0.33"] in rows
    assert ["cost", "", "$0.267358", ""] in rows
    assert ["cost now", "", "$0.267358", ""] in rows


@pytest.mark.parametrize(
    ("job", "loss", "usd"),
    [
        (finished(), ["2.5000", "inside, -3.8% of p50"], ["0.2674", "above, +6.9% of p50"]),
        (running(), ["-", ""], ["-", ""]),
    ],
)
def test_what_the_ladder_foretold_stands_beside_what_came(
    job: dict[str, object], loss: list[str], usd: list[str]
) -> None:
    told = Foretold(10, Range(2.4, 2.6, 2.7), Range(0.2, 0.25, 0.26), held_out=False)
    rows = cells(render(facts_of(job, None, told), "now")).rows
    assert ["loss, nats a token", "2.4000", "2.6000", "2.7000", *loss] in rows
    assert ["US dollars", "0.2000", "0.2500", "0.2600", *usd] in rows
    assert "foretold" not in render(facts_of(job, None), "now")


def test_the_loss_of_a_batch_is_not_held_against_one_on_held_out_text() -> None:
    told = Foretold(10, Range(2.4, 2.6, 2.7), None)
    (row,) = [row for row in cells(render(facts_of(finished(), None, told), "now")).rows if "2.4000" in row]
    assert row[4] == "2.5000"
    assert row[5].startswith("of the last step's batch, what was foretold is on held-out text")


def test_the_page_fetches_nothing_and_forbids_it() -> None:
    page = render(facts_of(finished(), None), "now")
    assert cells(page).fetched == []
    assert "default-src 'none'" in page
    assert not re.search(r"url\(|@import", page)


def test_curves_data_and_record_come_from_the_artifacts(store: Store) -> None:
    facts = facts_of(finished(), read(store))
    assert [p.step for p in facts.losses] == list(range(1, 11))
    assert facts.losses[-1].loss == 0.5
    page = render(facts, "now")
    assert "last loss 0.5000" in page
    assert "10 documents were read" in page
    assert "$339.50 of curation per billion tokens kept" in page  # $0.001358 for 4,000
    assert "torch: &#x27;2.9&#x27;" in page
    assert "Not on this page" not in page
    assert cells(page).fetched == []


def test_a_pod_beside_the_storage_tells_the_same(store: Store, tmp_path: Path) -> None:
    keys = {stage.value: key for stage, key in keys_of(JobStatus.model_validate(finished()["status"])).items()}
    asked = json.dumps({"storage": finished()["spec"]["storage"], "artifacts": keys})
    told = answer(asked, str(tmp_path), tmp_path / "no-credentials")
    assert "\n" not in told
    assert from_json(told) == read(store)


@pytest.mark.parametrize(("count", "kept"), [(0, 0), (4, 4), (5, 3), (9, 3)])
def test_long_runs_are_told_by_fewer_steps_the_last_among_them(count: int, kept: int) -> None:
    points = tuple(Point(step, step, 1.0) for step in range(count))
    told = shortened(Artifacts(losses=points), 4).losses
    assert len(told) == kept
    assert told[-1:] == points[-1:]


def test_curations_ledger_is_read_by_fate() -> None:
    ledger = {
        "read": {"documents": 10, "bytes": 99},
        "fates": {"kept": {"documents": 7, "bytes": 70}, "gopher.words": {"documents": 3, "bytes": 29}},
    }
    assert fates_of({"ledger": ledger}) == {"read": 10, "kept": 7, "gopher.words": 3}
    assert fates_of({"documents": {"read": 2, "kept": 2}}) == {"read": 2, "kept": 2}


def test_what_cannot_be_read_is_told_and_the_rest_stands(tmp_path: Path) -> None:
    page = render(facts_of(finished(), read(open_store(VOLUME, str(tmp_path), {}))), "now")
    assert "Not on this page: curation report.json" in page
    assert "$0.267358" in page
    assert "--artifacts" in render(facts_of(finished(), None), "now")


def test_a_job_that_has_not_begun_has_a_page() -> None:
    job = finished() | {"status": {}}
    assert "Nothing has been billed." in render(facts_of(job, None), "now")


def test_what_users_wrote_cannot_become_markup() -> None:
    job = finished()
    job["status"]["conditions"][0]["message"] = "<script>alert(1)</script>"
    job["spec"]["curation"] = {"sources": [{"name": "</pre><script>"}]}
    assert "script" not in cells(render(facts_of(job, None), "now")).fetched


def test_a_curve_keeps_its_ends_and_has_a_text() -> None:
    points = [(float(i), 1 / (i + 1)) for i in range(5000)]
    assert (thinned(points)[0], thinned(points)[-1], len(thinned(points))) == (points[0], points[-1], 600)
    assert 'aria-label="loss over tokens: from 1 at 0 to 0.0002 at 4999"' in curve(points, "tokens", "loss")
    assert "NaN" not in curve([(1.0, 2.0), (2.0, 2.0)], "tokens", "loss")


def test_bars_are_in_proportion() -> None:
    assert re.findall(r"width:([\d.]+)%", bars([("a", 1, "1"), ("b", 4, "4"), ("c", 0, "0")])) == [
        "25.00",
        "100.00",
        "0.00",
    ]
