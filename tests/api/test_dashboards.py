"""Dashboards and alerts over recordings of a real run, in a real Prometheus with the chart's rules.

The recordings are of tests/e2e's job, see tests/recording.py; `tests/e2e/test_watching.py` asks the same of a live run.
"""

import itertools
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.api.programs import CHART, folder, run
from tests.observing import Asked, Prometheus, alerts, chosen, metrics_in, panels, problems
from tests.ports import free_port

pytestmark = pytest.mark.timeout(180)
RECORDINGS = Path(__file__).parent / "recordings"
REFERENCE = CHART.parents[1] / "docs" / "reference" / "metrics.md"
NAMESPACE, JOB = "llmtrain-e2e", "on-s3"
FIRST_SCRAPES, ALL_SCRAPES = 4, 10
STAGE = {
    "namespace": NAMESPACE,
    "name": JOB,
    "stage": "Training",
    "role": "head",
    "attempt": "1",
    "pod": "on-s3-trn-1-head",
}
# The recordings are older than these; test_money_panels.py asks promtool what they show. A new recording empties the set.
NOT_RECORDED = {
    "llmtrain_namespace_period_cost_usd",
    "llmtrain_job_cost_now_usd",
    "llmtrain_job_goodput_of_billed_time_ratio",
    "llmtrain_train_step_efficiency_ratio",
}
# Empty where all is well: it shows accelerators that are paid for and train nothing.
EMPTY_WHERE_ALL_IS_WELL = {"llmtrain-fleet: Accelerators billed while no token is trained on A"}


class Replay:
    """Serves the first recording to the first scrapes, then the second."""

    def __init__(self, name: str) -> None:
        texts = [(RECORDINGS / f"{name}-{number}.prom").read_text() for number in (1, 2)]
        scrapes = itertools.count()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(texts[next(scrapes) >= FIRST_SCRAPES].encode())

            def log_message(self, format: str, *args: object) -> None:
                """Scrapes are not logged."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    where = tmp_path_factory.mktemp("prometheus")
    operator, stage = Replay("operator"), Replay("training")
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(CHART / "files" / "rules.yaml")],
        "scrape_configs": [
            {"job_name": "operator", "honor_labels": True, "static_configs": [{"targets": [operator.address]}]},
            {"job_name": "stages", "static_configs": [{"targets": [stage.address], "labels": STAGE}]},
        ],
    }
    (where / "prometheus.json").write_text(json.dumps(config))
    port = free_port()
    command = [os.path.join(folder(), "prometheus"), f"--config.file={where / 'prometheus.json'}",
               f"--storage.tsdb.path={where / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]  # fmt: skip
    with (where / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    seen = Prometheus(f"http://127.0.0.1:{port}")
    end = time.monotonic() + 60
    while time.monotonic() < end and not scraped_long_enough(seen):
        time.sleep(0.5)
    yield seen
    process.terminate()
    process.wait(20)
    operator.close()
    stage.close()


def scraped_long_enough(seen: Prometheus) -> bool:
    """Both recordings have been scraped, and the rules evaluated over them."""
    try:
        found = seen.instant("min(count_over_time(up[5m]))")
    except OSError:
        return False
    return bool(found) and float(found[0]["value"][1]) >= ALL_SCRAPES


@pytest.mark.parametrize(
    "asked",
    [a for a in panels() if a.where not in EMPTY_WHERE_ALL_IS_WELL and not metrics_in(a.expr) & NOT_RECORDED],
    ids=lambda a: a.where,
)
def test_a_panel_has_finite_series_with_the_labels_it_shows(asked: Asked, prometheus: Prometheus) -> None:
    assert problems(asked, prometheus.instant(chosen(asked.expr, NAMESPACE, JOB))) == []


@pytest.mark.parametrize("asked", list(alerts()), ids=lambda a: a.where)
def test_an_alert_rests_on_metrics_that_exist(asked: Asked, prometheus: Prometheus) -> None:
    prometheus.instant(asked.expr)
    for name in metrics_in(asked.expr):
        assert prometheus.instant(name), name


def test_no_rule_failed(prometheus: Prometheus) -> None:
    for group in prometheus.get("rules")["groups"]:
        for rule in group["rules"]:
            assert rule["health"] == "ok", f"{rule['name']}: {rule.get('lastError')}"


def test_what_is_said_not_to_be_recorded_is_not() -> None:
    recorded = "".join(file.read_text() for file in RECORDINGS.glob("*.prom"))
    assert {name for name in NOT_RECORDED if name in recorded} == set()


def test_every_metric_that_is_asked_for_is_in_the_reference() -> None:
    """The reference is generated from the code: what is not in it, nobody exports."""
    reference = REFERENCE.read_text()
    for asked in (*panels(), *alerts()):
        for name in metrics_in(asked.expr):
            assert f"`{name.removesuffix('_bucket')}`" in reference, f"{asked.where}: {name}"


@pytest.mark.parametrize("file", sorted(RECORDINGS.glob("*.prom")), ids=lambda file: file.name)
def test_promtool_finds_nothing_in_the_metrics(file: Path) -> None:
    """Ours alone: what client libraries export of their process is theirs."""
    lines = [line for line in file.read_text().splitlines() if "llmtrain_" in line]
    assert run("promtool", "check", "metrics", text="\n".join(lines) + "\n").stderr == ""


@pytest.mark.parametrize("file", sorted(RECORDINGS.glob("*.prom")), ids=lambda file: file.name)
def test_every_exported_metric_is_in_the_reference(file: Path) -> None:
    reference = REFERENCE.read_text()
    for family in text_string_to_metric_families(file.read_text()):
        if family.name.startswith("llmtrain_"):
            name = family.name + ("_total" if family.type == "counter" else "")
            assert f"`{name}`" in reference, name
