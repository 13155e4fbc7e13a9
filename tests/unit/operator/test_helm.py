"""What runs before an uninstallation does nothing unless Helm's newest record says that one is under way."""

import asyncio
from typing import Any

import pytest
from llmtrain_operator import uninstall
from llmtrain_operator.helm import REVISIONS, Release, refusal

HOME = Release("system", "llmtrain", 3)
SECRET, MAP = "api/v1/secrets", "api/v1/configmaps"
NAME = "sh.helm.release.v1.llmtrain.v"
CASES: list[tuple[str, dict[tuple[str, str], str], str]] = [
    ("applied by hand", {}, "no record of a release `llmtrain` in namespace `system`"),
    ("installed", {(SECRET, f"{NAME}3"): "deployed"}, "is 'deployed' for Helm"),
    ("going", {(SECRET, f"{NAME}3"): "uninstalling"}, ""),
    ("kept in ConfigMaps", {(MAP, f"{NAME}3"): "uninstalling"}, ""),
    ("rolled back to, going", {(SECRET, f"{NAME}3"): "superseded", (SECRET, f"{NAME}5"): "uninstalling"}, ""),
    ("its uninstallation failed, then rolled back",
     {(SECRET, f"{NAME}3"): "uninstalling", (SECRET, f"{NAME}4"): "deployed"}, "is 'deployed' for Helm"),
    ("the last revision that the Role names", {(SECRET, f"{NAME}{3 + REVISIONS - 1}"): "uninstalling"}, ""),
    ("beyond", {(SECRET, f"{NAME}{3 + REVISIONS}"): "uninstalling"}, "no record"),
    ("another release", {(SECRET, "sh.helm.release.v1.other.v3"): "uninstalling"}, "no record"),
    ("without labels", {(SECRET, f"{NAME}3"): ""}, "is '' for Helm"),
]  # fmt: skip


@pytest.mark.parametrize(("records", "words"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
async def test_only_a_release_that_is_being_uninstalled_is_taken_down(
    records: dict[tuple[str, str], str], words: str
) -> None:
    async def read(kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        assert namespace == "system"
        status = records.get((kind, name))
        labels = {"labels": {"status": status}} if status else {}
        return None if status is None else {"metadata": {"name": name} | labels}

    why = await refusal(read, HOME)
    assert words in why if words else why == ""


def test_whoever_names_no_release_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is asked of the cluster, and in words that say what to do."""

    class Nothing:
        async def close(self) -> None:
            """Nobody was asked."""

    async def connect() -> Nothing:
        return Nothing()

    monkeypatch.setattr(uninstall, "connect", connect)
    monkeypatch.setattr(Nothing, "get_metadata", None, raising=False)
    monkeypatch.setenv("LLMTRAIN_OPERATOR_NAMESPACE", "system")
    monkeypatch.delenv("LLMTRAIN_RELEASE", raising=False)
    with pytest.raises(uninstall.RefusedError, match=r"nothing was changed: no release .*uninstall\.policy: Keep"):
        asyncio.run(uninstall.run())
