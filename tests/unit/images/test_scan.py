"""The lock of the images' base and the scan: what differs, what is affected, what was accepted and for how long."""

import importlib.util
import sys
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"hack_images_{name}", ROOT / "hack" / "images" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found


base, scan = module("base"), module("scan")
# Of PyPA's advisory database, shortened.
RECORD = """\
id: PYSEC-2023-74
details: Requests leaks Proxy-Authorization headers to destination servers.
affected:
- package: {name: requests, ecosystem: PyPI, purl: pkg:pypi/requests}
  ranges:
  - type: GIT
    events: [{introduced: "0"}, {fixed: 74ea7cf7a6a27a4eeb2ae24e162bcc942a6706d5}]
  - type: ECOSYSTEM
    events: [{introduced: 2.3.0}, {fixed: 2.31.0}]
  versions: [2.3.0, 2.30.0]
aliases: [CVE-2023-32681, GHSA-j8r2-6x86-q33q]
"""


def bill(**versions: str) -> dict[str, Any]:
    return {"components": [{"name": n, "version": v, "purl": f"pkg:pypi/{n}@{v}"} for n, v in versions.items()]}


@pytest.fixture
def known(tmp_path: Path) -> Any:
    (tmp_path / "requests").mkdir()
    (tmp_path / "requests" / "PYSEC-2023-74.yaml").write_text(RECORD)
    (tmp_path / "withdrawn.yaml").write_text(RECORD.replace("2023-74", "2023-75") + "withdrawn: 2024-01-01\n")
    return scan.advisories(tmp_path)


@pytest.mark.parametrize(
    ("version", "hit"),
    [
        ("2.2.1", False),
        ("2.3.0", True),
        ("2.30.9", True),
        ("2.31.0", False),
        ("2.31.0rc1", True),
        ("2.30.0+local", True),
    ],
)
def test_a_version_is_affected_by_osvs_rule(known: Any, version: str, hit: bool) -> None:
    found = scan.findings("jobs", bill(Requests=version), known, {})
    assert [each.identity for each in found] == (["PYSEC-2023-74"] if hit else [])


@pytest.mark.parametrize(
    ("version", "hit"), [("1.0", False), ("1.5", True), ("2.0", True), ("2.0.1", False), ("3.1", True)]
)
def test_a_range_may_end_with_its_last_affected_version_and_open_again(version: str, hit: bool) -> None:
    events = [{"introduced": "1.1"}, {"last_affected": "2.0"}, {"introduced": "3"}]
    assert scan.in_range(events, version) is hit


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no record of PyPI"):
        scan.advisories(tmp_path)


SIMULATION = """\
Inst libssl3 [3.0.17-1~deb12u2] (3.0.17-1~deb12u3 Debian-Security:12/oldstable-security [amd64])
Inst tzdata [2025a-0] (2025b-0+deb12u1 Debian:12.15/oldstable-updates [all])
Conf libssl3 (3.0.17-1~deb12u3 Debian-Security:12/oldstable-security [amd64])
"""


def test_an_update_of_the_security_suite_is_a_finding_and_another_is_none() -> None:
    updates = dict(scan.updates_in(SIMULATION))
    assert updates == {"libssl3": ("3.0.17-1~deb12u2", "3.0.17-1~deb12u3")}
    found = scan.findings("operator", bill(), {}, updates)
    assert [(each.package, each.identity) for each in found] == [("libssl3", "libssl3@3.0.17-1~deb12u3")]


def test_what_is_accepted_is_told_with_its_reason_until_its_day(
    known: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = '[[accepted]]\npackage = "requests"\nid = "PYSEC-2023-74"\nreason = "no proxy"\nuntil = {}\n'
    file = tmp_path / "accepted.toml"
    monkeypatch.setattr(scan, "ACCEPTED", file)
    for until, code in (("2999-01-01", 0), ("2020-01-01", 1)):
        file.write_text(entry.format(until))
        found = scan.findings("jobs", bill(requests="2.30.0"), known, {})
        assert scan.report(found, len(known)) == code
    first, counted, *_ = capsys.readouterr().out.splitlines()
    assert first == "jobs: requests 2.30.0: PYSEC-2023-74: accepted: no proxy"
    assert counted.startswith("0 findings, 1 accepted.")


def test_the_entries_of_this_repository_can_be_read() -> None:
    scan.accepted(date(2026, 1, 1))


def test_a_scan_without_advisories_says_what_it_did_not_look_at(capsys: pytest.CaptureFixture[str]) -> None:
    assert scan.report([], 0) == 0
    assert "Python: NOT looked at" in capsys.readouterr().out


def test_the_lock_names_every_package_of_the_base_with_its_version() -> None:
    assert {"libc6", "python3", "python3-venv", "ca-certificates", "procps", "libssl3"} <= set(base.locked())
    assert all(base.locked().values())


def test_a_base_that_is_not_as_locked_is_told_by_package() -> None:
    status = "Package: a\nStatus: install ok installed\nVersion: 2\n\nPackage: b\nStatus: deinstall ok config-files\nVersion: 1\n"
    got = base.installed(status)
    assert got == {"a": "2"}
    assert base.differences({"a": "1", "b": "1"}, got) == [
        "a: locked 1, installed 2",
        "b: locked 1, installed not at all",
    ]
    assert base.differences(got, got) == []
    assert "Package: a\nPin: version 2\nPin-Priority: 1001\n" in base.preferences(got)
