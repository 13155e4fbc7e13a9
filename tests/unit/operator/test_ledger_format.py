"""An operator that does not know the ledger's format does not start, and says why; nothing else keeps it from starting."""

import os
from pathlib import Path

import pytest
from llmtrain_operator import main
from llmtrain_operator.client import ApiError, Object
from llmtrain_operator.ledger_format import NewerLedgerError, check_format, home_of

from tests.unit.operator.fake_cluster import FakeCluster

MARKER = ("api/v1/configmaps", "home", "llmtrain-ledger-format")


async def test_the_first_operator_writes_the_format_down_and_the_next_ones_find_it() -> None:
    cluster = FakeCluster()
    await check_format(cluster, "home")
    assert cluster.objects[MARKER]["data"]["formatVersion"] == "2"
    writes = cluster.writes
    await check_format(cluster, "home")
    assert cluster.writes == writes


@pytest.mark.parametrize("told", ["3", "17", "", None, "one"])
async def test_a_ledger_of_another_format_is_refused_and_left_as_it_is(told: str | None) -> None:
    cluster = FakeCluster()
    await check_format(cluster, "home")
    data = {"formatVersion": told, "writtenBy": "9.9.9"} if told is not None else {}
    cluster.objects[MARKER]["data"] = data
    with pytest.raises(NewerLedgerError) as error:
        await check_format(cluster, "home")
    text = str(error.value)
    assert f"of format {str(told)!r}" in text
    assert "knows formats up to 2" in text
    assert "helm upgrade" in text
    assert cluster.objects[MARKER]["data"] is data


async def test_a_ledger_of_the_format_before_is_this_ones_from_now_on() -> None:
    """An operator of the version before refuses to start then; it could not read what is added."""
    cluster = FakeCluster()
    await check_format(cluster, "home")
    cluster.objects[MARKER]["data"] = {"formatVersion": "1", "writtenBy": "0.1.0"}
    await check_format(cluster, "home")
    assert cluster.objects[MARKER]["data"]["formatVersion"] == "2"


def test_the_process_ends_with_code_1_and_the_words_on_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        raise NewerLedgerError("of format '2', knows format 1")

    monkeypatch.setattr(main, "run", run)
    monkeypatch.setattr(main, "spare_the_collector", lambda: None)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == "of format '2', knows format 1", "a text is printed, and the code is 1"


class Deaf(FakeCluster):
    """Answers the first reads with errors."""

    def __init__(self, *codes: int) -> None:
        super().__init__()
        self.codes = list(codes)

    async def get(self, resource: str, namespace: str, name: str, not_before: str = "") -> Object | None:
        if self.codes:
            raise ApiError(self.codes.pop(0), "", "no")
        return await super().get(resource, namespace, name, not_before)


async def test_an_apiserver_that_does_not_answer_is_asked_again() -> None:
    cluster, pauses = Deaf(0, 503, 429, 0), list[float]()

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    await check_format(cluster, "home", pause)
    assert len(pauses) == 4
    assert MARKER in cluster.objects


async def test_a_missing_right_is_told_and_does_not_keep_the_operator_from_its_pods(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await check_format(Deaf(403), "home")
    assert any("ConfigMap home/llmtrain-ledger-format" in message for message in caplog.messages)


@pytest.mark.parametrize(
    ("told", "account", "home"), [("told", "account", "told"), ("", "account", "account"), ("", None, "default")]
)
def test_the_ledger_is_where_the_operator_is(told: str, account: str | None, home: str, tmp_path: Path) -> None:
    file = tmp_path / "namespace"
    if account:
        file.write_text(f"{account}{os.linesep}")
    assert home_of({"LLMTRAIN_OPERATOR_NAMESPACE": told}, file) == home
