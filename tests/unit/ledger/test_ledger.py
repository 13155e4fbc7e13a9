"""The bill outside the cluster: exact sums, FOCUS rows, an invoice's differences to the microdollar."""

import csv
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from llmtrain.api.status import Split
from llmtrain.cli.kubectl import KubectlError
from llmtrain.cli.main import app
from llmtrain.ledger.grouping import row_id
from llmtrain.ledger.invoice import InvoiceError, differences, ledger_sums, read_invoice
from llmtrain.ledger.lines import former_flaws, lines_of

SPLIT = {"waiting": 1, "pulling": 2, "starting": 3, "working": 90, "redone": 0, "checkpointing": 4, "stopping": 0}


def entry(stage: str, role: str, plan: str, micro: int, **more: Any) -> dict[str, Any]:
    amounts = {"pods": 1, "podSeconds": 100, "billedSeconds": 100, "acceleratorSeconds": 0, "costMicroUsd": micro}
    return {"stage": stage, "role": role, "plan": plan, "tenure": "Rented", "split": SPLIT} | amounts | more


JOB: dict[str, Any] = {
    "kind": "LLMTrainingJob",
    "metadata": {"namespace": "team-a", "name": "gpt", "uid": "u1"},
    "status": {
        "stages": [
            {"name": "Curation", "state": "Succeeded", "startTime": "2026-03-01T12:00:00Z",
             "completionTime": "2026-03-01T12:10:00Z"},
            {"name": "Training", "state": "Running", "startTime": "2026-03-31T23:50:00Z"},
        ],
        "ledger": {
            "entries": [
                entry("Curation", "head", "cpu", 1234567),
                entry("Training", "worker", "h100", 7_000_001, acceleratorSeconds=7200, energyJoules=5_000_000),
            ],
            "highWater": [entry("Training", "worker", "h100", 500_000, uid="p1", acceleratorSeconds=3600),
                          entry("Training", "worker", "h100", 250_000, uid="p2", acceleratorSeconds=1800)],
        },
    },
}  # fmt: skip
ROW = {"stage": "Training", "role": "head", "plan": "h100", "tenure": "Rented", "pods": 1, "podSeconds": 100,
       "billedSeconds": 100, "acceleratorSeconds": 0}  # fmt: skip


def former(micro: int = 42, namespace: str = "team-a", **more: Any) -> dict[str, Any]:
    """What earlier versions left in the namespace itself."""
    text = json.dumps({"totals": [ROW | {"costMicroUsd": micro} | more], "settledJobs": ["u0"]})
    return {
        "kind": "ConfigMap",
        "metadata": {"namespace": namespace, "name": "llmtrain-ledger"},
        "data": {"ledger.json": text},
    }


def document(name: str, body: dict[str, Any]) -> dict[str, Any]:
    labels = {"llmtrain.dev/ledger": body["kind"], "llmtrain.dev/namespace": body["namespace"]}
    body = {"formatVersion": 1, "namespaceUid": "n1"} | body
    metadata = {"namespace": "llmtrain-system", "name": f"llmtrain-ledger-n1-{name}", "labels": labels}
    return {"kind": "ConfigMap", "metadata": metadata, "data": {"ledger.json": json.dumps(body)}}


def page(uid: str, job: str, micro: int, namespace: str = "team-a", number: int = 1) -> dict[str, Any]:
    row = ROW | {"costMicroUsd": micro, "split": {"working": 90, "minimum": 10}, "startTime": "2026-02-01T00:00:00Z"}
    booking = {"kind": "Job", "uid": uid, "job": job, "jobUid": uid, "deleted": "2026-03-02T00:00:00Z", "rows": [row]}
    body = {"kind": "Month", "namespace": namespace, "month": "2026-03", "page": number, "bookings": [booking]}
    return document(f"2026-03-{number}", body)


CARRIED = document(
    "carried-over",
    {"kind": "CarriedOver", "namespace": "team-a", "takenOver": "2026-03-01T00:00:00Z",
     "rows": [ROW | {"costMicroUsd": 1000}]},
)  # fmt: skip
MARKER = {"kind": "ConfigMap", "data": {"formatVersion": "1"},
          "metadata": {"namespace": "llmtrain-system", "name": "llmtrain-ledger-format",
                       "labels": {"llmtrain.dev/ledger": "Format"}}}  # fmt: skip
BOOK = former()
TOTAL = 1234567 + 7_000_001 + 750_000 + 42


@pytest.fixture
def saved(tmp_path: Path) -> str:
    file = tmp_path / "objects.json"
    file.write_text(json.dumps({"kind": "List", "items": [JOB, BOOK]}))
    return str(file)


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, [*arguments])
    return done.exit_code, done.output


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_csv_adds_up_to_the_ledger(saved: str) -> None:
    code, text = run("ledger", "export", "--from", saved)
    found = rows(text)
    assert code == 0
    assert sum(Decimal(row["costUsd"]) for row in found) * 1_000_000 == TOTAL
    assert [row["state"] for row in found if row["stage"] == "Training" and row["job"]] == ["Provisional", "Settled"]
    training = next(row for row in found if row["state"] == "Settled" and row["plan"] == "h100" and row["job"])
    assert (training["workingSeconds"], training["energyJoules"]) == ("90", "5000000")


def test_the_focus_rows_have_every_mandatory_column_and_the_same_sum(saved: str) -> None:
    found = rows(run("ledger", "export", "-o", "focus", "--from", saved)[1])
    mandatory = [
        "BilledCost",
        "BillingAccountId",
        "BillingAccountName",
        "BillingCurrency",
        "BillingPeriodEnd",
        "BillingPeriodStart",
        "ChargeCategory",
        "ChargeClass",
        "ChargeDescription",
        "ChargePeriodEnd",
        "ChargePeriodStart",
        "ContractedCost",
        "EffectiveCost",
        "InvoiceIssuerName",
        "ListCost",
        "PricingQuantity",
        "PricingUnit",
        "ProviderName",
        "PublisherName",
        "ServiceCategory",
        "ServiceName",
    ]
    assert set(mandatory) <= set(found[0])
    assert sum(Decimal(row["BilledCost"]) for row in found) * 1_000_000 == TOTAL
    curation = next(row for row in found if row["ServiceName"] == "LLM Curation")
    assert (curation["ChargePeriodStart"], curation["ChargePeriodEnd"]) == ("2026-03-01T12:00:00Z",
                                                                            "2026-03-01T12:10:00Z")  # fmt: skip
    assert (curation["BillingPeriodStart"], curation["BillingPeriodEnd"]) == ("2026-03-01T00:00:00Z",
                                                                              "2026-04-01T00:00:00Z")  # fmt: skip
    training = next(row for row in found if row["ResourceName"] == "gpt" and row["BilledCost"] == "7.000001")
    assert (training["PricingQuantity"], training["PricingUnit"]) == ("2.000000000000", "Accelerator-Hours")
    assert json.loads(training["Tags"])["llmtrain.dev/role"] == "worker"


PLANS = [
    {"kind": "ComputePlan", "metadata": {"name": "h100"}, "spec": {
        "tenure": "Rented", "accelerator": {"product": "H100-SXM-80GB"},
        "rented": {"commitment": "Reserved", "acceleratorHourUsd": "3.5"}}},
    {"kind": "ComputePlan", "metadata": {"name": "broken"}, "spec": {"tenure": "Borrowed"}},
]  # fmt: skip


def file_of(folder: Path, body: Any) -> str:
    file = folder / "saved.json"
    file.write_text(json.dumps(body))
    return str(file)


def test_focus_rows_say_how_their_plans_are_rented_and_which_plans_nobody_knows(tmp_path: Path) -> None:
    saved = file_of(tmp_path, {"items": [JOB, BOOK, *PLANS]})
    done = CliRunner().invoke(app, ["ledger", "export", "--format", "focus", "--from", saved])
    found = {row["SkuId"]: row for row in rows(done.stdout)}
    assert {plan: row["PricingCategory"] for plan, row in found.items()} == {"cpu": "Standard", "h100": "Committed"}
    assert json.loads(found["h100"]["SkuPriceDetails"])["x_Commitment"] == "Reserved"
    assert "ComputePlan broken: `tenure`" in done.stderr
    assert "not known whether ComputePlan cpu is reserved or spot" in done.stderr


def test_plans_that_may_not_be_read_are_told_and_the_bill_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: dict[str, Any] = {"llmjob -n team-a": [JOB], "computeplans": "Error from server (Forbidden)"}
    objects_of(monkeypatch, answers)
    arguments = ["ledger", "export", "-n", "team-a", "-o", "focus", "--operator-namespace", ""]
    done = CliRunner().invoke(app, arguments)
    assert (done.exit_code, done.stderr) == (0, "plans cannot be read: Error from server (Forbidden)\n")
    assert {row["PricingCategory"] for row in rows(done.stdout)} == {"Standard"}
    answers["computeplans"] = PLANS
    assert {row["PricingCategory"] for row in rows(CliRunner().invoke(app, arguments).stdout)} == {
        "Standard",
        "Committed",
    }


def labelled(uid: str, name: str, **labels: str) -> dict[str, Any]:
    return JOB | {"metadata": {"namespace": "team-a", "name": name, "uid": uid, "labels": labels}}


@pytest.mark.parametrize("form", ["csv", "focus"])
def test_the_bill_by_cost_centre_adds_up(form: str, tmp_path: Path) -> None:
    jobs = [labelled("u1", "a", team="nlp"), labelled("u2", "b", team="nlp"), labelled("u3", "c", team="ops"),
            labelled("u4", "d"), page("u7", "old", 500)]  # fmt: skip
    file = file_of(tmp_path, {"items": jobs})
    whole = rows(run("ledger", "export", "-o", form, "--from", file)[1])
    found = rows(run("ledger", "export", "-o", form, "--group-by", "team", "--from", file)[1])
    amount = {"csv": "costUsd", "focus": "BilledCost"}[form]
    assert sum(Decimal(row[amount]) for row in found) == sum(Decimal(row[amount]) for row in whole)
    named = [row["label:team"] if form == "csv" else json.loads(row["Tags"]).get("team", "") for row in found]
    assert {name: named.count(name) for name in named} == {"nlp": 3, "ops": 3, "": 4}
    ids = [row["rowId" if form == "csv" else "x_RowId"] for row in (*whole, *found)]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("label", ["cost centre", "llmtrain.dev/job"])
def test_what_is_no_label_of_a_job_is_refused_by_name(label: str, saved: str) -> None:
    code, text = run("ledger", "export", "--group-by", label, "--from", saved)
    assert (code, f"--group-by: '{label}'" in text) == (2, True)


@pytest.mark.parametrize("body", [[1], {"items": 5}, "text", None, {"items": [{"kind": "LLMTrainingJob"}]}])
def test_a_file_without_objects_is_refused_by_name(body: Any, tmp_path: Path) -> None:
    code, text = run("ledger", "export", "--from", file_of(tmp_path, body))
    assert (code, "saved.json: no objects of Kubernetes" in text) == (2, True)


def test_a_line_keeps_its_labels_and_its_id_when_its_job_is_deleted() -> None:
    alive = labelled("u1", "gpt", team="nlp", **{"llmtrain.dev/job": "x"})
    alive["status"] = JOB["status"] | {"ledger": {"entries": [entry("Training", "head", "h100", 500)]}}
    booked = page("u1", "gpt", 500)
    text = booked["data"]["ledger.json"].replace('"rows"', '"labels": {"team": "nlp"}, "rows"')
    booked["data"]["ledger.json"] = text
    (before,), (after,) = lines_of([alive]), lines_of([booked])
    assert dict(before.labels) == dict(after.labels) == {"team": "nlp"}
    assert row_id(before) == row_id(after)


def test_a_pod_that_was_booked_by_itself_is_a_line_beside_its_jobs() -> None:
    books = [page("u1", "gpt", 500), page("p1", "gpt", 3, number=2)]
    books[1]["data"]["ledger.json"] = (
        books[1]["data"]["ledger.json"]
        .replace('"kind": "Job"', '"kind": "Pod"')
        .replace('"jobUid": "p1"', '"jobUid": "u1"')
    )
    found = lines_of(books)
    assert [(line.uid, line.booked, line.cost_micro_usd) for line in found] == [("u1", "", 500), ("u1", "p1", 3)]
    assert len({row_id(line) for line in found}) == 2


def test_december_ends_in_the_next_year() -> None:
    from datetime import UTC, datetime

    from llmtrain.ledger.focus import next_month

    assert next_month(datetime(2026, 12, 31, tzinfo=UTC)) == datetime(2027, 1, 1, tzinfo=UTC)
    assert next_month(datetime(2026, 1, 31, tzinfo=UTC)) == datetime(2026, 2, 1, tzinfo=UTC)


def test_an_exported_bill_reconciles_with_its_ledger(saved: str, tmp_path: Path) -> None:
    for form in ("csv", "focus"):
        invoice = tmp_path / f"{form}.csv"
        invoice.write_text(run("ledger", "export", "-o", form, "--from", saved)[1])
        code, text = run("reconcile-invoice", str(invoice), "--tolerance-usd", "0", "--from", saved)
        assert (code, text.startswith("0 of ")) == (0, True), text


def test_an_invoice_says_which_lines_differ_and_by_how_much(saved: str, tmp_path: Path) -> None:
    invoice = tmp_path / "march.csv"
    invoice.write_text("plan,costUsd\r\ncpu,1.234567\r\nh100,7.850043\r\nstorage,3.00\r\n")
    code, text = run("reconcile-invoice", str(invoice), "--from", saved)
    assert code == 1
    assert "plan storage: invoice 3.000000 USD, not in the ledger; difference 3.000000 USD" in text
    assert "plan h100: invoice 7.850043 USD, ledger 7.750043 USD; difference 0.100000 USD" in text
    assert "2 of 3 lines differ" in text
    assert "plan cpu" not in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plan\ncpu\n", "no amount column"),
        ("costUsd\n1\n", "no column says what a line is for"),
        ("plan,costUsd\ncpu,a lot\n", "line 2: `costUsd` must be a decimal number, not 'a lot'"),
        ("plan,costUsd\ncpu,NaN\n", "line 2: `costUsd`"),
        ("plan,SkuId,costUsd\ncpu,cpu,1\n", "name the same thing twice"),
    ],
)
def test_an_unreadable_invoice_names_line_and_column(text: str, message: str) -> None:
    with pytest.raises(InvoiceError, match=message):
        read_invoice(text)


def test_a_difference_within_the_tolerance_is_none() -> None:
    columns, invoiced = read_invoice("plan,costUsd\ncpu,1.244567\nh100,7.750043\n")
    ledger = ledger_sums(lines_of([JOB, BOOK]), columns)
    assert differences(invoiced, ledger, 10_000) == []
    assert [found.micro_usd for found in differences(invoiced, ledger, 9_999)] == [10_000]


def sums(items: list[dict[str, Any]]) -> dict[tuple[str, str, str], int]:
    found: dict[tuple[str, str, str], int] = {}
    for line in lines_of(items):
        key = (line.namespace, line.job, line.state)
        found[key] = found.get(key, 0) + line.cost_micro_usd
    return found


def test_deleted_jobs_are_lines_of_their_own_and_what_was_carried_over_says_that_nobody_verified_it() -> None:
    found = sums([MARKER, page("u7", "old", 500), page("u8", "older", 30, number=2), CARRIED, former(5, "team-b")])
    assert found == {
        ("team-a", "old", "Settled"): 500,
        ("team-a", "older", "Settled"): 30,
        ("team-a", "", "CarriedOver"): 1000,
        ("team-b", "", "CarriedOver"): 5,
    }
    (line,) = lines_of([page("u7", "old", 500)])
    assert (line.uid, line.start, line.split.working) == ("u7", "2026-02-01T00:00:00Z", 90)


@pytest.mark.parametrize(
    "split", [{"working": 90, "stopping": 10}, {"working": 90, "minimum": 10}], ids=["before", "now"]
)
def test_a_booking_is_read_whether_its_minimum_was_told_as_stopping_or_as_such(
    split: dict[str, int], tmp_path: Path
) -> None:
    """Parts are read by name: one that an operator does not know, or did not write, is no flaw of the document."""
    booked = page("u7", "old", 500)
    body = json.loads(booked["data"]["ledger.json"])
    body["bookings"][0]["rows"][0]["split"] = split
    booked["data"]["ledger.json"] = json.dumps(body)
    (line,) = lines_of([booked])
    assert {kind: value for kind, value in line.split.to_dict().items() if value} == split
    file = tmp_path / "objects.json"
    file.write_text(json.dumps(booked))
    (row,) = rows(run("ledger", "export", "--from", str(file))[1])
    told = {kind: int(row[f"{kind}Seconds"]) for kind in Split.model_fields}
    assert told == dict.fromkeys(Split.model_fields, 0) | split
    assert sum(told.values()) == int(row["billedSeconds"])


def test_nothing_is_counted_twice_while_a_job_or_a_ledger_is_in_two_places() -> None:
    alone = sum(sums([JOB]).values())
    assert sum(sums([JOB, page("u1", "gpt", 999)]).values()) == alone, "a job that is there is counted by its status"
    moved = former() | {"data": {"ledger.json": "Moved: what deleted jobs of this namespace cost is booked in ConfigMaps "
                                                "of the operator's namespace, `llmtrain-system`.", "before.json": "{}"}}  # fmt: skip
    assert sums([moved, CARRIED]) == sums([former(), CARRIED]) == {("team-a", "", "CarriedOver"): 1000}


@pytest.mark.parametrize("more", [{"costMicroUsd": -5}, {"podSeconds": 1e300}, {"plan": "x" * 300}, {"role": "boss"}])
def test_a_forged_ledger_of_one_namespace_is_told_and_left_out(more: dict[str, Any]) -> None:
    items = [former(7, "team-b"), former(5, **more)]
    assert sums(items) == {("team-b", "", "CarriedOver"): 7}
    (flaw,) = former_flaws(items)
    assert flaw.startswith("ConfigMap team-a/llmtrain-ledger: ")


def test_a_ledger_of_a_newer_version_is_refused_in_words(tmp_path: Path) -> None:
    newer = page("u1", "gpt", 1)
    newer["data"]["ledger.json"] = newer["data"]["ledger.json"].replace('"formatVersion": 1', '"formatVersion": 3')
    file = tmp_path / "objects.json"
    file.write_text(json.dumps({"items": [newer]}))
    code, text = run("ledger", "show", "--from", str(file))
    assert code == 2
    assert "is of format 3; this version of llmtrain knows 2: install a newer one" in text


def objects_of(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, list[dict[str, Any]] | str]
) -> list[tuple[str, ...]]:
    """kubectl answers by the kind and namespace that are asked for; a text is what it fails with."""
    asked: list[tuple[str, ...]] = []

    def kubectl_json(*arguments: str) -> dict[str, Any]:
        asked.append(arguments)
        answer = answers[" ".join(arguments[1:4])]
        if isinstance(answer, str):
            raise KubectlError(answer)
        return {"items": answer}

    monkeypatch.setattr("llmtrain.cli.ledger.kubectl_json", kubectl_json)
    return asked


def test_the_ledger_is_read_in_the_operators_namespace_of_one_namespace_or_all(monkeypatch: pytest.MonkeyPatch) -> None:
    books = [MARKER, page("u7", "old", 500), page("u9", "theirs", 70, "team-b", 2), CARRIED]
    objects_of(monkeypatch, {
        "llmjob -n team-a": [JOB], "llmjob --all-namespaces": [JOB], "configmaps -n llmtrain-system": books,
        "configmaps -n team-a": [], "configmaps --all-namespaces --field-selector": [],
    })  # fmt: skip
    code, one = run("ledger", "show", "-n", "team-a")
    assert code == 0
    assert [line.split()[1] for line in one.splitlines()[:-1]] == ["(carried", "gpt", "old"]
    assert "theirs" in run("ledger", "show")[1]


@pytest.mark.parametrize(
    ("answer", "message"),
    [("Error from server (Forbidden)", "llmtrain-operator-ledger-reader"), ([], "there is no ledger in namespace")],
)
def test_a_ledger_that_cannot_be_found_is_not_taken_for_an_empty_one(
    answer: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {"llmjob -n team-a": [JOB], "configmaps -n llmtrain-system": answer, "configmaps -n team-a": "Forbidden"}
    objects_of(monkeypatch, answers)
    code, text = run("ledger", "show", "-n", "team-a")
    assert code == 2
    assert message in text
    assert "--operator-namespace" in text
    code, text = run("ledger", "show", "-n", "team-a", "--operator-namespace", "")
    assert code == 0
    assert "gpt" in text
